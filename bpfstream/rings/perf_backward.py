"""The reader of one CPU's overwritable perf buffer (Linux 4.7), over mapped memory. No I/O.

An event with ``write_backward`` whose memory is mapped read-only never runs out of room: the kernel
writes each record *below* the one before, round and round, over the oldest ones
(``perf_output_begin_backward`` in kernel/events/ring_buffer.c). So from ``data_head`` on upwards
lie the records from the newest to the oldest, of which the last may be overwritten in part.

Nothing says how far the kernel is just now: the buffer must be paused to be read
(``PERF_EVENT_IOC_PAUSE_OUTPUT``, or its entry of the perf event array deleted). What is new is
copied at once, so the pause is short; the copy is decoded later.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from bpfstream._native import COMPILED
from bpfstream.abi.ringbuf import (
    PERF_DATA_HEAD,
    PERF_HEADER_SIZE,
    POSITION_MASK,
    RECORD_ALIGNMENT,
)
from bpfstream.errors import RingCorruptedError
from bpfstream.rings.decoding import BatchDecoder
from bpfstream.rings.drain import drain
from bpfstream.rings.ordering import Barrier, ordering_for
from bpfstream.rings.perf_records import (
    LOST,
    SAMPLE,
    SAMPLE_OVERHEAD,
    lost_count,
    record_header,
    sample_length,
)
from bpfstream.rings.runs import Run, Taken, append_record

B = TypeVar("B")

_EMPTY = memoryview(b"")


class _Sample(msgspec.Struct, frozen=True, gc=False):
    """A sample in the copy.

    Attributes:
        position: Its ring position.
        offset: Of its payload in the copy.
        length: Of its payload.
        size: Of the whole record.
    """

    position: int
    offset: int
    length: int
    size: int


class BackwardPerfReader:
    """Reads one CPU's overwritable perf buffer, each sample once, the oldest first.

    It is a `Ring` over the copy that `snapshot` makes; `read` does both.

    Args:
        header_page: The control page (``struct perf_event_mmap_page``); may be read-only.
        data: The data area: `capacity` bytes, mapped once; may be read-only.
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
        self._head = header_page.cast("B")[PERF_DATA_HEAD : PERF_DATA_HEAD + 8].cast("Q")
        self._data = data.cast("B")
        self._mask = capacity - 1
        self._ordering = ordering_for(native, barrier)
        self._read_to = 0  # the first record ends at position 0: they count down from there
        self._copy = _EMPTY
        self._samples: list[_Sample] = []  # in the copy, the oldest first
        self._next = 0  # of them to take
        self._taken = 0  # of them, ahead of the next
        self._lost = 0
        self._overwritten = 0

    @property
    def capacity(self) -> int:
        """Bytes that the buffer holds, headers included."""
        return self._mask + 1

    @property
    def backlog(self) -> int:
        """Bytes that were written since the last snapshot, up to `capacity`."""
        return min((self._read_to - self._head[0]) & POSITION_MASK, self.capacity)

    @property
    def lost(self) -> int:
        """Samples that LOST records tell of, as those of while the buffer was paused.

        So are samples of 64 KiB or more: they overwrite what is behind them.
        """
        return self._lost

    @property
    def overwritten(self) -> int:
        """Bytes of records that newer ones overwrote before they were read.

        How many records that were is not known.
        """
        return self._overwritten

    @property
    def pending(self) -> bool:
        """Whether samples of the last snapshot are left to take."""
        return self._next < len(self._samples)

    def read(self, decoder: BatchDecoder[B]) -> B:
        """The samples since the last read; the buffer must be paused unless `pending`.

        Samples are left `pending` when one can't be decoded: they are the next read's.

        Args:
            decoder: What makes a batch of the samples.

        Raises:
            DecodeError: The *first* sample can't be decoded; the next read goes on behind it.
            RingCorruptedError: The newest record is none that a kernel writes.
        """
        self.snapshot()
        batch = drain(self, decoder, max(len(self._samples), 1)).batch
        self.release()
        return batch

    def snapshot(self) -> None:
        """Copy what is new, for `take`; nothing while samples of the last copy are `pending`.

        The buffer must be paused; afterwards it need not be.

        Raises:
            RingCorruptedError: The newest record is none that a kernel writes.
        """
        if self.pending:
            return
        head = self._ordering.load(self._head)  # data_head before records
        written = (self._read_to - head) & POSITION_MASK
        if head % RECORD_ALIGNMENT:
            raise RingCorruptedError("a head that is not aligned", position=head)
        offset = head & self._mask
        size = min(written, self.capacity)
        rest = min(size, self.capacity - offset)
        new = memoryview(
            bytes(self._data[offset : offset + rest]) + bytes(self._data[: size - rest])
        )
        self._samples, self._copy, lost, whole = _oldest_first(new, head)
        self._next = self._taken = 0
        self._lost += lost
        self._overwritten += written - whole
        self._read_to = head

    def take(self, limit: int) -> Taken:
        """Up to `limit` samples of the copy; forget those of the take before."""
        taken = self._samples[self._next : self._next + limit]
        runs: list[Run] = []
        for sample in taken:
            append_record(runs, sample.offset, sample.length, sample.size)
        self._taken = len(taken)
        self._next += len(taken)
        return Taken([(self._copy, runs)], len(taken), self.pending)

    def keep(self, count: int) -> None:
        """Of the samples taken, keep the first `count`: the others are unread again."""
        unread = max(self._taken - count, 0)
        self._taken -= unread
        self._next -= unread

    def release(self, *, hold_back: bool = False) -> None:
        """Forget what was taken; idempotent.

        Args:
            hold_back: Without effect: the kernel waits for no reader of this buffer.
        """
        self._taken = 0

    def position_of(self, index: int) -> int:
        """The ring position of a sample that was taken.

        Raises:
            IndexError: There are not as many.
        """
        if not 0 <= index < self._taken:
            raise IndexError("no such sample was taken")
        return self._samples[self._next - self._taken + index].position

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; idempotent."""
        self._data.release()
        self._head.release()


def _oldest_first(new: memoryview, head: int) -> tuple[list[_Sample], memoryview, int, int]:
    """The samples among records that lie the newest first, the other way round.

    Returns:
        The samples, the buffer that they are in, how many are lost, and how many bytes were records
        that are whole. What follows those is what the newest records overwrote.
    """
    found: list[tuple[int, int, int]] = []  # where, length, size
    lost = at = 0
    while at < len(new):
        position = (head + at) & POSITION_MASK
        try:
            kind, size = record_header(new, at, len(new) - at, position)
            if kind == SAMPLE:
                length = sample_length(size, new, at + PERF_HEADER_SIZE, position)
                if length is None:
                    lost += 1
                    break  # it overwrote those behind it
                found.append((at, length, size))
            elif kind == LOST:
                lost += lost_count(size, new, at + PERF_HEADER_SIZE, position)
        except RingCorruptedError:
            if not at:
                raise
            break
        at += size
    samples = []
    offset = SAMPLE_OVERHEAD
    for place, length, size in reversed(found):
        samples.append(_Sample((head + place) & POSITION_MASK, offset, length, size))
        offset += size
    pieces = (new[place : place + size] for place, _, size in reversed(found))
    return samples, memoryview(b"".join(pieces)), lost, at
