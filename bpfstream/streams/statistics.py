"""What a stream has counted."""

from __future__ import annotations

import msgspec


class Losses(msgspec.Struct, frozen=True):
    """Events that were sent and not received, by the stage at which they were lost.

    Attributes:
        kernel: Those that found no room in a ring buffer, since the object was loaded; None when
            the program does not count them (`BPFSTREAM_RING` of ``bpfstream.h`` does).
        perf: Those that found no room in a perf buffer, by the LOST records of the kernel, since
            the stream was opened.
        subscriber: Those that a slow subscriber of the stream did not take in time.
    """

    kernel: int | None = 0
    perf: int = 0
    subscriber: int = 0

    @property
    def total(self) -> int | None:
        """All of them; None when those of the kernel are not known."""
        return None if self.kernel is None else self.kernel + self.perf + self.subscriber


class CpuStatistics(msgspec.Struct, frozen=True):
    """What one CPU sent through a perf buffer, since the stream was opened.

    Attributes:
        cpu: Its number.
        received: Events handed to the consumer.
        lost: Events that found no room in the CPU's ring.
        backlog: Bytes in its ring that are not free yet.
        capacity: Bytes that its ring can hold; 0 when the CPU is gone and its ring was read.
    """

    cpu: int
    received: int
    lost: int
    backlog: int
    capacity: int


class StreamStatistics(msgspec.Struct, frozen=True):
    """A snapshot of an event stream's counters.

    Where losses are counted, the events received, those lost and those still in the ring are all
    that were ever sent.

    Attributes:
        received: Events handed to the consumer.
        decoded: Events made of records: those received, and those at hand that nobody took yet.
        discarded: Records that the program reserved and then gave up.
        lost: Events that were dropped because there was no room, by stage.
        backlog: Bytes in the ring that are not free yet; for a perf buffer, of all CPUs together.
        capacity: Bytes that the ring can hold; likewise.
        wakeups: How often the stream slept and was woken, or looked by itself.
        drains: How often it looked at the ring for events.
        longest_gap: The longest time, in seconds, that events may have waited because the stream
            did not look: from one look to the next that found something, less the time it slept
            until the kernel woke it. Long gaps are those of a consumer that takes its time.
    """

    received: int = 0
    decoded: int = 0
    discarded: int = 0
    lost: Losses = Losses()
    backlog: int = 0
    capacity: int = 0
    wakeups: int = 0
    drains: int = 0
    longest_gap: float = 0.0
