"""A kernel with CPUs that come and go, and a perf event array; as far as perf buffers need one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bpfstream.kernel import bpf, perf
from bpfstream.kernel.memory import PAGE_SIZE
from bpfstream.streams import cpu_rings, perf_ring
from tests.support.simulated_rings import SimulatedPerfBuffer


class SimulatedEvent:
    """A perf event: an eventfd stands for its descriptor."""

    def __init__(self, cpu: int, wakeup_events: int, wakeup_watermark: int) -> None:
        self.cpu = cpu
        self.wakeup_events = wakeup_events
        self.wakeup_watermark = wakeup_watermark
        self.ring: SimulatedPerfBuffer | None = None
        self.dead = False


class SimulatedCpus:
    """Takes the place of the doors to the kernel that `PerfBufferSource` goes through.

    Attributes:
        online: The CPUs that run.
        vanishing: CPUs that are listed as online and are not.
        array: The perf event array: events by CPU.
        mapped: Rings that are mapped now.
        calls: How many calls were made that may fail.
        fail_at: Which of them is to fail, counted from 0; None for none.
    """

    def __init__(self, *online: int) -> None:
        self.online = set(online)
        self.vanishing: set[int] = set()
        self.array: dict[int, SimulatedEvent] = {}
        self.mapped = 0
        self.fail_at: int | None = None
        self.calls = 0
        self._events: dict[int, SimulatedEvent] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let `bpfstream` see these CPUs."""
        monkeypatch.setattr(cpu_rings, "online_cpus", lambda: tuple(sorted(self.online)))
        watch = SimpleNamespace(changed=lambda: True, settle=lambda: None)
        monkeypatch.setattr(cpu_rings, "CpuWatch", lambda: watch)
        monkeypatch.setattr(perf, "open_bpf_output", self._failing(self._open))
        monkeypatch.setattr(perf, "set_output", self._failing(self._set_output))
        monkeypatch.setattr(perf, "is_running", lambda fd: self._is_running(self._events[fd]))
        monkeypatch.setattr(perf_ring, "PerfBufferMapping", self._failing(self._map))
        monkeypatch.setattr(bpf, "map_update", self._failing(self._update))
        monkeypatch.setattr(bpf, "map_delete", self._delete)

    def go(self, cpu: int) -> None:
        """A CPU goes offline: its events stop for good."""
        self.online.discard(cpu)
        for event in self._events.values():
            event.dead = event.dead or event.cpu == cpu

    def come(self, cpu: int) -> None:
        """A CPU comes online."""
        self.online.add(cpu)

    def send(self, cpu: int, payload: bytes) -> bool:
        """What a program on a CPU does.

        Returns:
            Whether there was room.

        Raises:
            OSError: What the program gets: ENOENT without an event, EOPNOTSUPP for a dead one.
        """
        event = self.array.get(cpu)
        if event is None:
            raise OSError(errno.ENOENT, "no event")
        if not self._is_running(event):
            raise OSError(errno.EOPNOTSUPP, "dead")
        assert event.ring is not None
        return event.ring.send(payload)

    def ring_of(self, cpu: int) -> SimulatedPerfBuffer:
        """The ring that programs on a CPU write to."""
        ring = self.array[cpu].ring
        assert ring is not None
        return ring

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def fails_now_and_then(*arguments: Any, **more: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if number == self.fail_at:
                raise OSError(errno.ENOMEM, f"call {number}")
            return call(*arguments, **more)

        return fails_now_and_then

    def _is_running(self, event: SimulatedEvent) -> bool:
        return not event.dead and event.cpu in self.online

    def _open(self, cpu: int, *, wakeup_events: int = 0, wakeup_watermark: int = 0) -> int:
        if cpu in self.vanishing or cpu not in self.online:
            raise OSError(errno.ENODEV, "offline")
        fd = os.eventfd(0)
        self._events[fd] = SimulatedEvent(cpu, wakeup_events, wakeup_watermark)
        return fd

    def _map(self, fd: int, pages: int) -> Any:
        ring = self._events[fd].ring = SimulatedPerfBuffer(pages * PAGE_SIZE)
        self.mapped += 1
        return SimpleNamespace(header=ring.page, data=ring.data, close=self._unmap)

    def _unmap(self) -> None:
        self.mapped -= 1

    def _set_output(self, fd: int, target_fd: int) -> None:
        self._events[fd].ring = self._events[target_fd].ring

    def _update(self, map_fd: int, key: bytes, value: bytes) -> None:
        cpu, fd = (int.from_bytes(each, "little") for each in (key, value))
        self.array[cpu] = self._events[fd]

    def _delete(self, map_fd: int, key: bytes) -> None:
        if self.array.pop(int.from_bytes(key, "little"), None) is None:
            raise OSError(errno.ENOENT, "no entry")
