"""Nothing is lost uncounted, doubled or torn, whatever producers and the consumer do.

Four processes on all CPUs send records of mixed size into a ring that is too small for them, while
the consumer is cancelled and resumed at random. Every record has its producer's sequence number,
and a payload made from it.
"""

from __future__ import annotations

import random
from subprocess import Popen

import pytest
import trio

import bpfstream
from bpfstream.kernel.features import Feature
from tests.support.ledger import Ledger
from tests.support.producers import start_producer
from tests.support.requirements import program_path, require

PRODUCERS = 4
RECORDS = 30_000
SEED = 20_261


async def consume_fitfully(
    events: bpfstream.EventStream[bytes], ledger: Ledger, processes: list[Popen[bytes]]
) -> None:
    """Receive one by one and in batches, with time-outs that strike anywhere, until all is read."""
    chance = random.Random(SEED)
    quiet = 0
    while quiet < 3:
        before = events.statistics().received
        with trio.move_on_after(chance.choice([0, 0.0001, 0.001, 0.01, 0.05])):
            if chance.random() < 0.5:
                async for batch in events.batches():
                    for record in batch:
                        ledger.enter(record)
            else:
                async for record in events:
                    ledger.enter(record)
        if chance.random() < 0.02:
            await trio.sleep(0.05)  # the ring fills up
        idle = events.statistics().received == before
        done = all(process.poll() is not None for process in processes)
        quiet = quiet + 1 if idle and done and events.statistics().backlog == 0 else 0


@pytest.mark.parametrize("max_latency", [0, 0.001, 0.01])
async def test_ring_buffer(max_latency: float) -> None:
    require(Feature.RINGBUF, Feature.SYSCALL_PROGRAMS)
    spec = bpfstream.ObjectSpec.from_file(program_path("ring_producer"))
    spec.programs["on_syscall"].autoload = False
    async with (
        bpfstream.load(spec) as obj,
        obj.events("events", type=bytes, max_latency=max_latency) as events,
    ):
        ledger = Ledger()
        fd = obj.programs["produce"].fd
        discard_every, wakeup_flags = 7, 0
        processes = [
            start_producer(fd, number, RECORDS, "=4I", discard_every, wakeup_flags)
            for number in range(PRODUCERS)
        ]
        await consume_fitfully(events, ledger, processes)
        assert [process.wait() for process in processes] == [0] * PRODUCERS

        tallies = [obj.maps["tallies"][number] for number in range(PRODUCERS)]
        statistics = events.statistics()
        assert [tally.attempts for tally in tallies] == [RECORDS] * PRODUCERS
        assert [tally.submitted for tally in tallies] == [
            ledger.received[number] for number in range(PRODUCERS)
        ]
        assert statistics.received == sum(ledger.received.values())
        assert statistics.discarded == sum(tally.discarded for tally in tallies)
        assert statistics.lost.kernel is not None
        assert (
            statistics.received + statistics.discarded + statistics.lost.kernel
            == RECORDS * PRODUCERS
        )
        assert statistics.lost.kernel > 0, "the ring was never full: this tested too little"
        assert statistics.discarded > 0


@pytest.mark.parametrize("max_latency", [0, 0.001, 0.01])
async def test_perf_buffer(max_latency: float) -> None:
    require(Feature.RAW_TRACEPOINT_TEST_RUN)
    spec = bpfstream.ObjectSpec.from_file(program_path("perf_producer"))
    spec.programs["on_syscall"].autoload = False
    async with (
        bpfstream.load(spec) as obj,
        obj.events("events", type=bytes, pages=4, max_latency=max_latency) as events,
    ):
        ledger = Ledger()
        fd = obj.programs["produce"].fd
        processes = [start_producer(fd, number, RECORDS, "=2Q") for number in range(PRODUCERS)]
        await consume_fitfully(events, ledger, processes)
        assert [process.wait() for process in processes] == [0] * PRODUCERS

        tallies = [obj.maps["tallies"][number] for number in range(PRODUCERS)]
        assert [tally.attempts for tally in tallies] == [RECORDS] * PRODUCERS
        assert [tally.submitted for tally in tallies] == [
            ledger.received[number] for number in range(PRODUCERS)
        ]
        refused = sum(tally.refused for tally in tallies)
        assert refused > 0, "the rings were never full: this tested too little"
        # The kernel tells of what it dropped with the next record that fits: there has to be one.
        for number in range(PRODUCERS):
            start_producer(fd, PRODUCERS + number, 1, "=2Q").wait()
        with trio.fail_after(5):
            for _ in range(PRODUCERS):
                await events.receive()
        statistics = events.statistics()
        assert statistics.lost.perf == refused
        assert statistics.received == sum(ledger.received.values()) + PRODUCERS


@pytest.mark.parametrize("name", ["ring_producer", "perf_producer"])
async def test_a_ring_nobody_reads_holds_up_nobody(name: str) -> None:
    """What finds no room is lost and counted, and the producer goes on."""
    require(
        *([Feature.RINGBUF, Feature.SYSCALL_PROGRAMS] if name == "ring_producer" else []),
        Feature.RAW_TRACEPOINT_TEST_RUN,
    )
    spec = bpfstream.ObjectSpec.from_file(program_path(name))
    spec.programs["on_syscall"].autoload = False
    layout, more = ("=4I", (0, 0)) if name == "ring_producer" else ("=2Q", ())
    async with bpfstream.load(spec) as obj, obj.events("events", type=bytes, pages=1) as events:
        fd = obj.programs["produce"].fd
        assert start_producer(fd, 0, 5000, layout, *more).wait() == 0
        received = 0
        with trio.move_on_after(1):
            async for batch in events.batches():
                received += len(batch)
        assert start_producer(fd, 0, 1, layout, *more).wait() == 0
        with trio.fail_after(5):
            await events.receive()
        statistics = events.statistics()
        assert 0 < received < 5000
        assert statistics.lost.total == 5000 - received
