"""A perf buffer gives its samples in order and says how many the kernel dropped."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream import rings
from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.rings import PerfBufferReader, copy_record
from tests.support.simulated_rings import LOST, PAGE, SAMPLE, SimulatedPerfBuffer

THROTTLE = 5
NEAR_WRAP = (1 << 64) - 64


def drain(reader, limit=100, decode=copy_record):
    return rings.drain(reader, rings.EachRecord(decode), limit)


def test_samples_come_in_order_with_the_kernels_padding(native):
    buffer = SimulatedPerfBuffer()
    for payload in (b"1234", b"twelve bytes", b"odd"):
        buffer.send(payload)
    assert drain(buffer.reader(native=native)).batch == [b"1234", b"twelve bytes", b"odd\xee"]


def test_space_is_freed_by_release_and_not_by_draining(native):
    buffer = SimulatedPerfBuffer()
    reader = buffer.reader(native=native)
    buffer.send(b"1234")
    assert reader.pending
    drain(reader)
    assert not reader.pending
    assert (buffer.tail, reader.backlog) == (0, 16)
    reader.release()
    assert (buffer.tail, reader.backlog) == (16, 0)


def test_samples_that_were_not_released_are_read_again(native):
    buffer = SimulatedPerfBuffer()
    reader = buffer.reader(native=native)
    for payload in (b"aaaa", b"bbbb", b"cccc"):
        buffer.send(payload)
    drain(reader)
    reader.keep(1)
    reader.release()
    reader.close()
    assert drain(buffer.reader(native=native)).batch == [b"bbbb", b"cccc"]


@pytest.mark.parametrize("before_end", [8, 16, 24, 32])
def test_a_sample_that_runs_over_the_end_is_joined(native, before_end):
    buffer = SimulatedPerfBuffer(PAGE, position=PAGE - before_end)
    payload = bytes(range(60))
    buffer.send(payload)
    assert drain(buffer.reader(native=native)).batch == [payload]


def test_positions_wrap_at_64_bits(native):
    buffer = SimulatedPerfBuffer(position=NEAR_WRAP)
    reader = buffer.reader(native=native)
    sent = [bytes([number]) * 20 for number in range(6)]
    for payload in sent:
        buffer.send(payload)
    assert drain(reader, 2).batch == sent[:2]
    assert drain(reader).batch == sent[2:]
    reader.release()
    assert buffer.tail == buffer.head < PAGE


def test_what_the_kernel_dropped_is_counted_when_it_says_so(native):
    buffer = SimulatedPerfBuffer(64)
    reader = buffer.reader(native=native)
    assert [buffer.send(b"x" * 20) for _ in range(4)] == [True, True, False, False]
    assert len(drain(reader).batch) == 2
    reader.release()
    assert reader.lost == 0
    buffer.send(b"y" * 20)
    assert drain(reader).batch == [b"y" * 20]
    assert reader.lost == 2


def test_losses_are_counted_once_though_their_record_is_read_again(native):
    buffer = SimulatedPerfBuffer()
    reader = buffer.reader(native=native)
    buffer.send(b"aaaa")
    buffer.write(LOST, struct.pack("=QQ", 1, 5))
    buffer.send(b"bbbb")
    drain(reader)
    reader.keep(0)
    reader.release()
    assert reader.lost == 0
    drain(reader)
    reader.release()
    assert reader.lost == 5


def test_records_of_other_types_are_skipped(native):
    buffer = SimulatedPerfBuffer()
    buffer.write(THROTTLE, bytes(24))
    buffer.write(12345, b"")
    buffer.send(b"1234")
    assert drain(buffer.reader(native=native)).batch == [b"1234"]


def test_a_limit_bounds_records_of_all_types(native):
    buffer = SimulatedPerfBuffer()
    reader = buffer.reader(native=native)
    for _ in range(3):
        buffer.write(THROTTLE, bytes(24))
    buffer.send(b"1234")
    first = drain(reader, 3)
    assert (first.batch, first.more) == ([], True)
    assert drain(reader, 3).batch == [b"1234"]


@pytest.mark.parametrize("size", [65536 + 20, 65536 - 11])  # of the latter the header is left
def test_a_sample_too_large_for_its_header_is_lost_and_the_next_is_read(native, size):
    buffer = SimulatedPerfBuffer(1 << 18)
    reader = buffer.reader(native=native)
    buffer.send(b"x" * size)
    buffer.send(b"next")
    assert drain(reader).batch == [b"next"]
    assert reader.lost == 1


def test_the_largest_sample_that_its_header_can_tell_is_read(native):
    buffer = SimulatedPerfBuffer(1 << 18)
    payload = bytes(65528 - 12)
    buffer.send(payload)
    assert drain(buffer.reader(native=native)).batch == [payload]


def refuse_b(buffer, offset, length):
    record = copy_record(buffer, offset, length)
    if record == b"bbbb":
        raise DecodeError("is b", type_name="struct event", record=record)
    return record


def test_a_sample_that_cant_be_decoded_ends_the_drain_and_is_the_next_ones_error(native):
    buffer = SimulatedPerfBuffer()
    reader = buffer.reader(native=native)
    for payload in (b"aaaa", b"bbbb", b"cccc"):
        buffer.send(payload)
    first = drain(reader, decode=refuse_b)
    assert (first.batch, first.more) == ([b"aaaa"], True)
    with pytest.raises(DecodeError) as raised:
        drain(reader, decode=refuse_b)
    assert raised.value.position == 16
    assert drain(reader, decode=refuse_b).batch == [b"cccc"]


@pytest.mark.parametrize(
    ("kind", "body", "size"),
    [
        (SAMPLE, b"", 0),
        (SAMPLE, struct.pack("=I", 100) + bytes(12), 24),
        (SAMPLE, bytes(16), 20),
        (SAMPLE, bytes(16), 4096),
        (LOST, bytes(8), 16),
    ],
)
def test_a_record_that_no_kernel_writes_is_corruption_and_the_reader_stays_there(
    native, kind, body, size
):
    buffer = SimulatedPerfBuffer()
    reader = buffer.reader(native=native)
    buffer.send(b"good")
    buffer.write(kind, body, size=size)
    buffer.head = 16 + 24
    good = drain(reader)
    assert (good.batch, good.more) == ([b"good"], True)
    for _ in range(2):
        with pytest.raises(RingCorruptedError) as raised:
            drain(reader)
        assert raised.value.position == 16


def test_a_head_further_ahead_than_the_buffer_is_corruption(native):
    buffer = SimulatedPerfBuffer(64)
    buffer.head = 72
    with pytest.raises(RingCorruptedError):
        drain(buffer.reader(native=native))


def test_a_data_area_of_another_size_is_refused():
    with pytest.raises(ValueError, match="power of two"):
        PerfBufferReader(memoryview(bytearray(PAGE)), memoryview(bytes(24)))


def test_a_closed_reader_lets_go_of_the_memory():
    page, data = bytearray(PAGE), bytearray(64)
    reader = PerfBufferReader(memoryview(page), memoryview(data))
    reader.close()
    reader.close()
    page.append(0)
    data.append(0)


@given(
    st.sampled_from([0, PAGE - 8, NEAR_WRAP]),
    st.lists(st.binary(max_size=300), max_size=40),
    st.integers(1, 7),
)
def test_whatever_is_sent_arrives_or_is_counted(native, position, payloads, limit):
    buffer = SimulatedPerfBuffer(1024, position=position)
    reader = buffer.reader(native=native)
    received, sent = [], []
    for index, payload in enumerate([*payloads, b""]):
        if index % 5 == 4 or index == len(payloads):
            while (drained := drain(reader, limit)).batch or drained.more:
                received += drained.batch
            reader.release()
        if buffer.send(payload):
            sent.append(payload)
    received += drain(reader).batch
    assert len(received) + reader.lost == len(payloads) + 1
    assert all(got.startswith(given) for got, given in zip(received, sent, strict=True))


@given(st.binary(min_size=64, max_size=64), st.integers(0, 63), st.integers(0, 1 << 64))
def test_any_contents_are_read_or_are_corruption(native, contents, start, head):
    buffer = SimulatedPerfBuffer(64, position=start)
    buffer.data[:] = contents
    buffer.head = head
    reader = buffer.reader(native=native)
    taken = 0
    with suppress(RingCorruptedError):
        while (drained := drain(reader, 3)).batch or drained.more:
            taken += len(drained.batch)
            reader.release()
            assert taken <= 8
