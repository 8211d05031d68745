"""Flight recorders: rings that keep the last events until somebody asks for them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack
from operator import attrgetter
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

from bpfstream.errors import StreamError, closed
from bpfstream.kernel import perf
from bpfstream.kernel.memory import PerfBufferMapping, RingBufferMapping
from bpfstream.rings import (
    BackwardPerfReader,
    BatchDecoder,
    OverwriteRingBufferReader,
    drain,
)
from bpfstream.streams.cpu_rings import ArrayEntry, CpuRing, CpuRings
from bpfstream.streams.perf_options import PerfOptions

T = TypeVar("T")

RecorderReader: TypeAlias = BackwardPerfReader | OverwriteRingBufferReader


class RecorderRings(Protocol):
    """The rings of a recorder."""

    @property
    def capacity(self) -> int:
        """Bytes that they hold."""
        ...

    @property
    def lost(self) -> int:
        """Events that could not be written, or not be read."""
        ...

    def copy(self) -> Sequence[RecorderReader]:
        """The rings, each ready to be drained of what it has now, the oldest first.

        Raises:
            RingCorruptedError: A ring holds what no kernel writes.
            KernelError: A CPU came online and can't be recorded.
        """
        ...

    def close(self) -> None:
        """Give the rings back; idempotent."""
        ...


class FlightRecorder(Generic[T]):
    """Keeps the last events that programs sent, as many as there is room for.

    What is new overwrites what is oldest, nothing wakes anybody, and until `snapshot` nothing is
    read. A context manager. Not for several threads.

    Flight recorders come from `bpfstream.Object.recorder`.

    Args:
        rings: What is written to; the recorder closes them.
        decoder: Makes events of the records.
    """

    def __init__(self, rings: RecorderRings, decoder: BatchDecoder[list[T]]) -> None:
        self._rings = rings
        self._decoder = decoder
        self._events: list[T] = []  # decoded and not handed over
        self._lost = 0  # when it was closed
        self._is_closed = False

    def snapshot(self, *, by: str | None = None) -> list[T]:
        """The events since the last snapshot that were not overwritten.

        Args:
            by: A field of the events, such as a timestamp, to order them by. Without it those of a
                perf buffer are in order CPU by CPU, the oldest of each first.

        Raises:
            trio.ClosedResourceError: The recorder was closed.
            DecodeError: A record is not what its type says. The other events are not lost: the next
                snapshot has them.
            RingCorruptedError: A ring holds what no kernel writes.
            StreamError: The events have no field `by`.
            KernelError: A CPU came online and can't be recorded.
        """
        if self._is_closed:
            raise closed("the flight recorder")
        for ring in self._rings.copy():
            more = True
            limit = ring.capacity  # in records: all there are
            while more and limit > 0:
                drained = drain(ring, self._decoder, limit)
                self._events += drained.batch
                ring.release()
                limit -= max(drained.count, 1)
                more = drained.more
        if by is not None:
            try:
                self._events.sort(key=attrgetter(by))
            except AttributeError:
                raise StreamError(f"the events have no field {by!r} to order them by") from None
        events, self._events = self._events, []
        return events

    @property
    def lost(self) -> int:
        """Events that the recorder has missed.

        Those of a perf buffer that came while their CPU's ring was stopped to be copied: the kernel
        tells of them with the next event of that CPU, so they show one snapshot later. Those of a
        ring buffer that were overwritten, see `OverwriteRingBufferReader.lost`.
        """
        return self._lost if self._is_closed else self._rings.lost

    @property
    def capacity(self) -> int:
        """Bytes that the rings hold; for a perf buffer, those of all CPUs together."""
        return self._rings.capacity

    @property
    def is_closed(self) -> bool:
        """Whether the recorder was closed."""
        return self._is_closed

    def close(self) -> None:
        """Stop recording and give the rings back; idempotent."""
        if not self._is_closed:
            self._lost, self._is_closed = self._rings.lost, True
            self._rings.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class PerfRecorderRings:
    """Overwritable rings of a perf event array, one for each CPU (Linux 4.7).

    To be copied, the CPUs' rings are stopped one after another, some microseconds each.

    Args:
        map_fd: The array; a duplicate is taken, so the map may be closed first.
        pages: Data pages of each CPU's ring.

    Raises:
        ValueError: `pages` is not a power of two.
        OSError: A perf event can't be opened, mapped or put into the array.
    """

    def __init__(self, map_fd: int, pages: int) -> None:
        PerfOptions(pages)
        self._lost = 0  # of rings that are closed
        with ExitStack() as undo:
            fd = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
            undo.callback(os.close, fd)
            self._rings = CpuRings(lambda cpu: _CpuRecorderRing(fd, cpu, pages))
            undo.callback(self._rings.close)
            self._undo = undo.pop_all()

    @property
    def capacity(self) -> int:
        """Bytes that they hold."""
        return sum(ring.reader.capacity for ring in self._rings)

    @property
    def lost(self) -> int:
        """Events that came while a ring was stopped, as far as the kernel has told of them."""
        return self._lost + sum(ring.reader.lost for ring in self._rings)

    def copy(self) -> list[BackwardPerfReader]:
        """The rings of all CPUs that are online or left something behind."""
        for ring in list(self._rings):
            if ring.retired and not ring.reader.backlog and not ring.reader.pending:
                self._lost += ring.reader.lost
                self._rings.take_out(ring)
        self._rings.follow()
        for ring in self._rings:
            ring.copy()
        return [ring.reader for ring in self._rings]

    def close(self) -> None:
        """Give the rings back; idempotent."""
        self._undo.close()


class _CpuRecorderRing(CpuRing):
    """The ring of one CPU."""

    def __init__(self, array_fd: int, cpu: int, pages: int) -> None:
        entry = ArrayEntry(array_fd, cpu)
        with ExitStack() as memory, ExitStack() as presence:
            event_fd = perf.open_bpf_output(cpu, backward=True)
            presence.callback(os.close, event_fd)
            mapping = PerfBufferMapping(event_fd, pages, overwrite=True)
            memory.callback(mapping.close)
            self.reader = BackwardPerfReader(mapping.header, mapping.data)
            memory.callback(self.reader.close)
            entry.put(event_fd)
            presence.callback(entry.delete)
            super().__init__(cpu, event_fd, presence.pop_all(), memory.pop_all())

    def copy(self) -> None:
        """Take a copy of what is new, for the reader."""
        if self.retired:
            self.reader.snapshot()
            return
        perf.pause_output(self._event_fd, paused=True)
        try:
            self.reader.snapshot()
        finally:
            perf.pause_output(self._event_fd, paused=False)


class RingBufferRecorderRings:
    """The one ring of a ring buffer with ``BPF_F_RB_OVERWRITE`` (Linux 6.19).

    Args:
        map_fd: The map; a duplicate is taken, so the map may be closed first.
        size: Its ``max_entries``, in bytes.

    Raises:
        OSError: The ring can't be mapped.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        with ExitStack() as undo:
            fd = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
            undo.callback(os.close, fd)
            memory = RingBufferMapping(fd, size)
            undo.callback(memory.close)
            self._reader = OverwriteRingBufferReader(memory.consumer, memory.producer, memory.data)
            undo.callback(self._reader.close)
            self._undo = undo.pop_all()
        self.capacity = size

    @property
    def lost(self) -> int:
        """Events that were overwritten unread, exact as long as all have one size."""
        return self._reader.lost

    def copy(self) -> list[OverwriteRingBufferReader]:
        """The ring, whose reader copies what it takes."""
        return [self._reader]

    def close(self) -> None:
        """Give the ring back; idempotent."""
        self._undo.close()
