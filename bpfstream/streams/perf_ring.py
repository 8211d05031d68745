"""One CPU's part of a perf event array: its ring, and the events that programs write through."""

from __future__ import annotations

import errno
import os
import struct
from contextlib import ExitStack

import msgspec

from bpfstream.kernel import bpf, perf
from bpfstream.kernel.eventpoll import EventPoll
from bpfstream.kernel.memory import PAGE_SIZE, PerfBufferMapping
from bpfstream.rings import PerfBufferReader

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


class PerfWakeups(msgspec.Struct, frozen=True):
    """When the kernel wakes the reader of a perf buffer; without either, at each event.

    Attributes:
        watermark: When a CPU's ring has gained so many bytes.
        events: When a CPU has sent so many events.
    """

    watermark: int | None = None
    events: int | None = None

    def check(self, pages: int) -> None:
        """Raise unless the kernel does what these say.

        Args:
            pages: Of each CPU's ring.

        Raises:
            ValueError: They say too much or too little, or there are such pages not.
        """
        if pages < 1 or pages & (pages - 1):
            raise ValueError(f"a perf ring has a power of two of pages, not {pages}")
        if self.watermark is not None and self.events is not None:
            raise ValueError("watermark and wakeup_events exclude each other")
        size = pages * PAGE_SIZE
        # The kernel itself takes whatever is out of range for half the ring.
        if self.watermark is not None and not 0 < self.watermark < size:
            raise ValueError(f"watermark has to be from 1 to {size - 1}, not {self.watermark}")
        if self.events is not None and not 0 < self.events < 1 << 32:
            raise ValueError(f"wakeup_events has to be positive, not {self.events}")


class PerfRing:
    """The ring of one CPU that is online, in the array from the start.

    A wakeup costs the program that sends an event twenty times what sending does (measured; it
    interrupts the CPU: kernel/events/ring_buffer.c, perf_output_wakeup). When an event is to wake
    its reader can't be changed once it is open. So there is a second, quiet event that writes into
    the same ring (``PERF_EVENT_IOC_SET_OUTPUT``) and wakes the reader only when that is half full:
    `hush` puts it in the array in place of the first, `rouse` puts that one back.

    Attributes:
        cpu: The CPU.
        reader: Of the ring.
        received: Samples handed over.
        retired: Whether its CPU is gone; what is in the ring can still be read.

    Args:
        array_fd: The array.
        cpu: The CPU.
        pages: Data pages of the ring.
        wakeups: When to wake the reader.
        quiet: Whether to have the quiet event.
        poll: Where the ring is to be watched.

    Raises:
        OSError: ENODEV for a CPU that is not online; whatever else hinders.
    """

    def __init__(
        self,
        array_fd: int,
        cpu: int,
        pages: int,
        wakeups: PerfWakeups,
        *,
        quiet: bool,
        poll: EventPoll,
    ) -> None:
        self.cpu = cpu
        self.received = 0
        self.retired = False
        self._entry = ArrayEntry(array_fd, cpu)
        self._quiet_fd = -1
        self._hushed = False
        with ExitStack() as memory, ExitStack() as presence:
            self._fd = perf.open_bpf_output(
                cpu,
                wakeup_events=0 if wakeups.watermark else wakeups.events or 1,
                wakeup_watermark=wakeups.watermark or 0,
            )
            presence.callback(os.close, self._fd)
            mapping = PerfBufferMapping(self._fd, pages)
            memory.callback(mapping.close)
            self.reader = PerfBufferReader(mapping.header, mapping.data)
            memory.callback(self.reader.close)
            if quiet:
                half = pages * PAGE_SIZE // 2
                self._quiet_fd = perf.open_bpf_output(cpu, wakeup_watermark=half)
                presence.callback(os.close, self._quiet_fd)
                perf.set_output(self._quiet_fd, self._fd)
            poll.register(self._fd)
            presence.callback(poll.unregister, self._fd)
            self._entry.put(self._fd)
            presence.callback(self._entry.delete)
            self._presence, self._memory = presence.pop_all(), memory.pop_all()

    @property
    def is_running(self) -> bool:
        """Whether programs on its CPU can still write to it."""
        return not self.retired and perf.is_running(self._fd)

    @property
    def can_hush(self) -> bool:
        """Whether `hush` would change something."""
        return self._quiet_fd >= 0 and not self._hushed and not self.retired

    def hush(self) -> None:
        """Let programs send without waking the reader."""
        self._entry.put(self._quiet_fd)
        self._hushed = True

    def rouse(self) -> bool:
        """Let programs wake the reader again; whether they did not before.

        A program that is just sending may have seen the quiet event still: who is about to sleep
        has to look at the ring after a moment.
        """
        hushed, self._hushed = self._hushed, False
        if hushed and not self.retired:
            self._entry.put(self._fd)
        return hushed

    def pause(self) -> None:
        """Refuse what programs send (they get ENOENT); what is in the ring stays."""
        if not self.retired:
            self._entry.delete()
            self._hushed = False

    def resume(self) -> None:
        """Take what programs send."""
        if not self.retired:
            self._entry.put(self._fd)

    def retire(self) -> None:
        """Give up all but the memory; idempotent."""
        self.retired = True
        self._presence.close()

    def close(self) -> None:
        """Give up everything; idempotent."""
        with self._memory:
            self.retire()
