"""The reader of one CPU's perf buffer, over memory that the caller mapped. No I/O.

Memory layout (include/uapi/linux/perf_event.h): a control page (``struct perf_event_mmap_page``)
with ``data_head``, written by the kernel, and ``data_tail``, written by the reader; then 2^n pages
of data. A record is a header of 8 bytes (u32 type, u16 misc, u16 size of the whole) and its body.
The data is mapped once: a record that runs over the end goes on at the start, and is joined here.

Ordering, as the header says of ``data_head`` and kernel/events/ring_buffer.c says at
``perf_output_put_handle``: records are read after ``data_head``, and ``data_tail`` is stored after
they were read.
"""

from __future__ import annotations

import struct

import msgspec

from bpfstream.abi.ringbuf import (
    PERF_DATA_HEAD,
    PERF_DATA_TAIL,
    PERF_HEADER_SIZE,
    POSITION_MASK,
    RECORD_ALIGNMENT,
    PerfRecordType,
)
from bpfstream.errors import RingCorruptedError
from bpfstream.rings.ordering import Barrier, barrier_for, lock_barrier
from bpfstream.rings.runs import Part, Run, Taken, payload_offset

_SAMPLE = int(PerfRecordType.SAMPLE)
_LOST = int(PerfRecordType.LOST)

_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")

_RAW_SIZE = _U32.size
"""A sample's body, with ``PERF_SAMPLE_RAW`` alone, is a u32 size and as many bytes."""

_SAMPLE_OVERHEAD = PERF_HEADER_SIZE + _RAW_SIZE

_SIZE_MASK = 0xFFFF
"""The record's size is a u16: of a larger record the kernel keeps, and reserves, the low bits."""

_LOST_SIZE = PERF_HEADER_SIZE + 16
"""A ``PERF_RECORD_LOST`` is at least the header, u64 id, u64 lost."""


class _Scan(msgspec.Struct, gc=False):
    """What a look at the records found, and where the next one begins.

    Attributes:
        start: The ring position of the first record.
        end: Behind the last.
        wrapped: Of the sample that runs over the end of the data, if there is one.
    """

    start: int
    end: int
    wrapped: int
    taken: Taken
    lost: int


class PerfBufferReader:
    """Takes samples off one CPU's perf buffer. It must be the buffer's only reader.

    Args:
        header_page: The control page, writable.
        data: The data area: `capacity` bytes, mapped once.
        barrier: What orders memory accesses; by default what this machine needs.

    Raises:
        ValueError: The data area's size is not a power of two (of at least 8 bytes).
    """

    def __init__(
        self, header_page: memoryview, data: memoryview, *, barrier: Barrier | None = None
    ) -> None:
        capacity = data.nbytes
        if capacity < 8 or capacity & (capacity - 1):
            raise ValueError(f"data area of {capacity} bytes is not a power of two")
        page = header_page.cast("B")
        self._head = page[PERF_DATA_HEAD : PERF_DATA_HEAD + 8].cast("Q")
        self._tail = page[PERF_DATA_TAIL : PERF_DATA_TAIL + 8].cast("Q")
        self._data = data.cast("B")
        self._words = self._data.cast("I")
        self._halves = self._data.cast("H")
        self._mask = capacity - 1
        self._barrier = barrier if barrier is not None else barrier_for()
        self._fence = lock_barrier()
        self._scanned: _Scan | None = None
        self._lost = 0

    @property
    def capacity(self) -> int:
        """Bytes that the buffer holds, headers included."""
        return self._mask + 1

    @property
    def backlog(self) -> int:
        """Bytes between the tail and the head: not released yet."""
        return (self._head[0] - self._tail[0]) & POSITION_MASK

    @property
    def lost(self) -> int:
        """Records that the kernel says it dropped, in what was taken."""
        return self._lost + (self._scanned.lost if self._scanned is not None else 0)

    @property
    def discarded(self) -> int:
        """Always 0: a program can't take back what it sends through a perf buffer."""
        return 0

    @property
    def pending(self) -> bool:
        """Whether a drain would make progress."""
        return self._head[0] != (self._tail[0] if self._scanned is None else self._scanned.end)

    @property
    def busy(self) -> bool:
        """Always false: ``data_head`` moves only over records that are complete."""
        return False

    def take(self, limit: int) -> Taken:
        """Find up to `limit` records, of whatever type; free those of the take before.

        Samples are given, LOST records are added up, records of other types are skipped. A sample
        of 64 KiB or more counts as lost: the kernel reserves its size modulo 64 KiB
        (``perf_prepare_header`` and ``__perf_event_output`` in kernel/events/core.c), so other
        records overwrite it. A sample's length may be up to 7 bytes more than the program sent:
        the kernel pads, and says the padded size.

        Raises:
            RingCorruptedError: The *first* record is none that a kernel writes.
        """
        self.release()
        scan = self._scanned = self._scan(self._tail[0], self._head[0], limit)
        return scan.taken

    def keep(self, count: int) -> None:
        """Of the samples taken, keep the first `count`: the others are unread again."""
        scan = self._scanned
        if scan is None or count >= scan.taken.count:
            return
        self._scanned = None
        if count:
            self._scanned = self._scan(scan.start, self.position_of(count, scan), self.capacity)

    def release(self, *, hold_back: bool = False) -> None:
        """Hand the space of what was taken back to the kernel; idempotent.

        Args:
            hold_back: Without effect: waking a reader does not depend on ``data_tail``.
        """
        scan, self._scanned = self._scanned, None
        if scan is None:
            return
        if scan.end != scan.start:
            self._barrier()  # samples before data_tail
            self._tail[0] = scan.end
        self._lost += scan.lost

    def publish(self) -> bool:
        """Whether there is something to take: nothing is ever held back here."""
        self.release()
        self._fence()
        return self.pending

    def position_of(self, index: int, scan: _Scan | None = None) -> int:
        """The ring position of a sample that was taken.

        Raises:
            IndexError: There are not as many.
        """
        scan = scan or self._scanned
        if scan is None:
            raise IndexError("nothing is taken")
        buffer, offset = payload_offset(scan.taken.parts, index)
        if buffer is not self._data:
            return scan.wrapped
        return (
            scan.start + ((offset - _SAMPLE_OVERHEAD - scan.start) & self._mask)
        ) & POSITION_MASK

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; what is taken stays unread."""
        self._scanned = None
        for view in (self._halves, self._words, self._data, self._tail, self._head):
            view.release()

    def _scan(self, start: int, head: int, limit: int) -> _Scan:
        """Look at the records from `start`, up to `head` and `limit`."""
        available = (head - start) & POSITION_MASK
        if available > self._mask + 1 or (start | available) % RECORD_ALIGNMENT:
            raise RingCorruptedError(
                f"the head is {available} bytes ahead in a buffer of {self.capacity}",
                position=start,
            )
        self._barrier()  # data_head before records
        parts: list[Part] = []
        count = lost = seen = wrapped = 0
        position = start
        more = False
        while available:
            if seen >= limit:
                more = True
                break
            try:
                kind, size, body, begin = self._record(position, available)
                if kind == _SAMPLE:
                    length = self._sample_length(size, body, begin, position)
                    if length is None:
                        lost += 1
                    else:
                        _add(parts, body, (begin + _RAW_SIZE, length, size, 1))
                        count += 1
                        if body is not self._data:
                            wrapped = position
                elif kind == _LOST:
                    lost += self._lost_count(size, body, begin, position)
            except RingCorruptedError:
                if position == start:
                    raise
                more = True
                break
            available -= size
            position = (position + size) & POSITION_MASK
            seen += 1
        return _Scan(start, position, wrapped, Taken(parts, count, more), lost)

    def _record(self, position: int, available: int) -> tuple[int, int, memoryview, int]:
        """The record at `position`: type, size, a buffer with its body, where that begins."""
        offset = position & self._mask
        kind = self._words[offset >> 2]
        size = self._halves[(offset >> 1) + 3]
        if not PERF_HEADER_SIZE <= size <= available or size % RECORD_ALIGNMENT:
            raise RingCorruptedError(
                f"a record of type {kind} and {size} bytes where {available} are available",
                position=position,
            )
        rest = self.capacity - offset
        if size <= rest:
            return kind, size, self._data, offset + PERF_HEADER_SIZE
        body = bytes(self._data[offset + PERF_HEADER_SIZE :]) + bytes(self._data[: size - rest])
        return kind, size, memoryview(body), 0

    def _sample_length(self, size: int, body: memoryview, begin: int, position: int) -> int | None:
        """The bytes of a sample's payload; None when the record was too large for the kernel."""
        if size >= _SAMPLE_OVERHEAD:
            length: int = _U32.unpack_from(body, begin)[0]
            whole = length + _SAMPLE_OVERHEAD
            if whole <= size:
                return length
            if whole & _SIZE_MASK == size:
                return None
        raise RingCorruptedError(
            f"a sample that does not fit its record of {size} bytes", position=position
        )

    def _lost_count(self, size: int, body: memoryview, begin: int, position: int) -> int:
        """What a LOST record says: how many samples found no room."""
        if size < _LOST_SIZE:
            raise RingCorruptedError(f"a LOST record of {size} bytes", position=position)
        count: int = _U64.unpack_from(body, begin + 8)[0]
        return count


def _add(parts: list[Part], buffer: memoryview, run: Run) -> None:
    """Let the last run have this record too, where it is the next one of the same size."""
    if not parts or parts[-1][0] is not buffer:
        parts.append((buffer, [run]))
        return
    runs = parts[-1][1]
    offset, length, stride, count = runs[-1]
    if run[1:3] == (length, stride) and run[0] == offset + stride * count:
        runs[-1] = (offset, length, stride, count + 1)
    else:
        runs.append(run)
