"""Event streams in asyncio programs: the same core, so what is tested is how it waits."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from bpfstream.aio import EventStream
from bpfstream.errors import DecodeError, StreamBusyError, StreamClosedError
from tests.support.fake_ring import NUMBERS, FakeRing

Stream = EventStream[int]
Test = Callable[..., Coroutine[Any, Any, None]]


def in_asyncio(test: Test) -> Callable[..., None]:
    """Run a test in asyncio, with a ring and a stream of it."""

    @wraps(test)
    def run(native: bool) -> None:
        async def main() -> None:
            ring = FakeRing()
            async with EventStream(ring, NUMBERS, native=native) as stream:
                await asyncio.wait_for(test(ring, stream), 60)

        asyncio.run(main())

    del run.__wrapped__  # type: ignore[attr-defined] # pytest would look for its arguments
    return run


@in_asyncio
async def test_waits_for_an_event(ring: FakeRing, stream: Stream) -> None:
    receiving = asyncio.create_task(stream.receive())
    await asyncio.sleep(0.01)
    assert not receiving.done()
    ring.put(7)
    assert await receiving == 7


@in_asyncio
async def test_iterates_over_events(ring: FakeRing, stream: Stream) -> None:
    ring.put(*range(5000))
    events = []
    async for event in stream:
        events.append(event)
        if len(events) == 5000:
            break
    assert events == list(range(5000))


@in_asyncio
async def test_iterates_over_batches(ring: FakeRing, stream: Stream) -> None:
    ring.put(*range(500))
    async for batch in stream.batches():
        assert batch == list(range(500))
        break


@in_asyncio
async def test_flush_waits_for_nothing(ring: FakeRing, stream: Stream) -> None:
    assert await stream.flush() == []
    ring.silent = True
    ring.put(1, 2)
    assert await stream.flush() == [1, 2]


@in_asyncio
async def test_a_program_that_wakes_nobody_is_swept(ring: FakeRing, stream: Stream) -> None:
    ring.silent = True
    receiving = asyncio.create_task(stream.receive())
    await asyncio.sleep(0.01)
    ring.put(1)
    assert await receiving == 1


@in_asyncio
async def test_many_events_are_read_by_the_timer(ring: FakeRing, stream: Stream) -> None:
    async def produce() -> None:
        for value in range(2000):
            ring.put(value)
            if value % 10 == 0:
                await asyncio.sleep(0)

    producing = asyncio.create_task(produce())
    events = []
    while len(events) < 2000:
        events += await stream.receive_batch()
    await producing
    assert events == list(range(2000))


@in_asyncio
async def test_a_cancelled_task_has_taken_nothing(ring: FakeRing, stream: Stream) -> None:
    events: list[int] = []

    async def consume() -> None:
        if len(events) % 2:
            events.append(await stream.receive())
        else:
            events.extend(await stream.receive_batch())

    value = 0
    for turns in range(300):
        consuming = asyncio.create_task(consume())
        for turn in range(turns % 7):
            if turn == turns % 3:
                ring.put(value)
                value += 1
            await asyncio.sleep(0)
        consuming.cancel()
        await asyncio.wait([consuming])
        assert consuming.cancelled() or consuming.exception() is None
    events += await stream.flush()
    assert events == list(range(value))
    assert stream.statistics().received == value


@in_asyncio
async def test_iteration_lets_other_tasks_run(ring: FakeRing, stream: Stream) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    for _ in range(20):
        ring.put(*range(1000))
        before = turns
        async for event in stream:
            if event == 999:
                break
        assert turns > before
    running.cancel()


@in_asyncio
async def test_closing_ends_a_wait(ring: FakeRing, stream: Stream) -> None:
    receiving = asyncio.create_task(stream.receive())
    await asyncio.sleep(0.01)
    await stream.aclose()
    with pytest.raises(StreamClosedError):
        await receiving
    assert ring.closed == 1


@in_asyncio
async def test_closing_is_idempotent_and_what_follows_raises(
    ring: FakeRing, stream: Stream
) -> None:
    ring.put(1, 2)
    assert await stream.receive() == 1
    await stream.aclose()
    await stream.aclose()
    stream.close()
    assert ring.content == [2], "it is there for the next stream"
    for receive in (stream.receive, stream.receive_batch, stream.flush, stream.__anext__):
        with pytest.raises(StreamClosedError):
            await receive()


@in_asyncio
async def test_one_task_receives_at_a_time(ring: FakeRing, stream: Stream) -> None:
    receiving = asyncio.create_task(stream.receive())
    await asyncio.sleep(0.01)
    with pytest.raises(StreamBusyError):
        await stream.receive_batch()
    receiving.cancel()


@in_asyncio
async def test_a_bad_record_is_an_error_and_the_stream_goes_on(
    ring: FakeRing, stream: Stream
) -> None:
    ring.put(1, DecodeError("bad", type_name="event", record=b"\1"), 2)
    assert await stream.receive() == 1
    with pytest.raises(DecodeError):
        await stream.receive()
    assert await stream.receive() == 2


@in_asyncio
async def test_every_coroutine_lets_others_run(ring: FakeRing, stream: Stream) -> None:
    names = [
        name
        for name, function in inspect.getmembers(EventStream, inspect.iscoroutinefunction)
        if not name.startswith("_")
    ]
    assert {"receive", "receive_batch", "flush", "aclose"} <= set(names)
    for name in sorted(names, key="aclose".__eq__):
        ring.put(*range(5))
        assert await suspends(getattr(stream, name)()), name


async def suspends(awaitable: Awaitable[object]) -> bool:
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    running = asyncio.create_task(other())
    await awaitable
    before = ran
    await running
    return before


PROGRAM = """
import asyncio, sys, bpfstream.aio
from tests.support.fake_ring import NUMBERS, FakeRing

async def main():
    ring = FakeRing()
    async with bpfstream.aio.EventStream(ring, NUMBERS) as stream:
        ring.put(*range(10))
        assert [await stream.receive() for _ in range(5)] == [0, 1, 2, 3, 4]
        assert await stream.flush() == [5, 6, 7, 8, 9]
        receiving = asyncio.create_task(stream.receive())
        await asyncio.sleep(0.01)
    try:
        await receiving
    except bpfstream.errors.StreamClosedError:
        print("trio" in sys.modules)

asyncio.run(main())
"""


def test_trio_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
