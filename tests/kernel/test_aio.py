"""Event streams of real rings in asyncio programs."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys

import pytest

import bpfstream
import bpfstream.aio
from bpfstream.errors import StreamBusyError
from bpfstream.kernel.features import Feature
from tests.support.ledger import Ledger
from tests.support.producers import start_producer
from tests.support.requirements import program_path, require

PRODUCERS = 2
RECORDS = 20_000


def producer_spec(buffer: str) -> bpfstream.ObjectSpec:
    require(
        *([Feature.RINGBUF, Feature.SYSCALL_PROGRAMS] if buffer == "ring" else []),
        Feature.RAW_TRACEPOINT_TEST_RUN,
    )
    spec = bpfstream.ObjectSpec.from_file(program_path(f"{buffer}_producer"))
    spec.programs["on_syscall"].autoload = False
    return spec


async def consume_fitfully(
    events: bpfstream.aio.EventStream[bytes],
    ledger: Ledger,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    """One by one and in batches, with time-outs that strike anywhere, until all is read."""
    chance = random.Random(1)

    async def some() -> None:
        if chance.random() < 0.5:
            async for record in events:
                ledger.enter(record)
        else:
            async for batch in events.batches():
                for record in batch:
                    ledger.enter(record)

    while any(process.poll() is None for process in processes):
        timeout = chance.choice([0, 0.0001, 0.001, 0.01])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(some(), timeout)
    for record in await events.flush():
        ledger.enter(record)


@pytest.mark.parametrize("buffer", ["ring", "perf"])
def test_no_event_is_lost_uncounted(buffer: str) -> None:
    spec = producer_spec(buffer)

    async def main() -> None:
        async with (
            bpfstream.aio.load(spec) as obj,
            obj.events("events", type=bytes) as events,
        ):
            fd = obj.programs["produce"].fd
            layout, more = ("=4I", (7, 0)) if buffer == "ring" else ("=2Q", ())
            processes = [
                start_producer(fd, number, RECORDS, layout, *more) for number in range(PRODUCERS)
            ]
            ledger = Ledger()
            await consume_fitfully(events, ledger, processes)
            assert [process.wait() for process in processes] == [0] * PRODUCERS
            tallies = [obj.maps["tallies"][number] for number in range(PRODUCERS)]
            assert [tally.submitted for tally in tallies] == [
                ledger.received[number] for number in range(PRODUCERS)
            ]
            assert events.statistics().received == sum(ledger.received.values())

    asyncio.run(main())


def test_a_ring_has_one_stream_at_a_time() -> None:
    spec = producer_spec("ring")

    async def main() -> None:
        async with bpfstream.aio.load(spec) as obj:
            async with obj.events("events"):
                with pytest.raises(StreamBusyError, match="'events'"):
                    obj.events("events")
            async with obj.events("events"):
                pass

    asyncio.run(main())


def test_a_load_that_is_cancelled_is_undone() -> None:
    """The check of all tests for descriptors that are left open would find it."""
    spec = producer_spec("ring")

    async def load() -> None:
        async with bpfstream.aio.load(spec):
            await asyncio.sleep(60)

    async def main() -> None:
        for turns in range(5):
            loading = asyncio.create_task(load())
            for _ in range(turns):
                await asyncio.sleep(0)
            loading.cancel()
            await asyncio.wait([loading])
            assert loading.cancelled()

    asyncio.run(main())


PROGRAM = """
import asyncio, struct, sys
import bpfstream.aio
from bpfstream.kernel.program_run import program_test_run

async def main(path):
    spec = bpfstream.ObjectSpec.from_file(path)
    spec.programs["on_syscall"].autoload = False
    async with bpfstream.aio.load(spec) as obj:
        async with obj.events("events") as events:
            context = struct.pack("=4I", 0, 3, 0, 0)
            program_test_run(obj.programs["produce"].fd, context=context)
            async for event in events:
                print(event.sequence)
                if event.sequence == 2:
                    break
    print("trio" in sys.modules)

asyncio.run(main(sys.argv[1]))
"""


def test_trio_is_not_imported() -> None:
    producer_spec("ring")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, program_path("ring_producer")],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0\n1\n2\nFalse\n", "")
