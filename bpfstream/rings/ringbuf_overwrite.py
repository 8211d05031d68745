"""The reader of a BPF ring buffer that overwrites its oldest records (Linux 6.19). No I/O.

With ``BPF_F_RB_OVERWRITE`` a reservation always finds room, unless records that are still busy
leave none: the kernel gives up the oldest records, and says by ``overwrite_pos`` where the oldest
one left begins. It waits for no reader, so a record is copied first, and is good if the overwrite
position had not passed it by then.

The reader pairs with these accesses of kernel/bpf/ringbuf.c:

* ``__bpf_ringbuf_reserve`` writes overwrite_pos, then ``smp_store_release(&rb->producer_pos)``: an
  overwrite position that is loaded after the producer position is none older than it.
* Only behind that does the program write the payload that goes over old records. (The header that
  the kernel writes before goes over no record: what is between the overwrite and the producer
  position is always 8 bytes less than the ring, or fewer.) So who read such bytes and then loads
  the overwrite position finds it ahead of them. The kernel has no barrier here for machines that
  reorder stores; there its spin lock's release and the way into the program lie between.
"""

from __future__ import annotations

from bpfstream._native import COMPILED
from bpfstream.abi.ringbuf import OVERWRITE_POSITION, POSITION_MASK, RECORD_HEADER_SIZE
from bpfstream.errors import RingCorruptedError
from bpfstream.rings.ordering import Barrier
from bpfstream.rings.ringbuf import RingBufferReader, Scanned
from bpfstream.rings.ringbuf_scan import scan_records
from bpfstream.rings.runs import Run, Taken, payload_offset

_ATTEMPTS = 8
"""How often a take begins anew when the kernel overtakes it, before it gives nothing."""

_NO_WRAP = 1 << 62
"""The capacity of a copy, in which offsets do not wrap."""


class OverwriteRingBufferReader(RingBufferReader):
    """Takes records off one BPF ring buffer that was made with ``BPF_F_RB_OVERWRITE``.

    As `RingBufferReader`, but what is taken is a copy: the kernel may overwrite the records, it
    changes nothing. What was overwritten before it could be read is counted.

    Args:
        consumer: The consumer page, writable: its first 8 bytes are the consumer position.
        producer: The producer page: producer position, pending position, overwrite position.
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
        super().__init__(consumer, producer, data, barrier=barrier, native=native)
        page = producer.cast("B")
        self._overwrite = page[OVERWRITE_POSITION : OVERWRITE_POSITION + 8].cast("Q")
        self._base = 0  # the ring position of the first byte of the copy
        self._overwritten = 0
        self._read_bytes = 0
        self._read_records = 0

    @property
    def overwritten(self) -> int:
        """Bytes of the ring that were overwritten before they were read, headers included."""
        return self._overwritten

    @property
    def lost(self) -> int:
        """Records that were overwritten before they were read, discarded ones included.

        The kernel counts bytes, as `overwritten` says. In records that is known as long as all have
        one size; else this is what it would be if those had the mean size of those that were read,
        and 0 before one was read.
        """
        if not self._read_bytes:
            return 0
        return self._overwritten * self._read_records // self._read_bytes

    @property
    def backlog(self) -> int:
        """Bytes that can be read and are not released yet."""
        start, producer = self._positions(self._consumer[0])
        return (producer - start) & POSITION_MASK

    def take(self, limit: int) -> Taken:
        """Copy up to `limit` records, discarded ones included; free those of the take before.

        A producer that is faster than the copying may leave nothing: then there is `more`.

        Raises:
            RingCorruptedError: The *first* header is none that a kernel writes.
        """
        self.release()
        for _ in range(_ATTEMPTS):
            start, producer = self._positions(self._position)
            self._skip_to(start)
            scanned = self._copy(producer, limit)
            if scanned is not None:
                self._scanned = scanned
                return scanned.taken
        return Taken([], 0, True)

    def release(self, *, hold_back: bool = False) -> None:
        """Let the kernel see how far the reader is; idempotent.

        Args:
            hold_back: As for `RingBufferReader.release`.
        """
        scanned = self._scanned
        if scanned is not None:
            self._read_bytes += (scanned.end - scanned.start) & POSITION_MASK
            self._read_records += scanned.taken.count + scanned.discarded
        super().release(hold_back=hold_back)

    def publish(self) -> bool:
        """As `RingBufferReader.publish`; where the oldest record left is the next one's place.

        The kernel wakes a reader at the commit of the record at the consumer position, and that may
        be overwritten by now.
        """
        self.release()
        self._skip_to(self._positions(self._position)[0])
        return super().publish()

    def position_of(self, index: int, scanned: Scanned | None = None) -> int:
        """The ring position of a record that was taken.

        Raises:
            IndexError: There are not as many.
        """
        scanned = scanned or self._scanned
        if scanned is None:
            raise IndexError("nothing is taken")
        _, offset = payload_offset(scanned.taken.parts, index)
        return (self._base + offset - RECORD_HEADER_SIZE) & POSITION_MASK

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; what is taken stays unread."""
        super().close()
        self._overwrite.release()

    def _positions(self, position: int) -> tuple[int, int]:
        """Where the oldest record from `position` on begins, and the producer position.

        Raises:
            RingCorruptedError: The positions are none that a kernel writes.
        """
        for _ in range(_ATTEMPTS):
            producer = self._ordering.load(self._producer)  # before the overwrite position
            oldest = self._ordering.load(self._overwrite)
            # Ahead of the producer when that went once around in between.
            if (producer - oldest) & POSITION_MASK <= self.capacity:
                return oldest if _behind(position, oldest) else position, producer
        raise RingCorruptedError(
            f"the overwrite position {oldest} is ahead of the producer", position=producer
        )

    def _skip_to(self, position: int) -> None:
        """Leave out what was overwritten."""
        self._overwritten += (position - self._position) & POSITION_MASK
        self._position = position

    def _copy(self, producer: int, limit: int) -> Scanned | None:
        """What a scan finds, copied; None when the kernel overtook it.

        Raises:
            RingCorruptedError: The *first* header is none that a kernel writes.
        """
        start = self._position
        try:
            found = self._scan(start, producer, limit)
        except RingCorruptedError:
            self._ordering.barrier()  # headers before the overwrite position
            if _behind(start, self._overwrite[0]):
                return None
            raise
        self._ordering.barrier()  # headers before payloads
        offset = start & self._mask
        size = (found.end - start) & POSITION_MASK
        copy = memoryview(bytes(self._data[offset : offset + size]))
        self._ordering.barrier()  # payloads before the overwrite position
        oldest = self._overwrite[0]
        runs = [
            ((first - offset) & self._mask, length, stride, count)
            for _, ring_runs in found.taken.parts
            for first, length, stride, count in ring_runs
        ]
        self._base = start
        if not _behind(start, oldest):
            taken = Taken([(copy, runs)], found.taken.count, found.taken.more)
            return Scanned(start, found.end, found.last, taken, found.discarded)
        gone = (oldest - start) & POSITION_MASK
        if gone >= size:
            return None
        # The scan may have taken payload for headers, until it came to what was not overwritten. It
        # did not if it found the same records there as in the copy; those were committed by then.
        rest = self._rescan(copy, gone, size, found.taken.more)
        if rest is None or _flat(rest.taken.parts[0][1]) != _flat(runs, gone):
            return None
        self._skip_to(oldest)
        return rest

    def _rescan(self, copy: memoryview, begin: int, end: int, more: bool) -> Scanned | None:
        """The records in a part of the copy; None unless they fill it."""
        found = scan_records(copy.cast("I"), begin, end, end, _NO_WRAP)
        if found is None or found[2] != end:
            return None
        runs, count, _, last, discarded, _ = found
        start, end, last = ((self._base + at) & POSITION_MASK for at in (begin, end, last))
        return Scanned(start, end, last, Taken([(copy, runs)], count, more), discarded)

    def _first(self, scanned: Scanned, count: int) -> Scanned | None:
        copy = scanned.taken.parts[0][0]
        begin = (scanned.start - self._base) & POSITION_MASK
        end = (self.position_of(count, scanned) - self._base) & POSITION_MASK
        return self._rescan(copy, begin, end, True)

    def _next_header(self) -> int | None:
        position = self._position if self._scanned is None else self._scanned.end
        start, producer = self._positions(position)
        if start == producer:
            return None
        return self._headers[(start & self._mask) >> 2]


def _behind(position: int, other: int) -> bool:
    """Whether a ring position comes before another; they wrap."""
    return 0 < (other - position) & POSITION_MASK < 1 << 63


def _flat(runs: list[Run], begin: int = 0) -> list[tuple[int, int]]:
    """Offset and length of each record that lies from `begin` on."""
    return [
        (offset, length)
        for first, length, stride, count in runs
        for offset in range(first, first + count * stride, stride)
        if offset >= begin
    ]
