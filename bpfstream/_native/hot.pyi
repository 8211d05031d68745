# Types of the compiled twin of the hot loops in `rings`, `records`, `btf` and `maps`.

from typing_extensions import Buffer

# BTF (btf.c), twins of functions in `bpfstream.btf`; words are 32 bits in the machine's byte order

def locate_types(words: Buffer, trailers: Buffer) -> bytes | None:
    """The word at which each type begins, as words.

    Args:
        words: The type section.
        trailers: For each of the 128 kinds two words: those that a record has once after its first
            three, `0xFFFFFFFF` for a kind that is not known, and those for each of its elements.

    Returns:
        None where the records do not hold together: the pure twin says why.
    """

def pick_words(words: Buffer, places: Buffer) -> bytes:
    """The words at some places.

    Raises:
        IndexError: A place lies outside.
    """

def find_words(words: Buffer, wanted: Buffer) -> list[int]:
    """The places, ascending, at which one of some words stands; `wanted` is sorted."""

def any_inside(strings: Buffer, start: int, end: int, first: int, offsets: Buffer) -> bool:
    """Whether some offset lies inside a string rather than at its start.

    Args:
        strings: Has the string table from `start` to `end`.
        start: In bytes.
        end: In bytes.
        first: The offset of the table's first byte.
        offsets: Words; those outside of the table do not count.
    """
