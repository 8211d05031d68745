"""The async core: event streams over ring buffers and perf buffers.

What is trio's, and what not every program needs, is imported when it is first used: nobody else
pays for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bpfstream.streams.lost import Lost
from bpfstream.streams.ring_buffer import RingBufferSource
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import CpuStatistics, Losses, StreamStatistics

if TYPE_CHECKING:
    from bpfstream.streams.merging import Merge, merge
    from bpfstream.streams.perf_buffer import PerfBufferSource
    from bpfstream.streams.recorder import FlightRecorder
    from bpfstream.streams.stream import EventStream
    from bpfstream.streams.subscription import Subscription
    from bpfstream.streams.user_ring import UserRing

_HOME_OF = {
    "EventStream": "bpfstream.streams.stream",
    "FlightRecorder": "bpfstream.streams.recorder",
    "Merge": "bpfstream.streams.merging",
    "PerfBufferSource": "bpfstream.streams.perf_buffer",
    "Subscription": "bpfstream.streams.subscription",
    "UserRing": "bpfstream.streams.user_ring",
    "merge": "bpfstream.streams.merging",
}

__all__ = [
    "CpuStatistics",
    "EventSource",
    "EventStream",
    "FlightRecorder",
    "Losses",
    "Lost",
    "Merge",
    "PerfBufferSource",
    "RingBufferSource",
    "StreamStatistics",
    "Subscription",
    "UserRing",
    "merge",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
