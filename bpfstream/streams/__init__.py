"""The async core: event streams over ring buffers and perf buffers.

What is trio's is imported when it is first used: programs that run on asyncio do not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bpfstream.streams.lost import Lost
from bpfstream.streams.perf_buffer import PerfBufferSource
from bpfstream.streams.ring_buffer import RingBufferSource
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import Losses, StreamStatistics

if TYPE_CHECKING:
    from bpfstream.streams.merging import Merge, merge
    from bpfstream.streams.stream import EventStream
    from bpfstream.streams.subscription import Subscription

_HOME_OF = {
    "EventStream": "bpfstream.streams.stream",
    "Merge": "bpfstream.streams.merging",
    "Subscription": "bpfstream.streams.subscription",
    "merge": "bpfstream.streams.merging",
}

__all__ = [
    "EventSource",
    "EventStream",
    "Losses",
    "Lost",
    "Merge",
    "PerfBufferSource",
    "RingBufferSource",
    "StreamStatistics",
    "Subscription",
    "merge",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
