# Types of the compiled twin of the hot loops in `rings`, `records`, `btf` and `maps`.

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Self, TypeVar

from typing_extensions import Buffer

from bpfstream.rings.runs import Part, Run

_T = TypeVar("_T")

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

# Where in `strings` the essential names end of those strings of a table that have a flavour.
def find_flavours(strings: Buffer, start: int, end: int) -> list[int]: ...

# Rings (ring.c): twins of `bpfstream.rings`. Positions are 64 bits, headers 32, in the machine's
# byte order, each accessed at once.

# Twin of `rings.ringbuf_scan.scan`, whose `Found` it gives. None where that raises, or where the
# data is none of a ring or not aligned. Numbers are of 64 bits, or OverflowError.
def scan_ring_buffer(
    data: Buffer, start: int, producer_position: int, limit: int
) -> tuple[list[Run], int, int, int, int, bool] | None: ...

# The position in the first 8 bytes; nothing after is read before it. ValueError when there are
# fewer bytes or they are not aligned.
def load_position(buffer: Buffer) -> int: ...

# Writes the position; everything before is read and written before it. Errors as above.
def store_position(buffer: Buffer, position: int) -> None: ...

# Keeps all accesses of memory before ahead of all those after.
def fence() -> None: ...

# Perf buffers (perf.c): a `rings.perf_scan.ScanStretch`, which leaves to Python all that is bad.
# Numbers are of 64 bits, or OverflowError.
def scan_perf_buffer(
    data: Buffer, tail: int, head: int, limit: int
) -> tuple[list[Run], int, int, int, int]: ...

# Plans (plan.c): twin of `bpfstream.records.decoder`.

# How records become msgspec Structs. A layout is None for records that are left to Python, or
# (node, least, tails): the node of the whole, the bytes that a record has at least, and for each
# field of a struct whether the record may end in it (1: the field is cut short, 2: it takes all
# that is left). `tag` is the node of the number that tells which of several layouts a record has,
# and `tags` has its values for them; without a tag there is one layout.
#
# A node is (kind, offset, size, detail). The detail of a
#     "number"   is (signed, shift, width, members): its bits, and the members of an enum,
#     "boolean"  is (shift, width),
#     "float", "text", "bytes"  is None,
#     "array"    is (length, node of an element),
#     "struct"   is (class, names of all fields, how many of them the class takes by place, whether
#                to make an instance is to set its fields and nothing else, nodes of the fields).
class Plan:
    def __new__(
        cls,
        layouts: tuple[tuple[Any, int, tuple[int, ...]] | None, ...],
        big_endian: bool,
        tag: tuple[str, int, int, Any] | None,
        tags: tuple[int, ...],
        /,
    ) -> Self: ...

    # Appends the values of records to a list, from record `index` of the run `number` on, until one
    # that is left to Python; gives its run and index, or None when all are done. ValueError when a
    # record lies outside of the buffer.
    def decode(
        self, buffer: Buffer, runs: list[Run], records: list[Any], number: int, index: int, /
    ) -> tuple[int, int] | None: ...

# Columns (columns.c): twin of `bpfstream.records.columns`.

# Copies `size` bytes of each record into a row of `rows`, which has one each `pitch` bytes; a
# shorter record is filled up with zeros. Gives the number of records copied: those before the
# first that has less than `least` bytes. ValueError when a record lies outside of its buffer, or
# there are too few rows.
def gather(
    parts: Sequence[Part], start: int, size: int, least: int, rows: Buffer, pitch: int
) -> int: ...

# Delivery (delivery.c): twin of `bpfstream.streams.delivery`. The list that `fill` takes is the
# delivery's own from then on.

class Delivery(Generic[_T]):
    def __new__(
        cls, refill: Callable[[], Awaitable[_T]], slice_events: int, slice_seconds: float, /
    ) -> Self: ...
    @property
    def left(self) -> int: ...
    @property
    def handed_over(self) -> int: ...
    def fill(self, events: list[_T], /) -> None: ...
    def take(self) -> _T: ...
    def rest(self) -> list[_T]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[_T]: ...

# Map batches (batch.c): twins of the runs of `bpfstream.records.codec` and `bpfstream.maps`. A run
# is `count` elements of `size` bytes, `stride` bytes from each to the next. ValueError when it is
# not in the buffer. Integers have 1, 2, 4 or 8 bytes in the machine's byte order.

def split_integers(data: Buffer, size: int, stride: int, count: int, signed: bool) -> list[int]: ...
def split_bytes(data: Buffer, size: int, stride: int, count: int) -> list[bytes]: ...

# The run of these values, zeros between them. None where one does not fit.
def join_integers(
    values: tuple[object, ...], size: int, stride: int, signed: bool
) -> bytes | None: ...
def join_bytes(values: tuple[object, ...], size: int, stride: int) -> bytes | None: ...

# Timers (timer.c): timerfd_settime(2), once after so many nanoseconds; 0 stops the timer. OSError
# with the kernel's errno.
def start_timer(fd: int, nanoseconds: int) -> None: ...
