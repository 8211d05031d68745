"""A ring buffer is read in order, in bounded drains, and believed only as far as it makes sense."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream import rings
from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.rings import RingBufferReader, copy_record
from bpfstream.rings.ordering import barrier_for, lock_barrier, no_barrier
from tests.support.simulated_rings import SimulatedRingBuffer

NEAR_WRAP = (1 << 64) - 64
"""A ring position that wraps after 64 bytes."""


def drain(reader, limit=100, decode=copy_record):
    return rings.drain(reader, rings.EachRecord(decode), limit)


def even_only(buffer, offset, length):
    """A decoder that refuses records whose first byte is odd."""
    record = copy_record(buffer, offset, length)
    if record[0] % 2:
        raise DecodeError("odd", type_name="struct even", record=record)
    return record


def test_records_come_in_order_as_they_were_sent(native):
    ring = SimulatedRingBuffer()
    for payload in (b"first", b"", b"the third, longer than 8 bytes"):
        ring.send(payload)
    drained = drain(ring.reader(native=native))
    assert drained.batch == [b"first", b"", b"the third, longer than 8 bytes"]
    assert not drained.more


def test_an_empty_ring_gives_nothing(native):
    drained = drain(SimulatedRingBuffer().reader(native=native))
    assert drained.batch == []
    assert not drained.more


def test_space_is_freed_by_release_and_not_by_draining(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"x" * 8)
    ring.send(b"y" * 8)
    drain(reader)
    assert ring.consumer_position == 0
    assert reader.backlog == 32
    reader.release()
    assert ring.consumer_position == ring.producer_position == 32
    assert reader.backlog == 0


def test_records_that_were_not_released_are_read_again(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    for number in range(5):
        ring.send(bytes([number]))
    drain(reader)
    reader.keep(2)
    reader.release()
    reader.close()
    assert drain(ring.reader(native=native)).batch == [b"\2", b"\3", b"\4"]


def test_the_next_drain_releases_what_the_last_one_gave(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"a")
    ring.send(b"b")
    assert drain(reader, 1).batch == [b"a"]
    assert drain(reader, 1).batch == [b"b"]
    assert ring.consumer_position == 16


def test_a_drain_takes_no_more_than_its_limit_and_says_that_there_is_more(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    for number in range(5):
        ring.send(bytes([number]))
    first = drain(reader, 3)
    assert (first.batch, first.more) == ([b"\0", b"\1", b"\2"], True)
    second = drain(reader, 3)
    assert (second.batch, second.more) == ([b"\3", b"\4"], False)


def test_a_limit_that_is_met_exactly_leaves_no_more(native):
    ring = SimulatedRingBuffer()
    ring.send(b"only")
    assert not drain(ring.reader(native=native), 1).more


def test_discarded_records_are_counted_and_not_given(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"kept")
    ring.send(b"dropped", discard=True)
    assert drain(reader).batch == [b"kept"]
    reader.release()
    assert reader.discarded == 1
    assert ring.consumer_position == ring.producer_position


def test_a_ring_of_discarded_records_alone_is_freed_within_the_limit(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    for _ in range(10):
        ring.send(b"", discard=True)
    drained = drain(reader, 4)
    assert (drained.batch, drained.more, reader.discarded) == ([], True, 4)
    assert ring.consumer_position == 4 * 8


def test_reading_stops_at_a_record_that_is_still_busy(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"done")
    place = ring.reserve(4)
    ring.send(b"done too")
    drained = drain(reader)
    assert (drained.batch, drained.more) == ([b"done"], False)
    reader.release()
    assert reader.busy
    assert not reader.pending
    ring.commit(place, b"late")
    assert not reader.busy
    assert reader.pending
    assert drain(reader).batch == [b"late", b"done too"]


def test_pending_and_busy_look_behind_what_was_drained(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    assert not reader.pending
    ring.send(b"a")
    assert reader.pending
    drain(reader)
    assert not reader.pending
    ring.reserve(8)
    assert reader.busy


def test_a_record_may_run_over_the_end_of_the_data(native):
    ring = SimulatedRingBuffer(4096, position=4096 - 16)
    ring.send(bytes(range(200)))
    assert drain(ring.reader(native=native)).batch == [bytes(range(200))]


def test_positions_wrap_at_64_bits(native):
    ring = SimulatedRingBuffer(position=NEAR_WRAP)
    reader = ring.reader(native=native)
    sent = [bytes([number]) * 24 for number in range(6)]
    for payload in sent:
        ring.send(payload)
    assert ring.producer_position < 1024
    assert reader.backlog == 6 * 32
    assert drain(reader, 2).batch == sent[:2]
    assert not reader.busy
    assert reader.pending
    assert drain(reader).batch == sent[2:]
    reader.release()
    assert ring.consumer_position == ring.producer_position


def test_a_full_ring_is_read_whole(native):
    ring = SimulatedRingBuffer(4096, position=NEAR_WRAP)
    while ring.send(b"12345678"):
        pass
    reader = ring.reader(native=native)
    assert (reader.backlog, reader.capacity) == (4096 - 16, 4096)
    assert len(drain(reader, 10_000).batch) == 255


def test_a_record_that_cant_be_decoded_ends_the_drain_and_is_the_next_ones_error(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    for number in (2, 4, 5, 6):
        ring.send(bytes([number]))
    first = drain(reader, decode=even_only)
    assert (first.batch, first.more) == ([b"\2", b"\4"], True)
    with pytest.raises(DecodeError) as raised:
        drain(reader, decode=even_only)
    assert raised.value.record == b"\5"
    assert raised.value.position == 32
    assert drain(reader, decode=even_only).batch == [b"\6"]


def test_discards_before_a_bad_record_are_counted_once(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"", discard=True)
    ring.send(b"\1")
    with pytest.raises(DecodeError):
        drain(reader, decode=even_only)
    assert drain(reader).batch == []
    assert reader.discarded == 1


def test_a_decoder_with_a_bug_leaves_the_records_unread(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"a")
    with pytest.raises(ZeroDivisionError):
        drain(reader, decode=lambda buffer, offset, length: 1 // 0)
    assert drain(reader).batch == [b"a"]


def test_a_length_beyond_what_is_available_is_corruption_and_the_reader_stays_there(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"good")
    place = ring.reserve(8)
    ring.write(place, struct.pack("=I", 4096))
    good = drain(reader)
    assert (good.batch, good.more) == ([b"good"], True)
    for _ in range(2):
        with pytest.raises(RingCorruptedError) as raised:
            drain(reader)
        assert raised.value.position == 16


@pytest.mark.parametrize("ahead", [4096 + 8, 12, -8])
def test_positions_that_no_kernel_writes_are_corruption(native, ahead):
    ring = SimulatedRingBuffer(4096, position=4096)
    ring.producer_position = 4096 + ahead
    with pytest.raises(RingCorruptedError):
        drain(ring.reader(native=native))


@pytest.mark.parametrize("size", [0, 24, 4095, 3 * 4096])
def test_a_data_area_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        RingBufferReader(
            memoryview(bytearray(8)), memoryview(bytearray(8)), memoryview(bytes(size))
        )


def test_a_closed_reader_lets_go_of_the_memory():
    consumer, producer, data = bytearray(8), bytearray(8), bytearray(64)
    reader = RingBufferReader(memoryview(consumer), memoryview(producer), memoryview(data))
    reader.close()
    reader.close()
    for memory in (consumer, producer, data):
        memory.append(0)  # BufferError while a view is left


def test_machines_that_reorder_loads_get_barriers_between_the_steps():
    ring = SimulatedRingBuffer()
    steps = []

    def decode(buffer, offset, length):
        steps.append("payload")

    reader = RingBufferReader(
        ring.consumer,
        ring.producer,
        ring.data,
        barrier=lambda: steps.append("barrier"),
        native=False,
    )
    ring.send(b"a")
    ring.send(b"b")
    drain(reader, decode=decode)
    assert steps == ["barrier", "barrier", "payload", "payload"]
    reader.release()
    assert steps[4:] == ["barrier"]


def test_the_barrier_is_free_only_where_loads_stay_in_order():
    assert barrier_for("x86_64") is no_barrier
    assert barrier_for("s390x") is no_barrier
    barrier = barrier_for("aarch64")
    assert barrier is not no_barrier
    barrier()
    lock_barrier()()


@given(
    st.sampled_from([0, 4096 - 8, NEAR_WRAP]),
    st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=40),
    st.integers(1, 7),
)
def test_whatever_is_sent_arrives_once_and_in_order(native, position, records, limit):
    ring = SimulatedRingBuffer(position=position)
    reader = ring.reader(native=native)
    received, sent = [], []
    for payload, discard in records:
        while not ring.send(payload, discard=discard):
            received += drain(reader, limit).batch
            reader.release()
        sent += [] if discard else [payload]
    while (drained := drain(reader, limit)).batch or drained.more:
        received += drained.batch
    assert received == sent
    assert reader.discarded == sum(discard for _, discard in records)
    assert reader.backlog == 0


@given(st.binary(min_size=64, max_size=64), st.integers(0, 63), st.integers(0, 1 << 64))
def test_any_contents_are_read_or_are_corruption(native, contents, start, producer):
    ring = SimulatedRingBuffer(64, position=start)
    ring.write(0, contents)
    ring.producer_position = producer
    reader = ring.reader(native=native)
    taken = 0
    with suppress(RingCorruptedError):
        while (drained := drain(reader, 3)).batch or drained.more:
            taken += len(drained.batch)
            reader.release()
            assert taken <= 8
