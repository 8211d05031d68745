"""No wakeup is lost, whichever way the stream waits, while programs send and pause at random.

A program on each CPU sends some bursts and then nothing before all of them have come: an event that
nobody announces, or that a stream overlooks as it goes to sleep, would not come at all. The sweep
that would find it later is made rare.
"""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable

import pytest
import trio

import bpfstream
from bpfstream.kernel.features import Feature
from bpfstream.kernel.program_run import program_test_run
from bpfstream.streams import pacing
from tests.support.ledger import Ledger
from tests.support.requirements import program_path, require

SECONDS = float(os.environ.get("BPFSTREAM_STRESS_SECONDS", "1.5"))
"""How long each of the tests sends."""

PATIENCE = 120
"""Seconds after which an event is taken for overlooked: the machine may have much else to do."""


class Consumer:
    """Takes events one by one or in batches, as chance will have it."""

    def __init__(self, events: bpfstream.EventStream[bytes], chance: random.Random) -> None:
        self.ledger = Ledger()
        self._events = events
        self._chance = chance
        self._progress = trio.Event()

    async def run(self) -> None:
        while True:
            if self._chance.random() < 0.5:
                batch = [await self._events.receive()]
            else:
                batch = await self._events.receive_batch()
            for record in batch:
                self.ledger.enter(record)
            self._progress.set()
            self._progress = trio.Event()

    async def wait_for(self, producer: int, count: int) -> None:
        with trio.fail_after(PATIENCE):
            while self.ledger.received[producer] < count:
                await self._progress.wait()


def send_bursts(program_fd: int, context: Callable[[int], bytes], cpu: int, seed: int) -> None:
    """Some bursts of events on a CPU; for a thread."""
    chance = random.Random(seed)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        for _ in range(chance.randint(1, 30)):
            program_test_run(program_fd, context=context(chance.choice([1, 1, 1, 2, 30])))
            time.sleep(chance.choice([0, 0, 0.00005, 0.001]))
    finally:
        os.sched_setaffinity(0, before)


async def send_and_wait(
    obj: bpfstream.Object, consumer: Consumer, context: Callable[[int, int], bytes], producer: int
) -> None:
    """Send bursts on a CPU, wait until they came, pause: again and again."""
    chance = random.Random(producer)
    cpus = sorted(os.sched_getaffinity(0))
    cpu = cpus[producer % len(cpus)]
    end = trio.current_time() + SECONDS
    while trio.current_time() < end:
        await trio.to_thread.run_sync(
            send_bursts,
            obj.programs["produce"].fd,
            lambda count: context(producer, count),
            cpu,
            chance.randrange(1 << 30),
        )
        await consumer.wait_for(producer, obj.maps["tallies"][producer].submitted)
        await trio.sleep(chance.choice([0, 0.0002, 0.002, 0.03]))


@pytest.mark.parametrize("max_latency", [0, 0.0002, 0.001, 0.01])
@pytest.mark.parametrize("buffer", ["ring", "perf"])
async def test_every_event_comes(
    buffer: str, max_latency: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(
        *([Feature.RINGBUF, Feature.SYSCALL_PROGRAMS] if buffer == "ring" else []),
        Feature.RAW_TRACEPOINT_TEST_RUN,
    )
    monkeypatch.setattr(pacing, "UNTIL_READABLE", pacing.Wait(600, readable=True))
    spec = bpfstream.ObjectSpec.from_file(program_path(f"{buffer}_producer"))
    spec.programs["on_syscall"].autoload = False

    def context(producer: int, count: int) -> bytes:
        if buffer == "ring":
            return struct.pack("=4I", producer, count, 0, 0)
        return struct.pack("=2Q", producer, count)

    async with (
        bpfstream.load(spec) as obj,
        obj.events("events", type=bytes, max_latency=max_latency) as events,
    ):
        consumer = Consumer(events, random.Random(7))
        async with trio.open_nursery() as receiving:
            receiving.start_soon(consumer.run)
            async with trio.open_nursery() as sending:
                for producer in range(2):
                    sending.start_soon(send_and_wait, obj, consumer, context, producer)
            receiving.cancel_scope.cancel()
        tallies = [obj.maps["tallies"][producer] for producer in range(2)]
        assert [tally.submitted for tally in tallies] == [
            consumer.ledger.received[producer] for producer in range(2)
        ]
        statistics = events.statistics()
        assert statistics.received == sum(tally.submitted for tally in tallies)
        assert statistics.lost.total == sum(tally.attempts for tally in tallies) - sum(
            tally.submitted for tally in tallies
        )
