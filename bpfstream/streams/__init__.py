"""The async core: event streams over ring buffers and perf buffers.

`EventStream` is trio's, and imported when it is first used: a program that runs on asyncio does not
pay for trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpfstream.streams.lost import Lost
from bpfstream.streams.perf_buffer import PerfBufferSource
from bpfstream.streams.ring_buffer import RingBufferSource
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import Losses, StreamStatistics

if TYPE_CHECKING:
    from bpfstream.streams.stream import EventStream

__all__ = [
    "EventSource",
    "EventStream",
    "Losses",
    "Lost",
    "PerfBufferSource",
    "RingBufferSource",
    "StreamStatistics",
]


def __getattr__(name: str) -> Any:
    if name != "EventStream":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bpfstream.streams.stream import EventStream

    globals()[name] = EventStream
    return EventStream
