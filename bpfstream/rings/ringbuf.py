"""The reader of a BPF ring buffer (Linux 5.8), over memory that the caller mapped. No I/O.

Memory layout (kernel/bpf/ringbuf.c, ``struct bpf_ringbuf``): a page with the consumer position, a
page with the producer position, then the data, mapped twice in a row so that no record is ever cut
in two. Each record is a header of 8 bytes, the payload, and padding to a multiple of 8.

The reader pairs with these accesses of kernel/bpf/ringbuf.c:

* ``__bpf_ringbuf_reserve`` writes the header, busy, then ``smp_store_release(&rb->producer_pos)``:
  a header is read after the producer position.
* ``bpf_ringbuf_commit`` does ``xchg(&hdr->len)``, which clears busy after the payload was written:
  a payload is read after its header.
* ``__bpf_ringbuf_reserve`` does ``smp_load_acquire(&rb->consumer_pos)`` before it reuses space: the
  consumer position is stored after the payloads were read.

Positions are accessed as one aligned word of 8 bytes, headers as one of 4, which a memoryview of
such items does in one machine access.
"""

from __future__ import annotations

from itertools import repeat

import msgspec

from bpfstream.abi.ringbuf import (
    POSITION_MASK,
    RECORD_ALIGNMENT,
    RECORD_HEADER_SIZE,
    RECORD_LENGTH_MASK,
    RecordFlags,
)
from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.rings.drained import Decode, Drained, T, at_position
from bpfstream.rings.ordering import Barrier, barrier_for

_BUSY = int(RecordFlags.BUSY)
_DISCARD = int(RecordFlags.DISCARD)


class _Scan(msgspec.Struct, gc=False):
    """What a look at the headers found: where the payloads are, and where the next drain begins."""

    start: int
    offsets: list[int]
    lengths: list[int]
    position: int
    discarded: int
    more: bool


def _step(length: int) -> int:
    """The bytes that a record with a payload of `length` bytes takes."""
    return (length + RECORD_HEADER_SIZE + RECORD_ALIGNMENT - 1) & -RECORD_ALIGNMENT


class RingBufferReader:
    """Takes records off one BPF ring buffer. It must be the ring's only reader.

    Args:
        consumer: The consumer page, writable: its first 8 bytes are the consumer position.
        producer: The producer page: its first 8 bytes are the producer position.
        data: The data area, mapped twice: 2 x `capacity` bytes.
        barrier: What orders memory accesses; by default what this machine needs.

    Raises:
        ValueError: The data area is not twice a power of two (of at least 8 bytes).
    """

    def __init__(
        self,
        consumer: memoryview,
        producer: memoryview,
        data: memoryview,
        *,
        barrier: Barrier | None = None,
    ) -> None:
        capacity = data.nbytes // 2
        if capacity < 8 or capacity & (capacity - 1) or data.nbytes != 2 * capacity:
            raise ValueError(f"data area of {data.nbytes} bytes is not twice a power of two")
        self._consumer = consumer.cast("B")[:8].cast("Q")
        self._producer = producer.cast("B")[:8].cast("Q")
        self._data = data.cast("B")
        self._headers = self._data.cast("I")
        self._mask = capacity - 1
        self._barrier = barrier if barrier is not None else barrier_for()
        self._held: _Scan | None = None
        self._discarded = 0

    @property
    def capacity(self) -> int:
        """Bytes that the ring holds, headers included."""
        return self._mask + 1

    @property
    def backlog(self) -> int:
        """Bytes between the consumer and the producer position: not released yet."""
        return (self._producer[0] - self._consumer[0]) & POSITION_MASK

    @property
    def discarded(self) -> int:
        """Records that the program reserved and gave up, among all that were drained."""
        return self._discarded + (self._held.discarded if self._held is not None else 0)

    @property
    def pending(self) -> bool:
        """Whether a drain would make progress: a committed or discarded record is at the head."""
        header = self._head()
        return header is not None and not header & _BUSY

    @property
    def busy(self) -> bool:
        """Whether the record at the head is reserved and not committed yet.

        The kernel then reports the ring as readable although nothing can be taken off it: who
        waits has to back off instead of waiting again at once.
        """
        header = self._head()
        return header is not None and bool(header & _BUSY)

    def drain(self, decode: Decode[T], limit: int) -> Drained[T]:
        """Decode up to `limit` records, and release those of the drain before.

        The drain begins behind what was released and ends at the first of: the producer position
        as it was at the call; a record that is still busy; `limit` records, discarded ones
        included; a bad record, when something came before it. The records' space stays theirs
        until `release` or the next drain: the kernel writes nothing over what was not handed
        over. If `decode` raises anything but `DecodeError`, the exception passes through and the
        records stay unread.

        Args:
            decode: Called in ring order for each record that was not discarded.
            limit: The most records to take, at least 1.

        Raises:
            DecodeError: The *first* record can't be decoded. The ring then stands behind it.
            RingCorruptedError: The *first* header is none that a kernel writes. The ring stays
                there: every further drain says so again.
        """
        self.release()
        start = self._consumer[0]
        scan = self._scan(start, self._producer[0], limit)
        self._barrier()  # headers before payloads
        records: list[T] = []
        more = scan.more
        try:
            # extend() keeps what came before an exception: len(records) is the bad record's index.
            records.extend(map(decode, repeat(self._data), scan.offsets, scan.lengths))
        except DecodeError as error:
            index = len(records)
            bad = self._position_of(scan.offsets[index], start)
            if bad == start:
                self._store(start + _step(scan.lengths[index]))
                raise at_position(error, bad) from error.__cause__
            scan, more = self._scan(start, bad, limit), True
        self._held = scan
        if not records:
            self.release()
        return Drained(records, more)

    def release(self, count: int | None = None) -> None:
        """Hand the space of the last drain's records back to the kernel; idempotent.

        Args:
            count: Only that of the first `count` records; the others are unread again.
        """
        held, self._held = self._held, None
        if held is None:
            return
        if count is not None and count < len(held.offsets):
            unread = self._position_of(held.offsets[count], held.start)
            held = self._scan(held.start, unread, limit=len(held.offsets) + held.discarded)
        if held.position != held.start:
            self._store(held.position)
        self._discarded += held.discarded

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; what is held stays unread."""
        self._held = None
        for view in (self._headers, self._data, self._producer, self._consumer):
            view.release()

    def _scan(self, start: int, producer: int, limit: int) -> _Scan:
        """Look at the headers from `start`, up to `producer` and `limit`."""
        available = (producer - start) & POSITION_MASK
        if available > self._mask + 1 or (start | available) % RECORD_ALIGNMENT:
            raise RingCorruptedError(
                f"the producer is {available} bytes ahead in a ring of {self.capacity}",
                position=start,
            )
        self._barrier()  # producer position before headers
        headers, mask = self._headers, self._mask
        offsets: list[int] = []
        lengths: list[int] = []
        discarded = 0
        more = False
        position, end = start, start + available
        for _ in range(limit):
            if position == end:
                break
            offset = position & mask
            header = headers[offset >> 2]
            if header & _BUSY:
                break
            length = header & RECORD_LENGTH_MASK
            following = position + ((length + 15) & -8)  # _step(), without the cost of a call
            if following > end:
                if position == start:
                    raise RingCorruptedError(
                        f"a record of {length} bytes where {available} are available",
                        position=start,
                    )
                more = True
                break
            if header == length:
                offsets.append(offset + RECORD_HEADER_SIZE)
                lengths.append(length)
            else:
                discarded += 1
            position = following
        else:
            more = position != end
        return _Scan(start, offsets, lengths, position & POSITION_MASK, discarded, more)

    def _position_of(self, offset: int, start: int) -> int:
        """The ring position of the record whose payload a scan from `start` saw at `offset`."""
        ahead = (offset - RECORD_HEADER_SIZE - start) & self._mask
        return (start + ahead) & POSITION_MASK

    def _store(self, position: int) -> None:
        """Hand the space before `position` back to the kernel."""
        self._barrier()  # payloads before the consumer position
        self._consumer[0] = position & POSITION_MASK

    def _head(self) -> int | None:
        """The first word of the next header to drain; None when there is none."""
        position = self._consumer[0] if self._held is None else self._held.position
        if position == self._producer[0]:
            return None
        self._barrier()  # producer position before header
        return self._headers[(position & self._mask) >> 2]
