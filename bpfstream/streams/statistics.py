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


class StreamStatistics(msgspec.Struct, frozen=True):
    """A snapshot of an event stream's counters.

    Where losses are counted, the events received, those lost and those still in the ring are all
    that were ever sent.

    Attributes:
        received: Events handed to the consumer.
        lost: Events that the kernel dropped because there was no room.
        discarded: Records that the program reserved and then gave up.
        backlog: Bytes in the ring that are not free yet.
        capacity: Bytes that the ring can hold; for a perf buffer, those of all CPUs together.
        wakeups: How often the stream slept and was woken, or looked by itself.
    """

    received: int
    lost: Losses
    discarded: int
    backlog: int
    capacity: int
    wakeups: int
