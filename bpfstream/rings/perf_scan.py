"""The look at the records of a perf buffer: which samples are there. In Python and compiled.

The data is mapped once, so a record may run over its end. Between such records lie stretches of
whole ones, which are looked at quickly; what a stretch can't tell is looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from bpfstream.abi.ringbuf import PERF_HEADER_SIZE, POSITION_MASK, RECORD_ALIGNMENT
from bpfstream.errors import RingCorruptedError
from bpfstream.rings.equal_words import count_equal
from bpfstream.rings.perf_records import (
    LOST,
    RAW_SIZE,
    SAMPLE,
    SAMPLE_OVERHEAD,
    lost_count,
    record_header,
    sample_length,
)
from bpfstream.rings.runs import Part, Run

Stretch: TypeAlias = tuple[list[Run], int, int, int, int]
"""The runs of samples in a stretch, how many those are; the ring position behind the last record;
how many records there were, of whatever type; how many samples those say were lost."""

ScanStretch: TypeAlias = Callable[[memoryview, int, int, int], Stretch]
"""Looks at whole records: ``(data, tail, head, limit)``. Stops before the first that runs over the
end of the data or is none that a kernel writes."""

_WORTH_IT = 8
_AGAIN = 32
"""After so many equal samples in a row many are compared at once, and once in so many later on: the
``misc`` of their headers may change without an end to the run."""


class Scanned(msgspec.Struct, gc=False):
    """What a look at the records found.

    Attributes:
        start: The ring position of the first record.
        end: Behind the last.
        wrapped: Of the sample that runs over the end of the data, if there is one.
        parts: Where the samples are; the one that wraps is joined in a buffer of its own.
        count: How many samples.
        lost: How many samples the records say were lost.
        more: Looking again from `end` finds something at once.
    """

    start: int
    end: int
    wrapped: int
    parts: list[Part]
    count: int
    lost: int
    more: bool


def scan(data: memoryview, tail: int, head: int, limit: int, scan_stretch: ScanStretch) -> Scanned:
    """Look at the records from `tail` to `head`, up to `limit`.

    Args:
        data: The data area, as bytes.
        tail: The position of the first record.
        head: ``data_head``, loaded before the records are looked at.
        limit: How many records to look at, of whatever type.
        scan_stretch: Which twin looks at whole records.

    Raises:
        RingCorruptedError: The positions, or the *first* record, are none that a kernel writes.
    """
    available = (head - tail) & POSITION_MASK
    if available > data.nbytes or (tail | available) % RECORD_ALIGNMENT:
        raise RingCorruptedError(
            f"the head is {available} bytes ahead in a buffer of {data.nbytes}", position=tail
        )
    scanned = Scanned(tail, tail, 0, [], 0, 0, False)
    left = limit
    while scanned.end != head:
        if not left:
            scanned.more = True
            break
        runs, count, scanned.end, seen, lost = scan_stretch(data, scanned.end, head, left)
        if runs:
            scanned.parts.append((data, runs))
        scanned.count += count
        scanned.lost += lost
        left -= seen
        if not seen:
            try:
                _add_one(data, head, scanned)
            except RingCorruptedError:
                if scanned.end == tail:
                    raise
                scanned.more = True
                break
            left -= 1
    return scanned


def scan_stretch(data: memoryview, tail: int, head: int, limit: int) -> Stretch:
    """The `ScanStretch` in Python."""
    words, quads, halves = data.cast("I"), data.cast("Q"), data.cast("H")
    capacity = data.nbytes
    runs: list[Run] = []
    run_offset = run_length = run_stride = run_count = 0
    run_next = -1  # where the payload of the next sample would be if it belonged to the run
    count = lost = 0
    available = (head - tail) & POSITION_MASK
    position, end, left = tail, tail + available, limit
    while position != end and left:
        offset = position & (capacity - 1)
        size = halves[(offset >> 1) + 3]
        room = min(end - position, capacity - offset)
        if not PERF_HEADER_SIZE <= size <= room or size % RECORD_ALIGNMENT:
            break
        position += size
        left -= 1
        kind = words[offset >> 2]
        if kind == SAMPLE and size >= SAMPLE_OVERHEAD:
            length = words[(offset >> 2) + 2]
            if length + SAMPLE_OVERHEAD <= size:
                offset += SAMPLE_OVERHEAD
                if length != run_length or size != run_stride or offset != run_next:
                    if run_count:
                        runs.append((run_offset, run_length, run_stride, run_count))
                    run_offset, run_length, run_stride, run_count = offset, length, size, 0
                run_count += 1
                run_next = offset + size
                count += 1
                if run_count % _AGAIN == _WORTH_IT:
                    at = run_next - SAMPLE_OVERHEAD
                    ahead = min(left, (room - size) // size)
                    header = quads[(at - size) >> 3]
                    ahead = count_equal(quads[at >> 3 :: size >> 3], "Q", header, ahead)
                    ahead = count_equal(words[(at >> 2) + 2 :: size >> 2], "I", length, ahead)
                    position += ahead * size
                    left -= ahead
                    run_count += ahead
                    run_next += ahead * size
                    count += ahead
                continue
        if kind in (SAMPLE, LOST):
            try:
                lost += _lost_by(data, offset, kind, size)
            except RingCorruptedError:
                position -= size
                left += 1
                break
    if run_count:
        runs.append((run_offset, run_length, run_stride, run_count))
    return runs, count, position & POSITION_MASK, limit - left, lost


def _lost_by(data: memoryview, offset: int, kind: int, size: int) -> int:
    """How many samples a record says were lost: one of type LOST, or a sample that is too large."""
    body = offset + PERF_HEADER_SIZE
    if kind == LOST:
        return lost_count(size, data, body, offset)
    return 1 if sample_length(size, data, body, offset) is None else 0


def _add_one(data: memoryview, head: int, scanned: Scanned) -> None:
    """Look at the record at ``scanned.end``, wherever it lies and whatever it is."""
    position = scanned.end
    capacity = data.nbytes
    offset = position & (capacity - 1)
    kind, size = record_header(data, offset, (head - position) & POSITION_MASK, position)
    rest = capacity - offset
    body, begin = data, offset + PERF_HEADER_SIZE
    if size > rest:
        body = memoryview(bytes(data[begin:]) + bytes(data[: size - rest]))
        begin = 0
    if kind == SAMPLE:
        length = sample_length(size, body, begin, position)
        if length is None:
            scanned.lost += 1
        else:
            scanned.parts.append((body, [(begin + RAW_SIZE, length, size, 1)]))
            scanned.count += 1
            scanned.wrapped = position
    elif kind == LOST:
        scanned.lost += lost_count(size, body, begin, position)
    scanned.end = (position + size) & POSITION_MASK
