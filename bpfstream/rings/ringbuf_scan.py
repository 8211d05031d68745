"""The look at the headers of a BPF ring buffer: which records are there. In Python and compiled.

In Python, after a few records of one size many headers are compared at once.
"""

from __future__ import annotations

from typing import TypeAlias

from bpfstream._native import hot
from bpfstream.abi.ringbuf import (
    POSITION_MASK,
    RECORD_ALIGNMENT,
    RECORD_HEADER_SIZE,
    RECORD_LENGTH_MASK,
    RecordFlags,
)
from bpfstream.errors import RingCorruptedError
from bpfstream.rings.equal_words import count_equal
from bpfstream.rings.runs import Run

Found: TypeAlias = tuple[list[Run], int, int, int, int, bool]
"""What a scan found: the runs of records that were committed, how many records those are; the ring
position behind the last record, that of the last record, discarded or not (where the scan began if
there is none); how many were discarded; whether another scan from there finds something at once."""

BUSY = int(RecordFlags.BUSY)

_WORTH_IT = 8
"""Equal records in a row after which a scan compares many at once."""


def scan_compiled(data: memoryview, start: int, producer: int, limit: int) -> Found:
    """As `scan`, in C. Only errors are found in Python.

    Args:
        data: The data area.
        start: As for `scan`; so are `producer` and `limit`.
        producer: The producer position.
        limit: How many.
    """
    found = hot.scan_ring_buffer(data, start, producer, limit)
    return found if found is not None else scan(data.cast("I"), start, producer, limit)


def scan(headers: memoryview, start: int, producer: int, limit: int) -> Found:
    """Look at the headers of a ring, up to `limit` or to one that is busy.

    Args:
        headers: The data area, mapped twice, as words of 32 bits.
        start: The position of the first header.
        producer: The producer position; it was loaded before the headers are looked at.
        limit: How many records to find at most, discarded ones included.

    Raises:
        RingCorruptedError: The positions, or the *first* header, are none that a kernel writes.
    """
    capacity = headers.nbytes // 2
    available = (producer - start) & POSITION_MASK
    if available > capacity or (start | available) % RECORD_ALIGNMENT:
        raise RingCorruptedError(
            f"the producer is {available} bytes ahead in a ring of {capacity}", position=start
        )
    found = scan_records(headers, start, start + available, limit, capacity)
    if found is None:
        length = headers[(start & (capacity - 1)) >> 2] & RECORD_LENGTH_MASK
        raise RingCorruptedError(
            f"a record of {length} bytes where {available} are available", position=start
        )
    return found


def scan_records(
    headers: memoryview, start: int, end: int, limit: int, capacity: int
) -> Found | None:
    """As `scan`, between positions that make sense; None when the first header does not.

    Args:
        headers: The words of 32 bits, of which ``headers[(position & (capacity - 1)) // 4]`` is the
            header at a position.
        start: Where to begin.
        end: Where the records end; may be beyond 64 bits.
        limit: How many.
        capacity: A power of two.
    """
    mask = capacity - 1
    runs: list[Run] = []
    run_offset = run_length = run_stride = run_count = 0
    run_next = -1  # where the payload of the next record would be if it belonged to the run
    count = discarded = 0
    more = False
    position = last = start
    left = limit
    while position != end:
        if not left:
            more = True
            break
        offset = position & mask
        header = headers[offset >> 2]
        if header & BUSY:
            break
        length = header & RECORD_LENGTH_MASK
        stride = (length + RECORD_HEADER_SIZE + RECORD_ALIGNMENT - 1) & -RECORD_ALIGNMENT
        if position + stride > end:
            if position == start:
                return None
            more = True
            break
        last = position
        position += stride
        left -= 1
        if header != length:
            discarded += 1
            continue
        offset += RECORD_HEADER_SIZE
        if length != run_length or offset != run_next:
            if run_count:
                runs.append((run_offset, run_length, run_stride, run_count))
            run_offset, run_length, run_stride, run_count = offset, length, stride, 0
        run_count += 1
        run_next = offset + stride
        count += 1
        if run_count == _WORTH_IT:
            # Up to the end of the data, where another run begins
            at = run_next - RECORD_HEADER_SIZE
            ahead = min(left, (end - position) // stride, -((at - capacity) // stride))
            equal = count_equal(headers[at >> 2 :: stride >> 2], "I", header, ahead)
            last += equal * stride
            position += equal * stride
            left -= equal
            run_count += equal
            run_next += equal * stride
            count += equal
    if run_count:
        runs.append((run_offset, run_length, run_stride, run_count))
    return runs, count, position & POSITION_MASK, last & POSITION_MASK, discarded, more
