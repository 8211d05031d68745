"""Readers of event rings in memory: records are taken off, decoded, and handed over in batches.

Nothing in this room maps memory, waits or makes a system call.
"""

from bpfstream.rings.drained import Decode, Drained, copy_record
from bpfstream.rings.perf import PerfBufferReader
from bpfstream.rings.ringbuf import RingBufferReader

__all__ = ["Decode", "Drained", "PerfBufferReader", "RingBufferReader", "copy_record"]
