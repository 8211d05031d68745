# Types of the compiled twin of the hot loops in `rings`, `records`, `btf` and `maps`.

from collections.abc import Sequence

from typing_extensions import Buffer

from bpfstream.rings.runs import Part

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

# Rings (ring.c): twins of `bpfstream.rings`. Positions are 64 bits, headers 32, in the machine's
# byte order, each accessed at once.

# The position in the first 8 bytes; nothing after is read before it. ValueError when there are
# fewer bytes or they are not aligned.
def load_position(buffer: Buffer) -> int: ...

# Writes the position; everything before is read and written before it. Errors as above.
def store_position(buffer: Buffer, position: int) -> None: ...

# Keeps all accesses of memory before ahead of all those after.
def fence() -> None: ...

# Columns (columns.c): twin of `bpfstream.records.columns`.

# Copies `size` bytes of each record into a row of `rows`, which has one each `pitch` bytes; a
# shorter record is filled up with zeros. Gives the number of records copied: those before the
# first that has less than `least` bytes. ValueError when a record lies outside of its buffer, or
# there are too few rows.
def gather(parts: Sequence[Part], size: int, least: int, rows: Buffer, pitch: int) -> int: ...
