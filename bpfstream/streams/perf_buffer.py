"""A perf event array as a source of events: one ring a CPU, read as one."""

from __future__ import annotations

import errno
import os
import struct
from contextlib import ExitStack, suppress
from typing import TypeVar

from bpfstream.abi.perf import PerfType, SampleType, SoftwareEvent
from bpfstream.errors import DecodeError
from bpfstream.kernel import bpf, perf
from bpfstream.kernel.cpus import online_cpus
from bpfstream.kernel.eventpoll import EventPoll
from bpfstream.kernel.memory import PerfBufferMapping
from bpfstream.rings import BatchDecoder, Drained, PerfBufferReader, drain
from bpfstream.streams.statistics import Losses

B = TypeVar("B")

DEFAULT_PAGES = 64
"""Data pages a CPU: 256 KiB where a page has 4 KiB."""

_ATTRIBUTES = perf.PerfEventAttributes(
    type=PerfType.SOFTWARE,
    config=SoftwareEvent.BPF_OUTPUT,
    sample_type=SampleType.RAW,
    sample_period=1,
    wakeup_events=1,
)
_CPU_KEY = struct.Struct("=I")
_EVENT_FD = struct.Struct("=i")


class PerfBufferSource:
    """Reads what programs send through a ``BPF_MAP_TYPE_PERF_EVENT_ARRAY`` (Linux 4.4).

    The source opens a perf event on each CPU that is online and puts it in the array under the
    CPU's number; numbers may be missing in between. Closing takes them out again.

    Events of one CPU keep their order. Between CPUs the source takes turns.

    Args:
        map_fd: The array. It has to stay open as long as the source: the kernel drops the events
            that were put in through a descriptor when that one closes.
        pages: Data pages of each CPU's ring, a power of two.

    Raises:
        ValueError: `pages` is not a power of two.
        OSError: A perf event can't be opened, mapped or put into the array.
    """

    def __init__(self, map_fd: int, *, pages: int = DEFAULT_PAGES) -> None:
        if pages < 1 or pages & (pages - 1):
            raise ValueError(f"a perf ring has a power of two of pages, not {pages}")
        self._rings: list[PerfBufferReader] = []
        self._turn = 0
        self._drained: list[tuple[PerfBufferReader, int]] = []
        self._error: DecodeError | None = None
        with ExitStack() as undo:
            self._poll = EventPoll()
            undo.callback(self._poll.close)
            for cpu in online_cpus():
                self._open(cpu, map_fd, pages, undo)
            self._undo = undo.pop_all()

    def _open(self, cpu: int, map_fd: int, pages: int, undo: ExitStack) -> None:
        try:
            fd = perf.perf_event_open(_ATTRIBUTES, pid=-1, cpu=cpu)
        except OSError as error:
            if error.errno == errno.ENODEV:  # went offline since we looked
                return
            raise
        undo.callback(os.close, fd)
        memory = PerfBufferMapping(fd, pages)
        undo.callback(memory.close)
        self._poll.register(fd)
        key = _CPU_KEY.pack(cpu)
        bpf.map_update(map_fd, key, _EVENT_FD.pack(fd))
        undo.callback(_remove, map_fd, key)
        perf.enable(fd)
        undo.callback(perf.disable, fd)
        self._rings.append(PerfBufferReader(memory.header, memory.data))

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
            ring.release()
        self._drained = []
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        batches: list[B] = []
        count, more = 0, False
        for ring in self._in_turn():
            if count == limit:
                more = True
                break
            try:
                drained = drain(ring, decoder, limit - count)
            except DecodeError as error:
                if not count:
                    raise
                self._error, more = error, True
                break
            self._drained.append((ring, drained.count))
            batches.append(drained.batch)
            count += drained.count
            more = more or drained.more
        return Drained(decoder.join(batches), count, more)

    def release(self, count: int, *, hold_back: bool = False) -> None:
        """Free the space of the first `count` records of the last drain."""
        for ring, drained in self._drained:
            ring.keep(min(count, drained))
            ring.release(hold_back=hold_back)
            count -= min(count, drained)
        self._drained = []

    def publish(self) -> bool:
        """Whether there is something to take."""
        return any(ring.publish() for ring in self._rings)

    def sweep(self) -> None:
        """Nothing is looked after."""

    @property
    def pending(self) -> bool:
        """Whether a ring has a record."""
        return self._error is not None or any(ring.pending for ring in self._rings)

    def _in_turn(self) -> list[PerfBufferReader]:
        if not self._rings:
            return []
        self._turn = (self._turn + 1) % len(self._rings)
        return self._rings[self._turn :] + self._rings[: self._turn]

    @property
    def busy(self) -> bool:
        """Never: a perf ring shows no record before it is whole."""
        return False

    @property
    def backlog(self) -> int:
        """Bytes not released yet."""
        return sum(ring.backlog for ring in self._rings)

    @property
    def capacity(self) -> int:
        """Bytes that fit."""
        return sum(ring.capacity for ring in self._rings)

    @property
    def discarded(self) -> int:
        """Always 0: a program can't take back what it sends through a perf buffer."""
        return 0

    @property
    def losses(self) -> Losses:
        """What found no room, by the LOST records of the kernel."""
        return Losses(perf=sum(ring.lost for ring in self._rings))

    def close(self) -> None:
        """Give the ring back; idempotent."""
        rings, self._rings, self._drained = self._rings, [], []
        for ring in rings:
            ring.close()
        self._undo.close()


def _remove(map_fd: int, key: bytes) -> None:
    # Already out when the array's descriptor closed first.
    with suppress(OSError):
        bpf.map_delete(map_fd, key)
