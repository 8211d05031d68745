"""Readers of event rings in memory: records are found, decoded, and handed over in batches.

Nothing in this room maps memory, waits or makes a system call.
"""

from bpfstream.rings.decoding import BatchDecoder, Decode, EachRecord, copy_record
from bpfstream.rings.drain import Drained, drain
from bpfstream.rings.perf import PerfBufferReader
from bpfstream.rings.ringbuf import RingBufferReader
from bpfstream.rings.runs import Part, Ring, Run, Taken

__all__ = [
    "BatchDecoder",
    "Decode",
    "Drained",
    "EachRecord",
    "Part",
    "PerfBufferReader",
    "Ring",
    "RingBufferReader",
    "Run",
    "Taken",
    "copy_record",
    "drain",
]
