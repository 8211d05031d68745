"""What the two kinds of event rings look like in memory.

The BPF ring buffer: kernel/bpf/ringbuf.c and ``BPF_RINGBUF_*`` of include/uapi/linux/bpf.h.
The perf buffer: ``struct perf_event_mmap_page``, ``struct perf_event_header`` and
``enum perf_event_type`` of include/uapi/linux/perf_event.h.
"""

from enum import IntEnum, IntFlag

POSITION_MASK = (1 << 64) - 1
"""Positions of both rings are running byte counts in 64 bits, which wrap."""

RECORD_ALIGNMENT = 8
"""Records of both rings begin at multiples of this many bytes."""


class RecordFlags(IntFlag):
    """Bits of the ``len`` word of ``struct bpf_ringbuf_hdr`` that are not length."""

    BUSY = 1 << 31
    DISCARD = 1 << 30


RECORD_HEADER_SIZE = 8
"""``BPF_RINGBUF_HDR_SZ``: u32 length and flags, u32 page offset."""

RECORD_LENGTH_MASK = (1 << 30) - 1
"""The bits of the ``len`` word that are the payload's length in bytes."""

OVERWRITE_POSITION = 16
"""Offset of ``overwrite_pos`` in the producer page of a ring with ``BPF_F_RB_OVERWRITE`` (Linux
6.19): ``struct bpf_ringbuf`` has producer_pos, pending_pos, overwrite_pos."""

USER_RECORD_LARGEST = (1 << 24) - 1
"""``DYNPTR_MAX_SIZE`` of kernel/bpf/helpers.c: a larger record stops the readers of a user ring."""


class PerfRecordType(IntEnum):
    """``enum perf_event_type``: those that a BPF output event can meet."""

    LOST = 2
    THROTTLE = 5
    UNTHROTTLE = 6
    SAMPLE = 9
    LOST_SAMPLES = 13


PERF_HEADER_SIZE = 8
"""``struct perf_event_header``: u32 type, u16 misc, u16 size of the whole record."""

PERF_DATA_HEAD = 1024
"""Offset of ``data_head`` in ``struct perf_event_mmap_page``."""

PERF_DATA_TAIL = 1032
"""Offset of ``data_tail``."""
