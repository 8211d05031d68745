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
from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.rings.drained import Decode, Drained, T, at_position
from bpfstream.rings.ordering import Barrier, barrier_for

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


class _Sample(msgspec.Struct, gc=False):
    """Where a sample's payload is, and where its record stands in the ring."""

    buffer: memoryview
    offset: int
    length: int
    position: int
    size: int


class _Scan(msgspec.Struct, gc=False):
    """What a look at the records found, and where the next drain begins."""

    start: int
    samples: list[_Sample]
    position: int
    lost: int
    more: bool


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
        self._held: _Scan | None = None
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
        """Records that the kernel says it dropped, in what was drained."""
        return self._lost + (self._held.lost if self._held is not None else 0)

    @property
    def pending(self) -> bool:
        """Whether a drain would make progress."""
        return self._head[0] != (self._tail[0] if self._held is None else self._held.position)

    @property
    def busy(self) -> bool:
        """Always false: ``data_head`` moves only over records that are complete."""
        return False

    def drain(self, decode: Decode[T], limit: int) -> Drained[T]:
        """Decode up to `limit` records, and release those of the drain before.

        The drain begins behind what was released and ends at the first of: the head as it was at
        the call; `limit` records, of whatever type; a bad record, when something came before it.
        The records' space stays theirs until `release` or the next drain. Samples are decoded,
        LOST records are added up, records of other types are skipped. A sample of 64 KiB or more
        counts as lost: the kernel reserves its size modulo 64 KiB (``perf_prepare_header`` and
        ``__perf_event_output`` in kernel/events/core.c), so other records overwrite it. If
        `decode` raises anything but `DecodeError`, the exception passes through and the records
        stay unread.

        Args:
            decode: Called in ring order for each sample. The length that it is given may be up
                to 7 bytes more than the program sent: the kernel pads, and says the padded size.
            limit: The most records to take, at least 1.

        Raises:
            DecodeError: The *first* record can't be decoded. The buffer then stands behind it.
            RingCorruptedError: The *first* record is none that a kernel writes. The buffer stays
                there: every further drain says so again.
        """
        self.release()
        start = self._tail[0]
        scan = self._scan(start, self._head[0], limit)
        more = scan.more
        records: list[T] = []
        try:
            for sample in scan.samples:
                records.append(decode(sample.buffer, sample.offset, sample.length))
        except DecodeError as error:
            bad = scan.samples[len(records)]
            if bad.position == start:
                self._store(start + bad.size)
                raise at_position(error, bad.position) from error.__cause__
            scan, more = self._scan(start, bad.position, limit), True
        self._held = scan
        if not records:
            self.release()
        return Drained(records, more)

    def release(self, count: int | None = None) -> None:
        """Hand the space of the last drain's records back to the kernel; idempotent.

        Args:
            count: Only that of the first `count` samples; the others are unread again.
        """
        held, self._held = self._held, None
        if held is None:
            return
        if count is not None and count < len(held.samples):
            unread = held.samples[count].position
            held = self._scan(held.start, unread, limit=self.capacity)
        if held.position != held.start:
            self._store(held.position)
        self._lost += held.lost

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; what is held stays unread."""
        self._held = None
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
        samples: list[_Sample] = []
        lost = seen = 0
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
                        samples.append(_Sample(body, begin + _RAW_SIZE, length, position, size))
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
        return _Scan(start, samples, position, lost, more)

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

    def _store(self, position: int) -> None:
        """Hand the space before `position` back to the kernel."""
        self._barrier()  # samples before data_tail
        self._tail[0] = position & POSITION_MASK
