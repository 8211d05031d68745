"""Flight recorders: the last events of each CPU, looked at when it is time."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import trio

import bpfstream
from bpfstream.errors import DecodeError, SchemaError, StreamError
from bpfstream.kernel.cpus import online_cpus
from bpfstream.kernel.features import Feature
from bpfstream.kernel.program_run import program_test_run
from bpfstream.streams import cpu_rings
from tests.support.producers import start_producer
from tests.support.requirements import program_path, require


@pytest.fixture
def obj() -> Iterator[bpfstream.Object]:
    require(Feature.RAW_TRACEPOINT_TEST_RUN)
    spec = bpfstream.ObjectSpec.from_file(program_path("perf_producer"))
    spec.programs["on_syscall"].autoload = False
    with bpfstream.load_object(spec) as obj:
        yield obj


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Run on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def produce(obj: bpfstream.Object, count: int, *, cpu: int = 0) -> None:
    """Send records from a CPU; the CPU's number is the producer's."""
    with on_cpu(cpu):
        for _ in range(count):
            context = struct.pack("=2Q", cpu, 1)
            program_test_run(obj.programs["produce"].fd, context=context)


def sequences(events: list[Any], cpu: int = 0) -> list[int]:
    return [event.sequence for event in events if event.producer == cpu]


def test_the_newest_events_are_kept_the_oldest_first(obj):
    with obj.recorder("events", pages=1) as recorder:
        assert recorder.capacity == os.sysconf("SC_PAGE_SIZE") * len(online_cpus())
        produce(obj, 500)
        kept = sequences(recorder.snapshot())
        assert 10 < len(kept) < 500
        assert kept == list(range(500 - len(kept), 500))
        assert obj.maps["tallies"][0].refused == 0


def test_a_snapshot_has_what_came_since_the_last_one(obj):
    with obj.recorder("events") as recorder:
        assert recorder.snapshot() == []
        produce(obj, 3)
        assert sequences(recorder.snapshot()) == [0, 1, 2]
        assert recorder.snapshot() == []
        produce(obj, 2)
        assert sequences(recorder.snapshot()) == [3, 4]
        assert recorder.lost == 0


def test_events_are_ordered_by_a_field_if_asked(obj):
    cpus = online_cpus()
    with obj.recorder("events") as recorder:
        for _ in range(5):
            for cpu in cpus:
                produce(obj, 1, cpu=cpu)
        by_sequence = recorder.snapshot(by="sequence")
        assert [event.sequence for event in by_sequence] == sorted(list(range(5)) * len(cpus))
        for cpu in cpus:
            produce(obj, 2, cpu=cpu)
        by_cpu = [(event.producer, event.sequence) for event in recorder.snapshot()]
        assert by_cpu == [(cpu, sequence) for cpu in cpus for sequence in (5, 6)]


def test_a_field_that_is_not_there_costs_nothing(obj):
    with obj.recorder("events") as recorder:
        produce(obj, 2)
        with pytest.raises(StreamError, match="'time'"):
            recorder.snapshot(by="time")
        assert sequences(recorder.snapshot()) == [0, 1]


class Record(msgspec.Struct):
    sequence: int
    producer: int


def test_events_are_typed_as_those_of_streams(obj):
    with obj.recorder("events", type=Record) as recorder:
        produce(obj, 1)
        assert recorder.snapshot() == [Record(0, 0)]
    with obj.recorder("events", type=bytes) as raw:
        produce(obj, 1)
        assert struct.unpack_from("=QI", raw.snapshot()[0]) == (1, 0)


class TooLong(msgspec.Struct):
    sequence: int
    payload: tuple[int, int]


def test_what_does_not_fit_is_an_error_and_costs_no_other_event(obj, monkeypatch):
    with pytest.raises(SchemaError):
        obj.recorder("events", type=TooLong)
    with obj.recorder("events", type=bytes) as recorder:
        produce(obj, 3)
        decoder = recorder._decoder
        calls = iter([DecodeError("bad", type_name="event", record=b"")])

        def decode_badly_once(parts):
            for error in calls:
                raise error
            return decoder.decode(parts)

        monkeypatch.setattr(recorder, "_decoder", _Decoder(decode_badly_once, decoder.join))
        with pytest.raises(DecodeError):
            recorder.snapshot()
        assert len(recorder.snapshot()) == 2


class _Decoder:
    def __init__(self, decode, join) -> None:
        self.decode, self.join = decode, join


def test_a_ring_has_one_reader_at_a_time(obj):
    with obj.recorder("events"):
        with pytest.raises(StreamError, match="a reader already"):
            obj.recorder("events")
        with pytest.raises(trio.BusyResourceError):
            obj.events("events")
    obj.recorder("events").close()


def test_only_what_overwrites_can_be_recorded(obj):
    with pytest.raises(StreamError, match="ARRAY"):
        obj.recorder("tallies")
    with pytest.raises(ValueError, match="power of two"):
        obj.recorder("events", pages=3)
    with pytest.raises(KeyError):
        obj.recorder("none")


def test_a_closed_recorder_records_nothing(obj):
    recorder = obj.recorder("events")
    recorder.close()
    recorder.close()
    assert recorder.is_closed
    with pytest.raises(trio.ClosedResourceError):
        recorder.snapshot()
    produce(obj, 1)
    assert obj.maps["tallies"][0].refused == 1
    last = obj.recorder("events")
    obj.close()
    assert last.is_closed


def test_the_map_may_be_closed_before_the_recorder(obj):
    with obj.recorder("events") as recorder:
        obj.maps["events"].close()
        produce(obj, 1)
        assert len(recorder.snapshot()) == 1


def test_cpus_that_come_are_recorded_from_the_next_snapshot_on(obj, monkeypatch):
    monkeypatch.setattr(cpu_rings, "online_cpus", lambda: (0,))
    with obj.recorder("events") as recorder:
        monkeypatch.setattr(cpu_rings, "online_cpus", online_cpus)
        monkeypatch.setattr(cpu_rings.CpuWatch, "changed", lambda watch: True)
        recorder.snapshot()
        for cpu in online_cpus():
            produce(obj, 1, cpu=cpu)
        assert len(recorder.snapshot()) == len(online_cpus())


def test_what_a_cpu_that_went_had_recorded_is_in_the_next_snapshot(obj, monkeypatch):
    last = online_cpus()[-1]
    with obj.recorder("events") as recorder:
        produce(obj, 2, cpu=last)
        monkeypatch.setattr(cpu_rings, "online_cpus", lambda: ())
        monkeypatch.setattr(cpu_rings.CpuWatch, "changed", lambda watch: True)
        assert len(recorder.snapshot()) == 2
        assert recorder.snapshot() == []
        assert recorder.capacity == 0


def test_while_programs_send_each_event_is_recorded_or_counted_as_lost(obj):
    """The rings have room for all: what is missing came while one was stopped for its copy."""
    producers, records = 2, 20_000
    with obj.recorder("events", pages=1024) as recorder:
        fd = obj.programs["produce"].fd
        processes = [start_producer(fd, number, records, "=2Q") for number in range(producers)]
        recorded: list[list[int]] = [[] for _ in range(producers)]

        def look() -> None:
            events = recorder.snapshot()
            for number in range(producers):
                recorded[number] += sequences(events, number)

        while any(process.poll() is None for process in processes):
            look()
        assert [process.returncode for process in processes] == [0] * producers
        for cpu in online_cpus():  # the kernel tells of losses with the next record
            with on_cpu(cpu):
                program_test_run(fd, context=struct.pack("=2Q", producers, 1))
        look()
        for each in recorded:
            assert each == sorted(set(each))
        tallies = [obj.maps["tallies"][number] for number in range(producers)]
        assert [each.attempts for each in tallies] == [records] * producers
        assert sum(map(len, recorded)) + recorder.lost == producers * records
        assert sum(map(len, recorded)) == sum(each.submitted for each in tallies)
