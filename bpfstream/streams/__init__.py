"""The async core: event streams over ring buffers and perf buffers."""

from bpfstream.streams.perf_buffer import PerfBufferSource
from bpfstream.streams.ring_buffer import RingBufferSource
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import Losses, StreamStatistics
from bpfstream.streams.stream import EventStream

__all__ = [
    "EventSource",
    "EventStream",
    "Losses",
    "PerfBufferSource",
    "RingBufferSource",
    "StreamStatistics",
]
