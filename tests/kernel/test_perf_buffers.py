"""Perf buffers on the running kernel: wakeups, CPUs, losses, pauses, records that are too large."""

from __future__ import annotations

import errno
import itertools
import os
import random
import select
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import bpfstream
from bpfstream.errors import StreamError
from bpfstream.kernel import bpf, perf
from bpfstream.kernel.cpus import online_cpus
from bpfstream.kernel.features import Feature
from bpfstream.kernel.program_run import program_test_run
from bpfstream.rings import EachRecord, copy_record
from bpfstream.streams import PerfBufferSource, cpu_rings, perf_ring
from bpfstream.streams.perf_options import PerfOptions
from tests.support.requirements import program_path, require, require_guest

BYTES = EachRecord(copy_record)
SWITCH = Path("/sys/devices/system/cpu/cpu1/online")
SecondCpu = Callable[[bool], object]
LARGEST = 65_516
"""Bytes of the largest record that a perf buffer carries: 64 KiB less 4 for the size of the sample,
8 for the header of the record, and 8 as the whole has to be less than 64 KiB, in eights."""


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Run on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def obj() -> Iterator[bpfstream.Object]:
    require(Feature.RAW_TRACEPOINT_TEST_RUN)
    spec = bpfstream.ObjectSpec.from_file(program_path("perf_producer"))
    spec.programs["on_syscall"].autoload = False
    with bpfstream.load_object(spec) as obj:
        yield obj


@pytest.fixture
def large() -> Iterator[bpfstream.Object]:
    """Sends records of any size."""
    require(Feature.RAW_TRACEPOINT_TEST_RUN)
    with bpfstream.load_object(program_path("perf_sizes")) as obj:
        yield obj


@pytest.fixture
def second_cpu() -> Iterator[SecondCpu]:
    """Sets CPU 1 online and offline; online afterwards."""
    require_guest("it takes a CPU offline")
    if not SWITCH.exists():
        pytest.skip("needs a second CPU that can go offline")
    yield lambda online: SWITCH.write_text(str(int(online)))
    SWITCH.write_text("1")


def produce(obj: bpfstream.Object, count: int, *, cpu: int = 0, producer: int = 0) -> None:
    """Send records from a CPU."""
    with on_cpu(cpu):
        while count:
            burst = min(count, 256)
            context = struct.pack("=2Q", producer, burst)
            program_test_run(obj.programs["produce"].fd, context=context)
            count -= burst


def tally(obj: bpfstream.Object, producer: int = 0) -> Any:
    return obj.maps["tallies"][producer]


def send(large: bpfstream.Object, size: int, mark: int) -> None:
    """Send one record of `size` bytes, the first of them `mark`."""
    with on_cpu(0):
        program_test_run(large.programs["send"].fd, context=struct.pack("=2Q", size, mark))


@contextmanager
def reading(
    obj: bpfstream.Object, options: PerfOptions | None = None, *, quiet: bool = True
) -> Iterator[PerfBufferSource]:
    source = PerfBufferSource(obj.maps["events"].fd, options=options, quiet=quiet)
    try:
        yield source
    finally:
        source.close()


def received(source: PerfBufferSource, *, hold_back: bool = False) -> list[bytes]:
    """All that is there."""
    records: list[bytes] = []
    more = True
    while more:
        drained = source.drain(BYTES, 1000)
        source.release(drained.count, hold_back=hold_back)
        records += drained.batch
        more = drained.more
    return records


def is_woken(source: PerfBufferSource) -> bool:
    """Whether the descriptor polls readable within a moment: wakeups come by an interrupt."""
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    return bool(poll.poll(50))


# Wakeups ----------------------------------------------------------------------------------------


def test_each_event_wakes_the_reader(obj):
    with reading(obj) as source:
        assert not is_woken(source)
        produce(obj, 1)
        assert is_woken(source)


def test_the_reader_is_woken_after_so_many_events(obj):
    with reading(obj, PerfOptions(wakeup_events=10)) as source:
        produce(obj, 9)
        assert not is_woken(source)
        assert len(received(source)) == 9
        produce(obj, 1)
        assert is_woken(source)


def test_the_reader_is_woken_after_so_many_bytes(large):
    with reading(large, PerfOptions(pages=1, watermark=2000)) as source:
        send(large, 1000, 1)
        assert not is_woken(source)
        send(large, 1000, 2)
        assert is_woken(source)
        assert [record[0] for record in received(source)] == [1, 2]


def test_a_hushed_ring_wakes_the_reader_when_it_is_half_full(obj):
    with reading(obj, PerfOptions(pages=1)) as source:
        for _ in range(10):
            produce(obj, 1)
            received(source, hold_back=True)
        is_woken(source)  # by what was before
        produce(obj, 1)
        assert not is_woken(source)
        produce(obj, 28)
        assert is_woken(source)
        assert len(received(source)) == 29
        source.publish()
        produce(obj, 1)
        assert is_woken(source)


def test_a_user_can_ask_for_either(obj):
    with pytest.raises(ValueError, match="exclude"):
        obj.events("events", watermark=1, wakeup_events=1)
    with pytest.raises(ValueError, match="watermark"):
        obj.events("events", pages=1, watermark=4096)


async def test_what_stays_below_the_mark_is_found(obj):
    async with obj.events("events", wakeup_events=1000, max_latency=0) as events:
        produce(obj, 3)
        with trio.fail_after(10):
            assert [record.sequence for record in await events.receive_batch()] == [0, 1, 2]


async def test_a_single_event_after_a_burst_is_found(obj):
    """The stream goes from waiting to the timer and back; neither way may it miss one."""
    chance = random.Random(20_261)
    async with obj.events("events", type=bytes) as events:
        expected = 0
        for _ in range(30):
            for _ in range(chance.choice([0, 1, 20])):
                produce(obj, 100, cpu=chance.choice(online_cpus()))
                expected += 100
                await trio.sleep(0.001)
            produce(obj, 1, cpu=chance.choice(online_cpus()))
            expected += 1
            with trio.fail_after(10):
                while events.statistics().received < expected:
                    await events.receive_batch()
        assert events.statistics().lost.total == 0


# CPUs -------------------------------------------------------------------------------------------


def test_all_cpus_are_swept(obj):
    cpus = online_cpus()
    with reading(obj) as source:
        for cpu in cpus:
            produce(obj, 2, cpu=cpu, producer=cpu)
        records = received(source)
        assert len(records) == 2 * len(cpus)
        assert [(each.cpu, each.received) for each in source.cpus] == [(cpu, 2) for cpu in cpus]


def test_cpus_without_a_ring_get_one_when_they_are_seen(obj, monkeypatch):
    """A machine whose other CPUs are not online yet, as far as the source can tell."""
    monkeypatch.setattr(cpu_rings, "online_cpus", lambda: (0,))
    with reading(obj) as source:
        monkeypatch.setattr(cpu_rings, "online_cpus", online_cpus)
        monkeypatch.setattr(cpu_rings.CpuWatch, "changed", lambda watch: True)
        source.sweep()
        for cpu in online_cpus():
            produce(obj, 1, cpu=cpu)
        assert len(received(source)) == len(online_cpus())


def test_a_cpu_number_that_is_not_online_is_left_out(obj, monkeypatch):
    monkeypatch.setattr(cpu_rings, "online_cpus", lambda: (0, 4000))
    with pytest.raises(OSError, match="Invalid argument"), reading(obj):
        pass  # no such CPU can ever be: that is more than offline
    assert_nothing_is_left(obj)


def test_a_cpu_that_goes_and_comes_is_followed(obj, second_cpu):
    with reading(obj) as source:
        produce(obj, 3, cpu=1)
        second_cpu(False)
        source.sweep()
        assert len(received(source)) == 3, "what it left can be read"
        source.sweep()
        assert source.cpus[1].capacity == 0
        produce(obj, 1, cpu=0)
        assert len(received(source)) == 1

        second_cpu(True)
        source.sweep()
        produce(obj, 2, cpu=1)
        assert is_woken(source)
        assert len(received(source)) == 2
        assert tally(obj).refused == 0


def test_a_cpu_that_went_and_came_back_between_two_looks_is_noticed(obj, second_cpu):
    with reading(obj) as source:
        produce(obj, 1, cpu=1)
        second_cpu(False)
        second_cpu(True)
        produce(obj, 1, cpu=1)
        assert tally(obj).refused == 1, "its event is dead"
        source.sweep()
        produce(obj, 1, cpu=1)
        assert len(received(source)) == 2


async def test_a_stream_follows_cpus_by_itself(obj, second_cpu):
    second_cpu(False)
    async with obj.events("events") as events:
        second_cpu(True)
        with trio.fail_after(30):
            while not events.statistics().received:
                produce(obj, 1, cpu=1)
                with trio.move_on_after(0.1):
                    await events.receive()
        assert [each.cpu for each in events.cpu_statistics()] == list(online_cpus())


# Losses -----------------------------------------------------------------------------------------


def test_losses_are_counted_for_each_cpu(obj):
    cpus = online_cpus()
    with reading(obj, PerfOptions(pages=1)) as source:
        for cpu in cpus:
            produce(obj, 500 + cpu, cpu=cpu, producer=cpu)
        received(source)
        refused = [tally(obj, cpu).refused for cpu in cpus]
        for cpu in cpus:  # the kernel tells with the next record that fits
            produce(obj, 1, cpu=cpu, producer=cpu)
        received(source)
        assert min(refused) > 0
        assert [each.lost for each in source.cpus] == refused
        assert source.losses.perf == sum(refused)


# Pauses and ends --------------------------------------------------------------------------------


async def test_a_paused_stream_refuses_and_resumes(obj):
    async with obj.events("events", type=bytes) as events:
        for cpu in online_cpus():
            produce(obj, 1, cpu=cpu)
        events.pause()
        for cpu in online_cpus():
            produce(obj, 1, cpu=cpu)
        assert tally(obj).refused == len(online_cpus())
        assert len(await events.flush()) == len(online_cpus()), "sent before: still there"
        events.resume()
        for cpu in online_cpus():
            produce(obj, 1, cpu=cpu)
        assert len(await events.flush()) == len(online_cpus())
        assert events.statistics().lost.total == 0
    with pytest.raises(trio.ClosedResourceError):
        events.pause()


async def test_only_a_perf_buffer_can_be_paused():
    require(Feature.RINGBUF, Feature.SYSCALL_PROGRAMS)
    spec = bpfstream.ObjectSpec.from_file(program_path("ring_producer"))
    spec.programs["on_syscall"].autoload = False
    async with bpfstream.load(spec) as obj, obj.events("events") as events:
        for call in (events.pause, events.resume, events.cpu_statistics):
            with pytest.raises(StreamError, match="only the stream of a perf buffer"):
                call()


def test_the_map_may_be_closed_before_the_source(obj):
    with reading(obj) as source:
        obj.maps["events"].close()
        produce(obj, 1)
        assert is_woken(source)
        assert len(received(source)) == 1


def test_closing_takes_the_events_out(obj):
    with reading(obj):
        pass
    assert_nothing_is_left(obj)


def assert_nothing_is_left(obj: bpfstream.Object) -> None:
    before = tally(obj).refused
    for cpu in online_cpus():
        produce(obj, 1, cpu=cpu)
    assert tally(obj).refused - before == len(online_cpus())


def test_a_failure_at_any_step_undoes_everything(obj, monkeypatch):
    """Descriptors that are left fail every test; mappings hold a duplicate of theirs."""
    steps = [
        (perf, "open_bpf_output"),
        (perf, "set_output"),
        (perf_ring, "PerfBufferMapping"),
        (bpf, "map_update"),
    ]
    countdown = itertools.repeat(1)

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def fails_in_time(*arguments: Any, **more: Any) -> Any:
            if not next(countdown):
                raise OSError(errno.ENOMEM, "no memory")
            return call(*arguments, **more)

        return fails_in_time

    for place, name in steps:
        monkeypatch.setattr(place, name, failing(getattr(place, name)))
    for calls in itertools.count():
        countdown = itertools.chain(itertools.repeat(1, calls), [0], itertools.repeat(1))
        try:
            with reading(obj):
                pass
        except OSError:
            countdown = itertools.repeat(1)
            assert_nothing_is_left(obj)
        else:
            break
    assert calls == 5 * len(online_cpus())


# Records that are too large ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [LARGEST, 60_000])
def test_records_of_almost_64_kib_come_whole(large, size):
    with reading(large, PerfOptions(pages=32)) as source:
        for mark in range(6):  # some of them wrap
            send(large, size, mark)
            (record,) = received(source)
            assert (record[0], size <= len(record) < size + 8) == (mark, True)


@pytest.mark.parametrize("size", [LARGEST + 9, 65_536, 70_000, 128 * 1024])
def test_larger_ones_are_cut_by_the_kernel_and_count_as_lost(large, size):
    """The record's size has 16 bits: the kernel reserves too little, and says that all is well."""
    with reading(large, PerfOptions(pages=64)) as source:
        for mark in range(3):
            send(large, 100, mark)
            send(large, size, 7)
            send(large, 100, mark)
            assert [record[0] for record in received(source)] == [mark, mark]
        assert source.losses.perf == 3


def test_some_are_never_seen(large):
    """Where the size is 0 in 16 bits, the kernel reserves nothing: nobody can tell."""
    with reading(large, PerfOptions(pages=64)) as source:
        send(large, 100, 1)
        send(large, LARGEST + 8, 7)
        send(large, 100, 2)
        assert [record[0] for record in received(source)] == [1, 2]
        assert source.losses.perf == 0


# Under random use -------------------------------------------------------------------------------


def test_hushing_and_rousing_loses_nothing(obj):
    chance = random.Random(20_261)
    with reading(obj, PerfOptions(pages=16)) as source:
        count = 0
        for _ in range(300):
            cpu = chance.choice(online_cpus())
            produce(obj, chance.choice([1, 10, 100]), cpu=cpu, producer=cpu)
            chance.choice([source.publish, source.sweep, lambda: None])()
            count += len(received(source, hold_back=chance.random() < 0.9))
        tallies = [tally(obj, cpu) for cpu in online_cpus()]
        assert count == sum(each.attempts for each in tallies)
        assert sum(each.refused for each in tallies) == 0
