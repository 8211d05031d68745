"""Events of several rings in the order of time, on all CPUs; and what the time of day was."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from subprocess import Popen

import pytest
import trio

import bpfstream
from bpfstream.kernel.features import Feature
from tests.support.producers import start_producer
from tests.support.requirements import program_path, require, require_guest

PRODUCERS = 4
RECORDS = 5_000
SECOND = 1_000_000_000


@pytest.fixture
async def obj():
    require(Feature.RINGBUF, Feature.RAW_TRACEPOINT_TEST_RUN)
    async with bpfstream.load(program_path("timestamps")) as obj:
        yield obj


def start_producers(obj: bpfstream.Object, program: str) -> list[Popen[bytes]]:
    fd = obj.programs[program].fd
    return [start_producer(fd, number, RECORDS, "=2Q") for number in range(PRODUCERS)]


async def take_all(merged, processes):
    """Events, as long as there are producers or events."""
    stamps, is_over = [], False
    while not is_over:
        before = len(stamps)
        are_done = all(process.poll() is not None for process in processes)
        with trio.move_on_after(0.5):
            async for event in merged:
                stamps.append((event.timestamp, event.cpu))
        is_over = are_done and len(stamps) == before
    assert not any(process.wait() for process in processes)
    return stamps


def assert_in_order(stamps, statistics):
    late = sum(later < earlier for (earlier, _), (later, _) in pairwise(stamps))
    # A virtual CPU can be stopped between stamp and commit for longer than any delay.
    assert late <= statistics.late
    assert statistics.late < len(stamps) / 100
    assert (statistics.ahead, statistics.held) == (0, 0)


async def test_one_perf_buffer_of_all_cpus(obj) -> None:
    events = obj.events("perf", pages=256)
    async with bpfstream.merge(events, by="timestamp") as merged:
        stamps = await take_all(merged, start_producers(obj, "to_perf"))
        lost = events.statistics().lost.perf
        assert len(stamps) == PRODUCERS * RECORDS - lost
        assert {cpu for _, cpu in stamps} == os.sched_getaffinity(0)
        assert_in_order(stamps, merged.statistics())


async def test_two_ring_buffers(obj) -> None:
    streams = [obj.events(name) for name in ("even", "odd")]
    async with bpfstream.merge(*streams, by="timestamp") as merged:
        stamps = await take_all(merged, start_producers(obj, "to_rings"))
        assert [stream.statistics().lost.kernel for stream in streams] == [0, 0]
        # Where the number of a burst is odd, there is one more.
        assert PRODUCERS * RECORDS <= len(stamps) < PRODUCERS * RECORDS * 1.1
        assert_in_order(stamps, merged.statistics())


async def test_a_consumer_that_comes_late_has_exact_order(obj) -> None:
    """All is in the rings before anything is read: two long runs of events that interleave."""
    async with bpfstream.merge(
        obj.events("even"), obj.events("odd"), by="timestamp", delay=0.001
    ) as merged:
        for process in start_producers(obj, "to_rings"):
            assert process.wait() == 0
        stamps = await take_all(merged, [])
        assert stamps == sorted(stamps, key=lambda each: each[0])
        assert merged.statistics().late == 0


async def test_subscribers_of_a_ring(obj) -> None:
    async with obj.events("even") as events, trio.open_nursery() as nursery:
        complete, late = [], []

        async def collect(subscription, into, pause):
            with subscription:
                async for batch in subscription.batches():
                    into.extend(batch)
                    await trio.sleep(pause)

        nursery.start_soon(collect, events.subscribe(1 << 16), complete, 0)
        nursery.start_soon(collect, events.subscribe(64, "drop_oldest"), late, 0.01)
        processes = start_producers(obj, "to_rings")
        before = -1
        while len(complete) != before or any(process.poll() is None for process in processes):
            before = len(complete)
            await trio.sleep(0.3)
        assert [process.wait() for process in processes] == [0] * PRODUCERS
        statistics = events.statistics()
        nursery.cancel_scope.cancel()
    lost = sum(event.count for event in late if isinstance(event, bpfstream.Lost))
    seen = [event for event in late if not isinstance(event, bpfstream.Lost)]
    assert statistics.received == len(complete) == len(seen) + lost
    assert statistics.lost.subscriber == lost
    assert [event for event in complete if event in seen[:100]] == seen[:100]


async def test_the_time_of_day_of_an_event(obj) -> None:
    async with obj.events("even") as events:
        monotonic, boottime = bpfstream.WallClock(), bpfstream.WallClock("boottime")
        before = time.time_ns()
        for process in start_producers(obj, "to_rings"):
            assert process.wait() == 0
        after = time.time_ns()
        for event in await events.flush():
            # A clock may be slewed meanwhile, and by no means as fast as this.
            assert before - SECOND // 100 <= monotonic.unix_ns(event.timestamp)
            assert boottime.unix_ns(event.boottime) <= after + SECOND // 100
            difference = monotonic.unix_ns(event.timestamp) - boottime.unix_ns(event.boottime)
            assert abs(difference) < SECOND


async def test_events_from_before_and_after_a_step_of_the_clock(obj) -> None:
    require_guest()
    clock, step = bpfstream.WallClock(), -3 * 3600 * SECOND
    async with obj.events("even") as events:
        fd = obj.programs["to_rings"].fd

        async def event_now():
            assert start_producer(fd, 0, 1, "=2Q").wait() == 0
            return (await events.receive()).timestamp

        early, before = time.time_ns(), await event_now()
        clock.compare()
        time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + step)
        try:
            stepped = time.time_ns()
            clock.compare()
            after = await event_now()
            assert early <= clock.unix_ns(before) <= stepped - step
            assert stepped <= clock.unix_ns(after) <= time.time_ns()
        finally:
            time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() - step)
        assert abs(clock.unix_ns(before) - early) < 3600 * SECOND
