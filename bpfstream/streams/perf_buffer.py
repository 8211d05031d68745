"""A perf event array as a source of events: one ring a CPU, read as one."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from typing import TypeVar

from bpfstream.errors import StreamError
from bpfstream.kernel.eventpoll import EventPoll
from bpfstream.rings import BatchDecoder, Drained, drain
from bpfstream.streams.cpu_rings import CpuRings
from bpfstream.streams.perf_options import PerfOptions
from bpfstream.streams.perf_ring import PerfRing
from bpfstream.streams.statistics import CpuStatistics, Losses

B = TypeVar("B")

_HUSH_AFTER = 4
"""Releases in a row that are held back, with no `publish` between, until the rings are hushed.

Hushing costs a system call, and so does rousing: it has to be worth it.
"""


class PerfBufferSource:
    """Reads what programs send through a ``BPF_MAP_TYPE_PERF_EVENT_ARRAY`` (Linux 4.4).

    The source opens a perf event on each CPU that is online and puts it in the array under the
    CPU's number; numbers may be missing in between. `sweep` follows CPUs that come and go. Closing
    takes the events out again.

    Events of one CPU keep their order. Between CPUs the source takes turns.

    Args:
        map_fd: The array; the source takes a duplicate, so the map may be closed first. (The
            kernel drops the events that were put in through a descriptor when its last duplicate
            closes: kernel/bpf/arraymap.c, perf_event_fd_array_release.)
        options: The size of the rings, and when the descriptor becomes readable. What was sent and
            does not reach a mark set there waits for a drain.
        quiet: Whether releases will be held back: then no program pays for wakeups as long as there
            is no `publish`. Not with `options` that say when to wake, which they keep to.

    Raises:
        OSError: A perf event can't be opened, mapped or put into the array.
    """

    def __init__(
        self,
        map_fd: int,
        *,
        options: PerfOptions | None = None,
        quiet: bool = True,
    ) -> None:
        self._options = options if options is not None else PerfOptions()
        self._quiet = quiet and self._options.is_default
        self._paused = False
        self._turn = 0
        self._drained: list[tuple[PerfRing, int]] = []
        self._error: StreamError | None = None
        self._held_back = 0
        self._read_out: dict[int, CpuStatistics] = {}  # of rings that are closed
        with ExitStack() as undo:
            self._map_fd = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
            undo.callback(os.close, self._map_fd)
            self._poll = EventPoll()
            undo.callback(self._poll.close)
            self._rings = CpuRings(self._open_ring)
            undo.callback(self._rings.close)
            self._undo = undo.pop_all()

    def _open_ring(self, cpu: int) -> PerfRing:
        ring = PerfRing(self._map_fd, cpu, self._options, quiet=self._quiet, poll=self._poll)
        if self._paused:
            ring.pause()
        return ring

    cleared_by_polling = True
    """See perf_poll in kernel/events/core.c."""

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._poll.fileno()

    def drain(self, decoder: BatchDecoder[B], limit: int) -> Drained[B]:
        """Sweep all rings, whichever woke the reader, beginning with another one each time.

        Which ring has data can't be taken from epoll: it clears that when it is asked
        (kernel/events/core.c, perf_poll). A bad record at the head of a ring is an error at once
        only if no ring had anything before it, or else one of the next drain.
        """
        for ring, _ in self._drained:
            ring.reader.release()
        self._drained = []
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        batches: list[B] = []
        count, more = 0, False
        try:
            for ring in self._in_turn():
                if not ring.reader.pending:
                    continue
                if count == limit:
                    more = True
                    break
                try:
                    drained = drain(ring.reader, decoder, limit - count)
                except StreamError as error:
                    if not count:
                        raise
                    self._error, more = error, True
                    break
                self._drained.append((ring, drained.count))
                batches.append(drained.batch)
                count += drained.count
                more = more or drained.more
            return Drained(decoder.join(batches), count, more)
        except BaseException:
            self.release(0)  # nothing was handed over
            raise

    def release(self, count: int, *, hold_back: bool = False) -> None:
        """Free the space of the first `count` records of the last drain.

        Args:
            count: How many; the others are unread again.
            hold_back: Let programs send without waking the reader, once that was said some times
                in a row.
        """
        hush = False
        if hold_back:
            self._held_back += 1
            hush = self._held_back > _HUSH_AFTER and not self._paused
        for ring, drained in self._drained:
            taken = min(count, drained)
            ring.reader.keep(taken)
            ring.reader.release()
            ring.received += taken
            count -= taken
            if hush and ring.can_hush:
                ring.hush()
        self._drained = []

    def publish(self) -> bool:
        """Let programs wake the reader; whether there is something to take, or may be."""
        self._held_back = 0
        roused = [ring.rouse() for ring in self._rings if not self._paused]
        found = [ring.reader.publish() for ring in self._rings]
        return self._error is not None or any(roused) or any(found)

    def sweep(self) -> None:
        """Follow CPUs that came or went.

        A CPU that is gone keeps its ring until that was read; one that came has one from now on.

        Raises:
            KernelError: A new CPU's ring can't be opened. The next sweep tries again.
        """
        drained = [ring for ring, _ in self._drained]
        for ring in list(self._rings):
            if ring.retired and not ring.reader.pending and ring not in drained:
                self._read_out[ring.cpu] = self._cpu_statistics(ring.cpu, [ring])
                self._rings.take_out(ring)
        self._rings.follow()

    def pause(self) -> None:
        """Take the events out of the array: programs get ENOENT; idempotent.

        What the rings have can still be read. What is sent meanwhile counts nowhere.
        """
        self._paused = True
        for ring in self._rings:
            ring.pause()

    def resume(self) -> None:
        """Put the events back, each under the number of its CPU; idempotent."""
        self._paused = False
        for ring in self._rings:
            ring.resume()

    @property
    def pending(self) -> bool:
        """Whether a ring has a record."""
        return self._error is not None or any(ring.reader.pending for ring in self._rings)

    def _in_turn(self) -> list[PerfRing]:
        """All rings, another one first each time, but behind the retired ones.

        What is left of a CPU that went and came back is older than what it sends now.
        """
        retired = [ring for ring in self._rings if ring.retired]
        present = [ring for ring in self._rings if not ring.retired]
        if present:
            self._turn = (self._turn + 1) % len(present)
        return retired + present[self._turn :] + present[: self._turn]

    @property
    def busy(self) -> bool:
        """Never: a perf ring shows no record before it is whole."""
        return False

    @property
    def backlog(self) -> int:
        """Bytes not released yet."""
        return sum(ring.reader.backlog for ring in self._rings)

    @property
    def capacity(self) -> int:
        """Bytes that fit."""
        return sum(ring.reader.capacity for ring in self._rings)

    @property
    def fullness(self) -> float:
        """The part of the fullest ring that is taken."""
        return max(
            (ring.reader.backlog / ring.reader.capacity for ring in self._rings), default=0.0
        )

    @property
    def discarded(self) -> int:
        """Always 0: a program can't take back what it sends through a perf buffer."""
        return 0

    @property
    def losses(self) -> Losses:
        """What found no room, by the LOST records of the kernel."""
        read_out = sum(each.lost for each in self._read_out.values())
        return Losses(perf=read_out + sum(ring.reader.lost for ring in self._rings))

    @property
    def cpus(self) -> tuple[CpuStatistics, ...]:
        """What each CPU sent, by its number; those that are gone are there too."""
        rings: dict[int, list[PerfRing]] = {cpu: [] for cpu in self._read_out}
        for ring in self._rings:
            rings.setdefault(ring.cpu, []).append(ring)
        return tuple(self._cpu_statistics(cpu, rings[cpu]) for cpu in sorted(rings))

    def _cpu_statistics(self, cpu: int, rings: list[PerfRing]) -> CpuStatistics:
        before = self._read_out.get(cpu)
        return CpuStatistics(
            cpu=cpu,
            received=sum(ring.received for ring in rings) + (before.received if before else 0),
            lost=sum(ring.reader.lost for ring in rings) + (before.lost if before else 0),
            backlog=sum(ring.reader.backlog for ring in rings),
            capacity=sum(ring.reader.capacity for ring in rings),
        )

    def close(self) -> None:
        """Give the rings back; idempotent."""
        self._drained = []
        self._undo.close()
