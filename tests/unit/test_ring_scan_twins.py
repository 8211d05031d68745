"""The scans of rings in Python and in the compiled module find the same, whatever is there."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpfstream._native import COMPILED, hot
from bpfstream.errors import RingCorruptedError
from bpfstream.rings import perf_scan, ringbuf_scan
from bpfstream.rings.equal_words import count_equal
from tests.support.simulated_rings import (
    BUSY,
    DISCARD,
    LOST,
    SAMPLE,
    SimulatedPerfBuffer,
    SimulatedRingBuffer,
)

compiled = pytest.mark.skipif(not COMPILED, reason="needs the compiled module")

POSITIONS = st.sampled_from([0, 8, 4096 - 8, (1 << 64) - 64, (1 << 64) - 4096])


def scan_ring(ring, limit, *, start=None, native=False):
    """What a scan finds from the consumer position on; None when the ring is corrupted."""
    start = ring.consumer_position if start is None else start
    try:
        if native:
            return ringbuf_scan.scan_compiled(ring.data, start, ring.producer_position, limit)
        return ringbuf_scan.scan(ring.data.cast("I"), start, ring.producer_position, limit)
    except RingCorruptedError as error:
        return str(error)


def scan_perf(buffer, limit, scan_stretch):
    try:
        found = perf_scan.scan(buffer.data, buffer.tail, buffer.head, limit, scan_stretch)
    except RingCorruptedError as error:
        return str(error)
    parts = [(body is buffer.data or bytes(body), runs) for body, runs in found.parts]
    return parts, found.count, found.end, found.wrapped, found.lost, found.more


# Ring buffers ------------------------------------------------------------------------------------


def test_records_of_one_size_are_one_run_up_to_the_end_of_the_data(native):
    ring = SimulatedRingBuffer(4096, position=4096 - 64 * 16)
    for _ in range(100):
        ring.send(bytes(8))
    runs, count, end, last, discarded, more = scan_ring(ring, 1000, native=native)
    assert runs == [(3072 + 8, 8, 16, 64), (8, 8, 16, 36)]
    assert (count, discarded, more) == (100, 0, False)
    assert (end, last) == (ring.producer_position, ring.producer_position - 16)


@pytest.mark.parametrize("odd", range(0, 100, 7))
def test_a_run_ends_at_the_record_that_differs(native, odd):
    ring = SimulatedRingBuffer()
    for number in range(100):
        ring.send(bytes(16 if number == odd else 8))
    runs = scan_ring(ring, 1000, native=native)[0]
    before = [(8, 8, 16, odd)] if odd else []
    after = odd * 16 + 24
    assert runs == [*before, (odd * 16 + 8, 16, 24, 1), (after + 8, 8, 16, 99 - odd)]


@pytest.mark.parametrize("odd", range(0, 100, 7))
def test_a_run_ends_at_a_busy_record_and_is_cut_by_a_discarded_one(native, odd):
    for flag, rest in ((BUSY, 0), (DISCARD, 99 - odd)):
        ring = SimulatedRingBuffer()
        for _ in range(100):
            ring.send(bytes(8))
        ring.write(odd * 16, struct.pack("=I", 8 | flag))
        runs, count, _, _, discarded, _ = scan_ring(ring, 1000, native=native)
        assert [run[3] for run in runs] == [part for part in (odd, rest) if part]
        assert (count, discarded) == (odd + rest, flag == DISCARD)


@pytest.mark.parametrize("limit", [1, 7, 8, 9, 23, 24, 25, 99, 100, 101])
def test_no_scan_goes_beyond_its_limit(native, limit):
    ring = SimulatedRingBuffer()
    for _ in range(100):
        ring.send(bytes(8))
    _, count, end, _, _, more = scan_ring(ring, limit, native=native)
    assert (count, end, more) == (min(limit, 100), min(limit, 100) * 16, limit < 100)


@st.composite
def rings_with_a_history(draw):
    """A ring after reservations, commits in any order, discards and reads."""
    ring = SimulatedRingBuffer(draw(st.sampled_from([64, 512, 4096])), position=draw(POSITIONS))
    reader = ring.reader(native=False)
    busy = []
    for _ in range(draw(st.integers(1, 12))):
        step = draw(st.sampled_from(["burst", "reserve", "commit", "read"]))
        if step == "burst":
            size = draw(st.sampled_from([0, 4, 8, 16, 40]))
            discard = draw(st.sampled_from([0, 0, 0, 3]))
            for number in range(draw(st.integers(1, 80))):
                ring.send(bytes(size), discard=bool(discard and number % discard == 0))
        elif step == "reserve":
            place = ring.reserve(draw(st.integers(0, 70)))
            busy += [] if place is None else [place]
        elif step == "commit" and busy:
            place = busy.pop(draw(st.integers(0, len(busy) - 1)))
            ring.commit(place, discard=draw(st.booleans()))
        elif step == "read":
            reader.take(draw(st.integers(1, 40)))
            reader.release()
    return ring


@compiled
@given(rings_with_a_history(), st.integers(1, 300))
def test_both_find_the_same_after_any_history(ring, limit):
    assert scan_ring(ring, limit) == scan_ring(ring, limit, native=True)


@compiled
@given(
    st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 64), min_size=16, max_size=16),
    st.integers(0, 1 << 64),
    st.integers(0, 96) | st.integers(0, 1 << 64),
    st.integers(0, 10),
)
@example([0] * 16, (1 << 64) - 8, 16, 3)
def test_both_find_the_same_in_any_contents(words, start, ahead, limit):
    ring = SimulatedRingBuffer(64, position=start)
    ring.write(0, struct.pack("=16I", *words))
    ring.producer_position = start + ahead
    assert scan_ring(ring, limit) == scan_ring(ring, limit, native=True)


@compiled
@pytest.mark.parametrize("size", [0, 8, 15, 24, 100, 4095, 3 * 4096])
def test_data_that_is_none_of_a_ring_is_not_looked_at(size):
    assert hot.scan_ring_buffer(bytes(size), 0, 8, 1) is None
    assert hot.scan_perf_buffer(bytes(size - size // 8 % 2), 4, 8, 1) == ([], 0, 4, 0, 0)


@compiled
def test_data_at_an_odd_address_is_left_to_python():
    ring = SimulatedRingBuffer(64)
    ring.send(b"12345678")
    memory = memoryview(bytearray(1) + bytearray(ring.data))[1:]
    assert hot.scan_ring_buffer(memory, 0, 16, 1) is None
    with pytest.raises(ValueError, match="aligned"):
        hot.load_position(memory)


@compiled
@pytest.mark.parametrize("name", ["scan_ring_buffer", "scan_perf_buffer"])
def test_wrong_arguments_are_errors_and_hold_no_buffer(name):
    function = getattr(hot, name)
    data = bytearray(64)
    for arguments, error in [
        ((data,), TypeError),
        ((data, 0, 0, -1), OverflowError),
        ((data, 0, 1 << 64, 1), OverflowError),
        ((data, 0, "8", 1), TypeError),
        ((8, 0, 0, 1), TypeError),
    ]:
        with pytest.raises(error):
            function(*arguments)
    function(data, 0, 64, 1)
    data.append(0)  # BufferError while a buffer is held


@compiled
def test_positions_are_loaded_and_stored_whole():
    page = bytearray(16)
    hot.store_position(page, (1 << 64) - 2)
    assert hot.load_position(page) == (1 << 64) - 2
    assert page == struct.pack("=QQ", (1 << 64) - 2, 0)
    for wrong in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            hot.store_position(page, wrong)
    with pytest.raises(BufferError):
        hot.store_position(bytes(8), 0)
    with pytest.raises(ValueError, match="8 bytes"):
        hot.load_position(bytes(7))
    hot.fence()
    page.append(0)


# Perf buffers ------------------------------------------------------------------------------------


def stretches():
    return [perf_scan.scan_stretch, *([hot.scan_perf_buffer] if COMPILED else [])]


def test_samples_of_one_size_are_one_run_on_each_side_of_the_one_that_wraps(native):
    buffer = SimulatedPerfBuffer(1024, position=1024 - 24 * 20 - 8)
    for _ in range(41):
        buffer.send(bytes(12))
    found = scan_perf(buffer, 1000, stretches()[native])
    parts, count, _, wrapped, _, _ = found
    assert parts == [
        (True, [(536 + 12, 12, 24, 20)]),
        (struct.pack("=I", 12) + bytes(12), [(4, 12, 24, 1)]),
        (True, [(16 + 12, 12, 24, 20)]),
    ]
    assert (count, wrapped) == (41, 1024 - 8)


def test_samples_from_kernel_and_user_mode_are_one_run(native):
    """The ``misc`` of a header says which it was, and is nothing that a run is about."""
    buffer = SimulatedPerfBuffer()
    for _ in range(150):
        buffer.send(bytes(12))
    for number in range(60, 90):
        buffer.data[number * 24 + 4] = 2
    assert scan_perf(buffer, 1000, stretches()[native])[0] == [(True, [(12, 12, 24, 150)])]


@st.composite
def perf_buffers_with_a_history(draw):
    size = draw(st.sampled_from([64, 512, 4096, 1 << 18]))
    buffer = SimulatedPerfBuffer(size, position=draw(POSITIONS))
    reader = buffer.reader(native=False)
    for _ in range(draw(st.integers(1, 8))):
        step = draw(st.sampled_from(["burst", "other", "read", "huge"]))
        if step == "burst":
            payload = bytes(draw(st.sampled_from([4, 12, 44])))
            for _ in range(draw(st.integers(1, 80))):
                buffer.send(payload)
        elif step == "other" and size - reader.backlog >= 24:
            buffer.write(draw(st.sampled_from([5, LOST])), bytes(16))
        elif step == "huge" and size == 1 << 18:
            buffer.send(bytes(65536 + draw(st.sampled_from([12, 60]))))
        elif step == "read":
            reader.take(draw(st.integers(1, 40)))
            reader.release()
    return buffer


@compiled
@given(perf_buffers_with_a_history(), st.integers(1, 300))
def test_both_find_the_same_samples_after_any_history(buffer, limit):
    pure, native = (scan_perf(buffer, limit, stretch) for stretch in stretches())
    assert pure == native


HEADERS = st.builds(
    lambda kind, misc, size, raw: struct.pack("=IHHI4x", kind, misc, size, raw),
    st.sampled_from([SAMPLE, LOST, 5]),
    st.integers(0, 3),
    st.sampled_from([0, 4, 8, 12, 16, 24, 32, 64, 65528]),
    st.integers(0, 40) | st.sampled_from([65536 + 4, 65536 + 12, 2**32 - 1]),
)


@compiled
@given(
    st.lists(HEADERS | st.binary(min_size=16, max_size=16), min_size=4, max_size=4),
    st.integers(0, 1 << 64),
    st.integers(0, 72) | st.integers(0, 1 << 64),
    st.integers(0, 10),
)
def test_both_find_the_same_samples_in_any_contents(contents, tail, ahead, limit):
    buffer = SimulatedPerfBuffer(64, position=tail)
    buffer.data[:] = b"".join(contents)
    buffer.head = tail + ahead
    pure, native = (scan_perf(buffer, limit, stretch) for stretch in stretches())
    assert pure == native


# Equal words -------------------------------------------------------------------------------------


@given(st.integers(0, 3000), st.none() | st.integers(0, 2999), st.sampled_from([1, 7]))
def test_equal_words_are_counted_up_to_a_few_before_the_first_that_differs(count, odd, step):
    words = memoryview(bytearray(4 * step * (count + 1))).cast("I")
    for index in range(count):
        words[index * step] = 7
    if odd is not None and odd < count:
        words[odd * step] = 8
    same = count if odd is None else min(odd, count)
    assert same - 16 <= count_equal(words[::step], "I", 7, count) <= same
