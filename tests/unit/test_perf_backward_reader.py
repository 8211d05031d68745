"""An overwritable perf buffer gives what newer records left of the older ones, oldest first."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream import rings
from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.rings import BackwardPerfReader, EachRecord, copy_record
from tests.support.simulated_rings import LOST, PAGE, SAMPLE, SimulatedBackwardPerfBuffer

COPIES = EachRecord(copy_record)
THROTTLE = 5


def number(index):
    return index.to_bytes(4, "little") * 3


def test_samples_come_oldest_first(native):
    buffer = SimulatedBackwardPerfBuffer()
    for payload in (b"1234", b"twelve bytes", b"odd"):
        buffer.send(payload)
    reader = buffer.reader(native=native)
    assert reader.backlog == 16 + 24 + 16
    assert reader.read(COPIES) == [b"1234", b"twelve bytes", b"odd\xee"]


def test_an_empty_buffer_gives_nothing(native):
    assert SimulatedBackwardPerfBuffer().reader(native=native).read(COPIES) == []


def test_the_oldest_are_overwritten_and_the_one_that_is_cut_is_not_given(native):
    buffer = SimulatedBackwardPerfBuffer(PAGE)  # 170 records of 24 bytes, and 16 bytes of another
    for index in range(1000):
        buffer.send(number(index))
    reader = buffer.reader(native=native)
    assert reader.backlog == reader.capacity == PAGE
    assert reader.read(COPIES) == [number(index) for index in range(830, 1000)]
    assert reader.overwritten == 830 * 24


def test_what_was_read_is_not_read_again(native):
    buffer = SimulatedBackwardPerfBuffer()
    reader = buffer.reader(native=native)
    buffer.send(b"once")
    assert reader.read(COPIES) == [b"once"]
    assert reader.backlog == 0
    assert reader.read(COPIES) == []
    buffer.send(b"more")
    assert reader.read(COPIES) == [b"more"]
    assert reader.overwritten == 0


def test_records_of_one_size_are_one_run(native):
    buffer = SimulatedBackwardPerfBuffer()
    for index in range(1000):
        buffer.send(number(index))
    reader = buffer.reader(native=native)
    reader.snapshot()
    ((_, runs),) = reader.take(1000).parts
    assert [run[1:] for run in runs] == [(12, 24, 170)]


def test_after_the_snapshot_the_buffer_may_go_on(native):
    buffer = SimulatedBackwardPerfBuffer()
    reader = buffer.reader(native=native)
    buffer.send(b"1234")
    reader.snapshot()
    for index in range(1000):
        buffer.send(number(index))
    assert reader.pending
    assert reader.read(COPIES) == [b"1234"]
    assert not reader.pending
    assert len(reader.read(COPIES)) == 170


def test_a_snapshot_is_drained_like_any_ring(native):
    buffer = SimulatedBackwardPerfBuffer()
    reader = buffer.reader(native=native)
    for index in range(10):
        buffer.send(number(index))
    reader.snapshot()
    first = rings.drain(reader, COPIES, 4)
    assert (first.batch, first.more) == ([number(index) for index in range(4)], True)
    reader.keep(2)
    assert rings.drain(reader, COPIES, 100).batch == [number(index) for index in range(2, 10)]


def test_lost_samples_are_counted_and_other_records_skipped(native):
    buffer = SimulatedBackwardPerfBuffer()
    buffer.send(b"1234")
    buffer.write(THROTTLE, bytes(24))
    buffer.write(LOST, struct.pack("=QQ", 7, 3))
    buffer.send(b"5678")
    reader = buffer.reader(native=native)
    assert reader.read(COPIES) == [b"1234", b"5678"]
    assert reader.lost == 3
    assert reader.read(COPIES) == []
    assert reader.lost == 3


@pytest.mark.parametrize("size", [65536 + 20, 65536 - 11])  # of the latter the header is left
def test_a_sample_of_64_kib_overwrites_the_older_ones_and_is_lost(native, size):
    buffer = SimulatedBackwardPerfBuffer(1 << 18)
    for index in range(100):
        buffer.send(number(index))
    buffer.send(b"x" * size)
    buffer.send(b"next")
    reader = buffer.reader(native=native)
    assert reader.read(COPIES) == [b"next"]
    assert reader.lost == 1
    assert reader.overwritten == -buffer.head % (1 << 64) - 16


def test_a_bad_sample_is_the_next_reads_error_and_what_follows_is_not_lost(native):
    def refuse(buffer, offset, length):
        record = copy_record(buffer, offset, length)
        if record == number(3):
            raise DecodeError("is three", type_name="struct event", record=record)
        return record

    buffer = SimulatedBackwardPerfBuffer()
    for index in range(6):
        buffer.send(number(index))
    reader = buffer.reader(native=native)
    assert reader.read(EachRecord(refuse)) == [number(0), number(1), number(2)]
    assert reader.pending
    with pytest.raises(DecodeError) as raised:
        reader.read(EachRecord(refuse))
    assert raised.value.position == (1 << 64) - 4 * 24
    assert reader.read(EachRecord(refuse)) == [number(4), number(5)]


@pytest.mark.parametrize(
    ("kind", "body", "size"),
    [
        (SAMPLE, b"", 0),
        (SAMPLE, struct.pack("=I", 100) + bytes(12), 24),
        (SAMPLE, bytes(16), 20),
        (LOST, bytes(8), 16),
    ],
)
def test_a_newest_record_that_no_kernel_writes_is_corruption(native, kind, body, size):
    buffer = SimulatedBackwardPerfBuffer()
    buffer.send(b"good")
    buffer.write(kind, body, size=size)
    buffer.head = (1 << 64) - 40
    reader = buffer.reader(native=native)
    header = struct.pack("=IHH", kind, 0, size)
    buffer.data[PAGE - 40 : PAGE - 40 + 8 + len(body)] = header + body
    for _ in range(2):
        with pytest.raises(RingCorruptedError) as raised:
            reader.read(COPIES)
        assert raised.value.position == (1 << 64) - 40
    buffer.send(b"next")
    assert reader.read(COPIES) == [b"next"]
    assert reader.overwritten == 40


def test_a_closed_reader_lets_go_of_the_memory():
    page, data = bytearray(PAGE), bytearray(64)
    reader = BackwardPerfReader(memoryview(page), memoryview(data))
    reader.close()
    reader.close()
    page.append(0)
    data.append(0)


@pytest.mark.parametrize("size", [0, 24, 4095])
def test_a_data_area_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        BackwardPerfReader(memoryview(bytearray(PAGE)), memoryview(bytes(size)))


@given(st.lists(st.lists(st.integers(0, 200), max_size=60), max_size=6))
def test_the_newest_samples_are_read_and_all_bytes_accounted_for(native, bursts):
    buffer = SimulatedBackwardPerfBuffer(1024)
    reader = buffer.reader(native=native)
    read = 0
    for burst in bursts:
        sent = [bytes([size % 256]) * ((size + 4 + 7) // 8 * 8 - 4) for size in burst]
        for payload in sent:
            buffer.send(payload)
        batch = reader.read(COPIES)
        assert batch == sent[len(sent) - len(batch) :]
        missed = sent[: len(sent) - len(batch)]
        # The oldest that is missed found no place among the newer ones.
        assert not missed or sum(12 + len(one) for one in (missed[-1], *batch)) > 1024
        read += sum(12 + len(one) for one in batch)
    assert read + reader.overwritten == -buffer.head % (1 << 64)


@given(st.binary(min_size=64, max_size=64), st.integers(0, 1 << 64))
def test_any_contents_are_read_or_are_corruption(native, contents, head):
    buffer = SimulatedBackwardPerfBuffer(64)
    buffer.data[:] = contents
    buffer.head = head
    reader = buffer.reader(native=native)
    with suppress(RingCorruptedError):
        assert len(reader.read(COPIES)) <= 8
        assert not reader.backlog
