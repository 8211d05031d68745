"""What one record of a perf buffer says, wherever its bytes lie.

A record is a header of 8 bytes (u32 type, u16 misc, u16 size of the whole) and its body. A sample's
body, with ``PERF_SAMPLE_RAW`` alone, is a u32 size and as many bytes (include/uapi/linux/
perf_event.h, ``enum perf_event_type``).
"""

from __future__ import annotations

import struct

from bpfstream.abi.ringbuf import PERF_HEADER_SIZE, RECORD_ALIGNMENT, PerfRecordType
from bpfstream.errors import RingCorruptedError

SAMPLE = int(PerfRecordType.SAMPLE)
LOST = int(PerfRecordType.LOST)

RAW_SIZE = 4
"""Bytes of a sample's u32 size, ahead of its payload."""

SAMPLE_OVERHEAD = PERF_HEADER_SIZE + RAW_SIZE
"""Bytes of a sample ahead of its payload."""

_SIZE_MASK = 0xFFFF
"""The record's size is a u16: of a larger record the kernel keeps, and reserves, the low bits."""

_LOST_SIZE = PERF_HEADER_SIZE + 16
"""A ``PERF_RECORD_LOST`` is at least the header, u64 id, u64 lost."""

_HEADER = struct.Struct("=IHH")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")


def record_header(
    buffer: memoryview, offset: int, available: int, position: int
) -> tuple[int, int]:
    """The type and the size of the record at `offset`.

    Args:
        buffer: What the header lies in; it never runs over the end.
        offset: Where.
        available: How large the record can be.
        position: Its ring position, for errors.

    Raises:
        RingCorruptedError: No kernel writes such a header.
    """
    kind, _, size = _HEADER.unpack_from(buffer, offset)
    if not PERF_HEADER_SIZE <= size <= available or size % RECORD_ALIGNMENT:
        raise RingCorruptedError(
            f"a record of type {kind} and {size} bytes where {available} are available",
            position=position,
        )
    return kind, size


def sample_length(size: int, body: memoryview, begin: int, position: int) -> int | None:
    """The bytes of a sample's payload; None when the record was too large for the kernel.

    A sample of 64 KiB or more is: the kernel reserves its size modulo 64 KiB
    (``perf_prepare_header`` and ``__perf_event_output`` in kernel/events/core.c), so other records
    overwrite it, or it overwrites them. If that leaves the header alone, nothing of it is left.

    Raises:
        RingCorruptedError: The payload does not fit into the record.
    """
    if size >= SAMPLE_OVERHEAD:
        length: int = _U32.unpack_from(body, begin)[0]
        whole = length + SAMPLE_OVERHEAD
        if whole <= size:
            return length
        if whole & _SIZE_MASK == size:
            return None
    elif size == PERF_HEADER_SIZE:
        return None
    raise RingCorruptedError(
        f"a sample that does not fit its record of {size} bytes", position=position
    )


def lost_count(size: int, body: memoryview, begin: int, position: int) -> int:
    """What a LOST record says: how many samples found no room.

    Raises:
        RingCorruptedError: The record is too short.
    """
    if size < _LOST_SIZE:
        raise RingCorruptedError(f"a LOST record of {size} bytes", position=position)
    count: int = _U64.unpack_from(body, begin + 8)[0]
    return count
