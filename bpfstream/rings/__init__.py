"""Readers of event rings in memory: records are found, decoded, and handed over in batches.

Nothing in this room maps memory, waits or makes a system call.
"""

from bpfstream.rings.decoding import BatchDecoder, Decode, EachRecord, copy_record
from bpfstream.rings.drain import Drained, drain
from bpfstream.rings.perf import PerfBufferReader
from bpfstream.rings.perf_backward import BackwardPerfReader
from bpfstream.rings.ringbuf import RingBufferReader
from bpfstream.rings.ringbuf_overwrite import OverwriteRingBufferReader
from bpfstream.rings.runs import Part, Ring, Run, Taken
from bpfstream.rings.user_ringbuf import Reservation, UserRingBufferWriter

__all__ = [
    "BackwardPerfReader",
    "BatchDecoder",
    "Decode",
    "Drained",
    "EachRecord",
    "OverwriteRingBufferReader",
    "Part",
    "PerfBufferReader",
    "Reservation",
    "Ring",
    "RingBufferReader",
    "Run",
    "Taken",
    "UserRingBufferWriter",
    "copy_record",
    "drain",
]
