# Types of the compiled twin of the hot loops in `rings`, `records`, `btf` and `maps`.

from typing_extensions import Buffer

# BTF (btf.c): twins of functions in `bpfstream.btf`. Words: 32 bits, in the machine's byte order.

# The word at which each type begins, as words. `trailers` has two words for each of the 128 kinds:
# those that a record has once after its first three, 0xFFFFFFFF for a kind that is not known, and
# those for each of its elements. None where the records do not hold together.
def locate_types(words: Buffer, trailers: Buffer) -> bytes | None: ...

# The words at some places. IndexError when one lies outside.
def pick_words(words: Buffer, places: Buffer) -> bytes: ...

# The places, ascending, at which one of some words stands; `wanted` is sorted.
def find_words(words: Buffer, wanted: Buffer) -> list[int]: ...

# Whether some offset lies inside a string rather than at its start. The string table is in
# `strings` from byte `start` to `end`, its first byte has the offset `first`; offsets outside of it
# do not count. ValueError when the table is not in `strings`.
def any_inside(strings: Buffer, start: int, end: int, first: int, offsets: Buffer) -> bool: ...
