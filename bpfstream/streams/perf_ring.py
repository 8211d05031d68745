"""One CPU's part of a perf event array: its ring, and the events that programs write through."""

from __future__ import annotations

import os
from contextlib import ExitStack

from bpfstream.kernel import perf
from bpfstream.kernel.eventpoll import EventPoll
from bpfstream.kernel.memory import PerfBufferMapping
from bpfstream.rings import PerfBufferReader
from bpfstream.streams.cpu_rings import ArrayEntry, CpuRing
from bpfstream.streams.perf_options import PerfOptions


class PerfRing(CpuRing):
    """The ring of one CPU that is online, in the array from the start.

    A wakeup costs the program that sends an event twenty times what sending does (measured; it
    interrupts the CPU: kernel/events/ring_buffer.c, perf_output_wakeup). When an event is to wake
    its reader can't be changed once it is open. So there is a second, quiet event that writes into
    the same ring (``PERF_EVENT_IOC_SET_OUTPUT``) and wakes the reader only when that is half full:
    `hush` puts it in the array in place of the first, `rouse` puts that one back.

    Attributes:
        reader: Of the ring.
        received: Samples handed over.

    Args:
        array_fd: The array.
        cpu: The CPU.
        options: The size of the ring, and when to wake the reader.
        quiet: Whether to have the quiet event.
        poll: Where the ring is to be watched.

    Raises:
        OSError: ENODEV for a CPU that is not online; whatever else hinders.
    """

    def __init__(
        self,
        array_fd: int,
        cpu: int,
        options: PerfOptions,
        *,
        quiet: bool,
        poll: EventPoll,
    ) -> None:
        self.received = 0
        self._entry = ArrayEntry(array_fd, cpu)
        self._quiet_fd = -1
        self._hushed = False
        with ExitStack() as memory, ExitStack() as presence:
            event_fd = perf.open_bpf_output(
                cpu,
                wakeup_events=0 if options.watermark else options.wakeup_events or 1,
                wakeup_watermark=options.watermark or 0,
            )
            presence.callback(os.close, event_fd)
            mapping = PerfBufferMapping(event_fd, options.pages)
            memory.callback(mapping.close)
            self.reader = PerfBufferReader(mapping.header, mapping.data)
            memory.callback(self.reader.close)
            if quiet:
                self._quiet_fd = perf.open_bpf_output(cpu, wakeup_watermark=options.size // 2)
                presence.callback(os.close, self._quiet_fd)
                perf.set_output(self._quiet_fd, event_fd)
            poll.register(event_fd)
            presence.callback(poll.unregister, event_fd)
            self._entry.put(event_fd)
            presence.callback(self._entry.delete)
            super().__init__(cpu, event_fd, presence.pop_all(), memory.pop_all())

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
            self._entry.put(self._event_fd)
        return hushed

    def pause(self) -> None:
        """Refuse what programs send (they get ENOENT); what is in the ring stays."""
        if not self.retired:
            self._entry.delete()
            self._hushed = False

    def resume(self) -> None:
        """Take what programs send."""
        if not self.retired:
            self._entry.put(self._event_fd)
