"""Rings of a perf event array, one for each CPU that is online, while CPUs come and go."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, TypeVar

from bpfstream.kernel import bpf, perf
from bpfstream.kernel.cpus import CpuWatch, online_cpus
from bpfstream.kernel.privileges import explain

_CPU_KEY = struct.Struct("=I")
_EVENT_FD = struct.Struct("=i")


class ArrayEntry:
    """The place of one CPU in a perf event array: the event that programs on it write through.

    Args:
        array_fd: The array.
        cpu: The CPU, which is the key.
    """

    def __init__(self, array_fd: int, cpu: int) -> None:
        self._array_fd = array_fd
        self._key = _CPU_KEY.pack(cpu)

    def put(self, event_fd: int) -> None:
        """Let programs write through an event, instead of the one that they did before."""
        bpf.map_update(self._array_fd, self._key, _EVENT_FD.pack(event_fd))

    def delete(self) -> None:
        """Give programs ENOENT instead; idempotent."""
        try:
            bpf.map_delete(self._array_fd, self._key)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


class CpuRing:
    """The ring of one CPU. What is in it can be read for longer than the CPU is there.

    Attributes:
        cpu: The CPU.
        retired: Whether the CPU is gone.

    Args:
        cpu: The CPU.
        event_fd: The perf event that is mapped.
        presence: Gives up all that programs need to write to the ring.
        memory: Gives up the memory of the ring.
    """

    def __init__(self, cpu: int, event_fd: int, presence: ExitStack, memory: ExitStack) -> None:
        self.cpu = cpu
        self.retired = False
        self._event_fd = event_fd
        self._presence = presence
        self._memory = memory

    @property
    def is_running(self) -> bool:
        """Whether programs on the CPU can still write to the ring."""
        return not self.retired and perf.is_running(self._event_fd)

    def retire(self) -> None:
        """Give up all but the memory; idempotent."""
        self.retired = True
        self._presence.close()

    def close(self) -> None:
        """Give up everything; idempotent."""
        with self._memory:
            self.retire()


R = TypeVar("R", bound=CpuRing)


class CpuRings(Generic[R]):
    """The rings of all CPUs, of retired ones until they are taken out.

    Of one CPU there may be several: what is left from before it went, and what it has now. The
    older ones come first.

    Args:
        open_ring: Opens the ring of a CPU; an OSError with ENODEV says that it is not online.

    Raises:
        OSError: A ring can't be opened; those before it are closed.
        KernelError: The CPUs can't be read.
    """

    def __init__(self, open_ring: Callable[[int], R]) -> None:
        self._open_ring = open_ring
        self._rings: list[R] = []
        self._watch = CpuWatch()
        with ExitStack() as undo:
            undo.callback(self.close)
            for cpu in online_cpus():
                self._open(cpu)
            undo.pop_all()

    def _open(self, cpu: int) -> None:
        try:
            self._rings.append(self._open_ring(cpu))
        except OSError as error:
            if error.errno != errno.ENODEV:  # went offline since we looked
                raise

    def __iter__(self) -> Iterator[R]:
        return iter(self._rings)

    def follow(self) -> None:
        """Retire the rings of CPUs that went, open those of CPUs that came.

        Raises:
            KernelError: A ring can't be opened. The next call tries again.
        """
        if not self._watch.changed():
            return
        online = online_cpus()
        present = set()
        for ring in self._rings:
            if ring.cpu in online and ring.is_running:
                present.add(ring.cpu)
            else:
                ring.retire()
        for cpu in online:
            if cpu not in present:
                try:
                    self._open(cpu)
                except OSError as error:
                    raise explain(f"open the ring of CPU {cpu}", error, pmu="software") from error
        self._watch.settle()

    def take_out(self, ring: R) -> None:
        """Close one ring; what it had is lost if it was not read."""
        self._rings.remove(ring)
        ring.close()

    def close(self) -> None:
        """Close all rings; idempotent."""
        with ExitStack() as closing:
            while self._rings:
                closing.callback(self._rings.pop().close)
