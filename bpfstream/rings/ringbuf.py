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

import msgspec

from bpfstream._native import COMPILED
from bpfstream.abi.ringbuf import POSITION_MASK, RECORD_HEADER_SIZE
from bpfstream.rings.ordering import Barrier, ordering_for
from bpfstream.rings.ringbuf_scan import BUSY, scan, scan_compiled
from bpfstream.rings.runs import Taken, payload_offset

_HELD_BACK_SHARE = 8
"""A record is held back only if it takes no more than this part of the ring, one in so many."""


class Scanned(msgspec.Struct, gc=False):
    """What a look at the headers found, and where the next one begins.

    Attributes:
        start: The ring position of the first header.
        end: Behind the last record.
        last: Of the last record, discarded or not; `start` when there is none.
    """

    start: int
    end: int
    last: int
    taken: Taken
    discarded: int


class RingBufferReader:
    """Takes records off one BPF ring buffer. It must be the ring's only reader.

    Args:
        consumer: The consumer page, writable: its first 8 bytes are the consumer position.
        producer: The producer page: its first 8 bytes are the producer position.
        data: The data area, mapped twice: 2 x `capacity` bytes.
        barrier: What orders memory accesses; by default what this machine needs.
        native: Use the compiled module.

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
        native: bool = COMPILED,
    ) -> None:
        capacity = data.nbytes // 2
        if capacity < 8 or capacity & (capacity - 1) or data.nbytes != 2 * capacity:
            raise ValueError(f"data area of {data.nbytes} bytes is not twice a power of two")
        self._consumer = consumer.cast("B")[:8].cast("Q")
        self._producer = producer.cast("B")[:8].cast("Q")
        self._data = data.cast("B")
        self._headers = self._data.cast("I")
        self._mask = capacity - 1
        self._ordering = ordering_for(native, barrier)
        self._native = native
        self._position = self._consumer[0]  # of the next record to take
        self._scanned: Scanned | None = None
        self._discarded = 0
        self._closed = False

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
        """Records that the program reserved and gave up, among all that were taken."""
        return self._discarded + (self._scanned.discarded if self._scanned is not None else 0)

    @property
    def lost(self) -> int:
        """Always 0: the kernel tells a reader nothing of records that found no room."""
        return 0

    @property
    def pending(self) -> bool:
        """Whether a drain would make progress: a committed or discarded record is next."""
        header = self._next_header()
        return header is not None and not header & BUSY

    @property
    def busy(self) -> bool:
        """Whether the next record is reserved and not committed yet.

        The kernel then reports the ring as readable although nothing can be taken off it: who
        waits has to back off instead of waiting again at once.
        """
        header = self._next_header()
        return header is not None and bool(header & BUSY)

    def take(self, limit: int) -> Taken:
        """Find up to `limit` records, discarded ones included; free those of the take before.

        Raises:
            RingCorruptedError: The *first* header is none that a kernel writes.
        """
        if self._scanned is not None:
            self.release()
        producer = self._ordering.load(self._producer)  # before headers
        scanned = self._scanned = self._scan(self._position, producer, limit)
        if not self._native:  # which loads headers with acquire semantics
            self._ordering.barrier()  # headers before payloads
        return scanned.taken

    def keep(self, count: int) -> None:
        """Of the records taken, keep the first `count`: the others are unread again."""
        scanned = self._scanned
        if scanned is None or count >= scanned.taken.count:
            return
        self._scanned = self._first(scanned, count) if count else None

    def release(self, *, hold_back: bool = False) -> None:
        """Hand the space of what was taken back to the kernel; idempotent.

        Args:
            hold_back: All but that of the last record. The kernel wakes a reader only when the
                consumer position is that of the very record that it commits (bpf_ringbuf_commit),
                so a reader that stays one record behind is never woken, and programs do not pay
                for it. A record of more than an eighth of the ring is not held back: its space
                might be what a program waits for.
        """
        scanned, self._scanned = self._scanned, None
        if scanned is not None:
            self._position = scanned.end
            self._discarded += scanned.discarded
        end = self._position
        if hold_back and scanned is not None:
            size = (end - scanned.last) & POSITION_MASK
            end = scanned.last if size * _HELD_BACK_SHARE <= self.capacity else end
        elif hold_back:
            return
        if self._consumer[0] != end:
            self._ordering.store(self._consumer, end)  # after the payloads were read

    def publish(self) -> bool:
        """Free what was held back, then look whether there is something to take.

        The look is behind a full fence: either it sees a record that was committed before the
        position was stored, or its commit sees the position and wakes who waits.
        """
        self.release()
        self._ordering.fence()
        return self.pending

    def position_of(self, index: int, scanned: Scanned | None = None) -> int:
        """The ring position of a record that was taken.

        Raises:
            IndexError: There are not as many.
        """
        scanned = scanned or self._scanned
        if scanned is None:
            raise IndexError("nothing is taken")
        _, offset = payload_offset(scanned.taken.parts, index)
        ahead = (offset - RECORD_HEADER_SIZE - scanned.start) & self._mask
        return (scanned.start + ahead) & POSITION_MASK

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; what is taken stays unread."""
        if self._closed:
            return
        self._closed = True
        self._scanned = None
        self.release()
        for view in (self._headers, self._data, self._producer, self._consumer):
            view.release()

    def _scan(self, start: int, producer: int, limit: int) -> Scanned:
        """Look at the headers from `start`, up to `producer` and `limit`."""
        if self._native:
            found = scan_compiled(self._data, start, producer, limit)
        else:
            found = scan(self._headers, start, producer, limit)
        runs, count, end, last, discarded, more = found
        return Scanned(start, end, last, Taken([(self._data, runs)], count, more), discarded)

    def _first(self, scanned: Scanned, count: int) -> Scanned | None:
        """The first `count` records of those that a scan found, of which there are more."""
        limit = scanned.taken.count + scanned.discarded
        return self._scan(scanned.start, self.position_of(count, scanned), limit)

    def _next_header(self) -> int | None:
        """The first word of the next header to take; None when there is none."""
        position = self._position if self._scanned is None else self._scanned.end
        if position == self._ordering.load(self._producer):  # before the header
            return None
        return self._headers[(position & self._mask) >> 2]
