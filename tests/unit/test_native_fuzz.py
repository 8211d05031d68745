"""The compiled module gives a value or an error for any arguments, and does no harm.

Nothing here says which value: that the twins agree is shown beside what they are twins of. This is
what `make test-sanitized` runs with checks in every access of memory.
"""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream._native import COMPILED, hot
from tests.support.native_calls import (
    EVENT,
    FIELDS,
    POSITIVE,
    RECORD,
    number,
)

pytestmark = pytest.mark.skipif(not COMPILED, reason="needs the compiled module")

ERRORS = (TypeError, ValueError, IndexError, OverflowError, BufferError, MemoryError)

small = st.integers(-2, 80)
"""Numbers about as large as the buffers below."""
limits = st.sampled_from(
    [-1, 0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64]
)
numbers = small | limits
positions = st.integers(0, 4200) | limits | st.integers(0, 1 << 64)
buffers = st.sampled_from([0, 1, 3, 4, 7, 8, 48, 64, 65]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
words = st.lists(small | st.integers(0, 2**32 - 1), max_size=20).map(
    lambda values: array("I", [value & 0xFFFFFFFF for value in values])
)
runs = st.lists(
    st.tuples(small, small, small, small) | st.tuples(numbers, numbers, numbers, numbers),
    max_size=4,
)
strange = st.sampled_from([None, 0, "number", b"", (), (1,), [], object(), 1.5])


def changed(draw: Any, value: Any) -> Any:
    """A nest of tuples, or of what is in it one thing changed."""
    if isinstance(value, tuple) and value and draw(st.integers(0, 7)):
        place = draw(st.integers(0, len(value) - 1))
        return (*value[:place], changed(draw, value[place]), *value[place + 1 :])
    match draw(st.integers(0, 5)):
        case 0:
            return draw(strange)
        case 1 if isinstance(value, tuple):
            return value[:-1]
        case 2 if isinstance(value, tuple):
            return (*value, *value[:1])
        case _ if isinstance(value, int):
            return draw(numbers)
    return value


@st.composite
def layouts(draw):
    """Descriptions of a record's type, most of them wrong."""
    layout = draw(st.sampled_from([EVENT, POSITIVE, *((field, 48, ()) for field in FIELDS)]))
    for _ in range(draw(st.integers(0, 3))):
        layout = changed(draw, layout)
    return layout


def call(function: Any, *arguments: Any) -> None:
    """Calls a function; every error that a wrong argument can have is right."""
    try:
        function(*arguments)
    except ERRORS:
        return


@given(buffers | st.binary(min_size=4096, max_size=4096), positions, positions, numbers)
def test_contents_and_positions_of_rings(data, start, end, limit):
    call(hot.scan_ring_buffer, data, start, end, limit)
    call(hot.scan_perf_buffer, data, start, end, limit)


@given(words, words, buffers)
def test_words_of_types(data, table, raw):
    trailers = array("I", (list(table) * 256 or [0] * 256)[:256])
    for buffer in (data, raw):
        call(hot.locate_types, buffer, trailers)
        call(hot.locate_types, buffer, table)
        call(hot.pick_words, buffer, table)
        call(hot.find_words, buffer, array("I", sorted(table)))
        call(hot.find_words, buffer, table)


@given(st.lists(st.sampled_from(list(b"_a\0")), max_size=24), numbers, numbers, numbers, words)
def test_tables_of_strings(parts, start, end, first, offsets):
    text = bytes(parts)
    call(hot.any_inside, text, start, end, first, offsets)
    call(hot.any_inside, text, start, len(text), first, offsets)
    call(hot.find_flavours, text, start, end)


@given(st.lists(layouts(), min_size=1, max_size=3), st.booleans(), st.booleans(), st.data())
def test_plans_and_the_records_that_they_decode(chosen, tagged, big, data):
    tag = changed(data.draw, number(4, 4)) if tagged else None
    tags = tuple(data.draw(st.lists(small, max_size=3))) if tagged else ()
    try:
        plan = hot.Plan(tuple(chosen[: None if tagged else 1]), big, tag, tags[: len(chosen)])
    except ERRORS:
        return
    buffer = data.draw(buffers) + RECORD
    # a run that stands still would be decoded as often as it says
    bounded = [run for run in data.draw(runs) if run[2] != 0 or run[3] < 100]
    call(plan.decode, buffer, bounded, [], data.draw(small), data.draw(small))
    call(plan.decode, buffer, [(0, 48, 48, len(buffer) // 48)], [], 0, 0)


@given(buffers, runs, numbers, numbers, numbers, st.integers(0, 400), numbers)
def test_rows_of_columns(data, chosen, start, size, least, room, pitch):
    bounded = [run for run in chosen if run[2] != 0 or run[3] < 100]
    call(hot.gather, [(data, bounded)], start, size, least, bytearray(room), pitch)


@given(buffers, numbers, numbers, numbers, st.booleans())
def test_runs_of_elements(data, size, stride, count, signed):
    if size == 0 or stride == 0:
        count = min(count, 100)
    call(hot.split_integers, data, size, stride, count, signed)
    call(hot.split_bytes, data, size, stride, count)


@given(
    st.lists(limits | st.binary(max_size=9) | strange, max_size=9).map(tuple),
    small,
    small,
    st.booleans(),
)
def test_values_of_elements(values, size, stride, signed):
    call(hot.join_integers, values, size, stride, signed)
    call(hot.join_bytes, values, size, stride)


@given(st.lists(st.sampled_from(["fill", "clear", "append", "take", "rest", "next"]), max_size=20))
def test_events_whose_list_is_not_left_alone(steps):
    async def refill():
        return None

    delivery = hot.Delivery(refill, 2, 0.0)
    events: list[Any] = []
    for step in steps:
        match step:
            case "fill":
                events = [object() for _ in range(5)]
                call(delivery.fill, events)
            case "clear":
                events.clear()
            case "append":
                events.append(object())
            case "next":
                awaited = delivery.__anext__().__await__()
                # RuntimeError where the list has lost the event that was to come
                with pytest.raises((StopIteration, RuntimeError)):
                    next(awaited)
            case _:
                call(getattr(delivery, step))
        assert delivery.left + delivery.handed_over <= 25  # and no crash


def test_buffers_are_held_no_longer_than_the_call():
    data = bytearray(RECORD * 2)
    call(hot.gather, [(data, [(0, 48, 48, 3)])], 0, 48, 48, bytearray(96), 48)
    call(hot.Plan((EVENT,), False, None, ()).decode, data, [(0, 48, 48, 3)], [], 0, 0)
    data.append(0)  # BufferError while somebody holds the buffer
