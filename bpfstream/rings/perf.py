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

from bpfstream._native import COMPILED, hot
from bpfstream.abi.ringbuf import PERF_DATA_HEAD, PERF_DATA_TAIL, POSITION_MASK
from bpfstream.rings.ordering import Barrier, ordering_for
from bpfstream.rings.perf_records import SAMPLE_OVERHEAD
from bpfstream.rings.perf_scan import Scanned, scan, scan_stretch
from bpfstream.rings.runs import Taken, payload_offset


class PerfBufferReader:
    """Takes samples off one CPU's perf buffer. It must be the buffer's only reader.

    Args:
        header_page: The control page, writable.
        data: The data area: `capacity` bytes, mapped once.
        barrier: What orders memory accesses; by default what this machine needs.
        native: Use the compiled module.

    Raises:
        ValueError: The data area's size is not a power of two (of at least 8 bytes).
    """

    def __init__(
        self,
        header_page: memoryview,
        data: memoryview,
        *,
        barrier: Barrier | None = None,
        native: bool = COMPILED,
    ) -> None:
        capacity = data.nbytes
        if capacity < 8 or capacity & (capacity - 1):
            raise ValueError(f"data area of {capacity} bytes is not a power of two")
        page = header_page.cast("B")
        self._head = page[PERF_DATA_HEAD : PERF_DATA_HEAD + 8].cast("Q")
        self._tail = page[PERF_DATA_TAIL : PERF_DATA_TAIL + 8].cast("Q")
        self._data = data.cast("B")
        self._mask = capacity - 1
        self._ordering = ordering_for(native, barrier)
        self._native = native
        self._scanned: Scanned | None = None
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
        head = self._ordering.load(self._head)  # before the records
        found = self._scanned = self._scan(self._tail[0], head, limit)
        return Taken(found.parts, found.count, found.more)

    def keep(self, count: int) -> None:
        """Of the samples taken, keep the first `count`: the others are unread again."""
        found = self._scanned
        if found is None or count >= found.count:
            return
        self._scanned = None
        if count:
            self._scanned = self._scan(found.start, self.position_of(count, found), self.capacity)

    def release(self, *, hold_back: bool = False) -> None:
        """Hand the space of what was taken back to the kernel; idempotent.

        Args:
            hold_back: Without effect: waking a reader does not depend on ``data_tail``.
        """
        found, self._scanned = self._scanned, None
        if found is None:
            return
        if found.end != found.start:
            self._ordering.store(self._tail, found.end)  # after the samples were read
        self._lost += found.lost

    def publish(self) -> bool:
        """Whether there is something to take: nothing is ever held back here."""
        self.release()
        self._ordering.fence()
        return self.pending

    def position_of(self, index: int, found: Scanned | None = None) -> int:
        """The ring position of a sample that was taken.

        Raises:
            IndexError: There are not as many.
        """
        found = found or self._scanned
        if found is None:
            raise IndexError("nothing is taken")
        buffer, offset = payload_offset(found.parts, index)
        if buffer is not self._data:
            return found.wrapped
        ahead = (offset - SAMPLE_OVERHEAD - found.start) & self._mask
        return (found.start + ahead) & POSITION_MASK

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; what is taken stays unread."""
        self._scanned = None
        for view in (self._data, self._tail, self._head):
            view.release()

    def _scan(self, start: int, head: int, limit: int) -> Scanned:
        """Look at the records from `start`, up to `head` and `limit`."""
        stretch = hot.scan_perf_buffer if self._native else scan_stretch
        return scan(self._data, start, head, limit, stretch)
