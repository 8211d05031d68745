"""What a stream has counted."""

from __future__ import annotations

import msgspec


class StreamStatistics(msgspec.Struct, frozen=True):
    """A snapshot of an event stream's counters.

    Where losses are counted, the events received, those lost and those still in the ring are all
    that were ever sent.

    Attributes:
        received: Events handed to the consumer.
        lost: Events that the kernel dropped because the ring was full. For a ring buffer, since
            the object was loaded, and None when the program does not count them (`BPFSTREAM_RING`
            of ``bpfstream.h`` does). For a perf buffer, since the stream was opened.
        discarded: Records that the program reserved and then gave up.
        backlog: Bytes in the ring that are not free yet.
        capacity: Bytes that the ring can hold; for a perf buffer, those of all CPUs together.
        wakeups: How often the stream slept and was woken, or looked by itself.
    """

    received: int
    lost: int | None
    discarded: int
    backlog: int
    capacity: int
    wakeups: int
