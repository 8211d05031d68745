"""A ring buffer that overwrites its oldest records is read whole or is counted as lost, never torn.

The producer runs inside of the reader's barriers, at the points where its accesses are ordered:
between its look at the positions, at the headers, its copy and its second look.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream import rings
from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.rings import EachRecord, OverwriteRingBufferReader, copy_record
from tests.support.simulated_rings import SimulatedRingBuffer

NEAR_WRAP = (1 << 64) - 64


def drain(reader, limit=1000, decode=copy_record):
    return rings.drain(reader, EachRecord(decode), limit)


def event(number, size=24):
    """A record that shows if it was torn: its number all over."""
    return (number.to_bytes(4, "little") * (size // 4 + 1))[:size]


def test_a_ring_that_is_not_full_is_read_as_any(native):
    ring = SimulatedRingBuffer(overwrite=True)
    reader = ring.overwrite_reader(native=native)
    ring.send(b"a")
    ring.send(b"dropped", discard=True)
    ring.send(b"b")
    assert drain(reader).batch == [b"a", b"b"]
    reader.release()
    assert (reader.discarded, reader.lost, reader.overwritten) == (1, 0, 0)
    assert ring.consumer_position == ring.producer_position
    assert reader.backlog == 0


def test_the_oldest_records_are_overwritten_and_counted(native):
    ring = SimulatedRingBuffer(4096, position=NEAR_WRAP, overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(1000):
        assert ring.send(event(number))
    assert reader.pending
    received = drain(reader).batch
    assert received == [event(number) for number in range(1000 - 127, 1000)]
    reader.release()
    assert reader.lost == 1000 - 127
    assert reader.overwritten == (1000 - 127) * 32


def test_only_what_is_new_is_read_again(native):
    ring = SimulatedRingBuffer(overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(500):
        ring.send(event(number))
    drain(reader)
    assert drain(reader).batch == []
    ring.send(event(500))
    assert drain(reader).batch == [event(500)]


def test_what_was_taken_is_a_copy_and_outlives_the_ring(native):
    ring = SimulatedRingBuffer(overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(3):
        ring.send(event(number))
    taken = reader.take(10)
    for number in range(1000):
        ring.send(event(7000 + number))
    assert EachRecord(copy_record).decode(taken.parts)[0] == [event(0), event(1), event(2)]


def test_how_many_were_lost_is_told_by_the_mean_size_when_sizes_differ(native):
    ring = SimulatedRingBuffer(4096, overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(1000):
        ring.send(event(number, 24 if number % 2 else 56))
    assert reader.lost == 0  # nothing was read yet
    received = len(drain(reader).batch)
    reader.release()
    assert reader.lost == pytest.approx(1000 - received, abs=20)
    assert reader.overwritten == ring.overwrite_position


def test_records_that_were_not_released_are_read_again(native):
    ring = SimulatedRingBuffer(overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(200):
        ring.send(event(number))
    first = drain(reader).batch
    reader.keep(2)
    reader.release()
    assert drain(reader).batch == first[2:]
    reader.keep(0)
    assert drain(reader, 5).batch == first[2:7]
    reader.release()
    assert reader.lost == 200 - len(first)


def test_a_bad_record_is_the_next_drains_error_and_names_its_position(native):
    def refuse(buffer, offset, length):
        record = copy_record(buffer, offset, length)
        if record == event(150):
            raise DecodeError("bad", type_name="struct event", record=record)
        return record

    ring = SimulatedRingBuffer(overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(200):
        ring.send(event(number))
    assert len(drain(reader, decode=refuse).batch) == 150 - (200 - 127)
    with pytest.raises(DecodeError) as raised:
        drain(reader, decode=refuse)
    assert raised.value.position == 150 * 32
    assert len(drain(reader, decode=refuse).batch) == 49


def test_a_busy_record_stops_reader_and_overwriting(native):
    ring = SimulatedRingBuffer(4096, overwrite=True)
    reader = ring.overwrite_reader(native=native)
    ring.send(event(1))
    place = ring.reserve(24)
    sent = 0
    while ring.send(event(2 + sent)):
        sent += 1
    assert sent == 126  # the busy record is not overwritten, the one before it is
    assert drain(reader).batch == []
    assert reader.busy
    ring.commit(place, event(77))
    assert drain(reader, 2).batch == [event(77), event(2)]
    assert reader.lost == 0  # one, by bytes, of what was read after
    reader.release()
    assert reader.lost == 1


def test_who_publishes_waits_for_the_oldest_record_that_is_left(native):
    ring = SimulatedRingBuffer(4096, overwrite=True)
    reader = ring.overwrite_reader(native=native)
    for number in range(200):
        ring.send(event(number))
    place = ring.reserve(4080)  # all that there is
    assert reader.busy
    assert not reader.publish()
    assert ring.commit(place)


def test_a_header_that_no_kernel_writes_is_corruption(native):
    ring = SimulatedRingBuffer(overwrite=True)
    reader = ring.overwrite_reader(native=native)
    ring.send(b"good")
    ring.write(0, struct.pack("=I", 4096))
    with pytest.raises(RingCorruptedError) as raised:
        drain(reader)
    assert raised.value.position == 0
    ring.overwrite_position = ring.producer_position + 8
    with pytest.raises(RingCorruptedError):
        drain(reader)


def test_a_closed_reader_lets_go_of_the_memory():
    consumer, producer, data = bytearray(8), bytearray(24), bytearray(64)
    reader = OverwriteRingBufferReader(memoryview(consumer), memoryview(producer), memoryview(data))
    reader.close()
    reader.close()
    for memory in (consumer, producer, data):
        memory.append(0)


def test_a_producer_that_overtakes_the_copy_leaves_what_it_did_not_reach(native):
    ring = SimulatedRingBuffer(4096, overwrite=True)
    numbers = iter(range(10_000))
    reader = ring.overwrite_reader(native=native, barrier=lambda: ring.send(event(next(numbers))))
    for _ in range(200):
        ring.send(event(next(numbers)))
    batch = drain(reader).batch
    assert len(batch) > 120
    assert batch[-1] == event(199)
    reader.release()
    assert reader.lost + len(batch) == 200


@given(
    position=st.sampled_from([0, 4096 - 8, NEAR_WRAP]),
    capacity=st.sampled_from([256, 1024, 4096]),
    sizes=st.lists(st.sampled_from([4, 12, 24, 24, 24, 60, 100]), min_size=1, max_size=4),
    before=st.integers(0, 300),
    bursts=st.lists(st.integers(0, 8) | st.integers(0, 200), max_size=40),
    limit=st.integers(1, 300),
    discards=st.sampled_from([0, 3]),
)
def test_whatever_overtakes_the_reader_nothing_is_torn_and_all_bytes_are_accounted_for(
    native, position, capacity, sizes, before, bursts, limit, discards
):
    ring = SimulatedRingBuffer(capacity, position=position, overwrite=True)
    sent = []

    def produce(count):
        for _ in range(count):
            number = len(sent)
            payload = event(number, sizes[number % len(sizes)])
            discard = bool(discards and number % discards == 0)
            assert ring.send(payload, discard=discard)
            sent.append(None if discard else payload)

    bursts.reverse()
    reader = ring.overwrite_reader(
        native=native, barrier=lambda: produce(bursts.pop() if bursts else 0)
    )
    produce(before)
    received = []
    freed = 0
    while bursts or reader.pending:
        before_take = reader.overwritten
        received += drain(reader, limit).batch
        assert reader.overwritten >= before_take
        reader.release()
        freed = (ring.consumer_position - position) % (1 << 64)
        if not reader.pending and bursts:
            produce(bursts.pop())
    places = iter(enumerate(sent))
    for payload in received:  # a subsequence of what was sent, so whole, once and in order
        assert any(payload == other for _, other in places)
    assert freed == (ring.producer_position - position) % (1 << 64)
    read = sum((len(payload) + 15) // 8 * 8 for payload in received)
    if not discards:
        assert reader.overwritten + read == freed
    if len(set(sizes)) == 1 and received:
        assert reader.lost + len(received) + reader.discarded == len(sent)
