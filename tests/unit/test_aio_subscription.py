"""Several receivers of one stream in asyncio programs: same core, so what is tested is waiting."""

from __future__ import annotations

import asyncio

import pytest

from bpfstream.aio import EventStream
from bpfstream.errors import StreamBusyError, StreamClosedError
from bpfstream.streams.lost import Lost
from tests.support.fake_ring import NUMBERS, FakeRing


def with_stream(test):
    """Run a test in asyncio, with a ring and a stream of it."""

    def run() -> None:
        async def main() -> None:
            ring = FakeRing()
            async with EventStream(ring, NUMBERS) as stream:
                await asyncio.wait_for(test(ring, stream), 60)

        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def collect(subscription, into):
    async for event in subscription:
        into.append(event)


async def others_wait():
    """Let all other tasks go on until they wait."""
    await asyncio.sleep(0.05)


async def end(*tasks):
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@with_stream
async def test_each_subscriber_sees_all_events(ring, stream):
    seen = [[], [], []]
    tasks = [asyncio.create_task(collect(stream.subscribe(), events)) for events in seen]
    await others_wait()
    for number in range(0, 100, 10):
        ring.put(*range(number, number + 10))
        await others_wait()
    assert seen == [list(range(100))] * 3
    await end(*tasks)


@with_stream
async def test_when_the_one_who_drains_is_cancelled_another_goes_on(ring, stream):
    first = asyncio.create_task(stream.subscribe().receive())
    await others_wait()
    seen = []
    second = asyncio.create_task(collect(stream.subscribe(), seen))
    await others_wait()
    assert isinstance(*await end(first), asyncio.CancelledError)
    ring.put(1)
    await others_wait()
    assert seen == [1]
    await end(second)


@with_stream
async def test_closing_ends_whatever_a_subscriber_waits_for(ring, stream):
    subscriptions = [stream.subscribe() for _ in range(3)]
    tasks = [asyncio.create_task(each.receive()) for each in subscriptions]
    await others_wait()
    subscriptions[0].close()  # it drains
    with pytest.raises(StreamClosedError):
        await tasks[0]
    subscriptions[2].close()  # it waits
    with pytest.raises(StreamClosedError):
        await tasks[2]
    assert not tasks[1].done()
    stream.close()
    with pytest.raises(StreamClosedError):
        await tasks[1]
    assert subscriptions[1].is_closed


@with_stream
async def test_who_is_slow_drops_or_blocks(ring, stream):
    ring.put(*range(10))
    slow, fast = stream.subscribe(2, "drop_oldest"), stream.subscribe()
    assert await fast.receive_batch() == list(range(10))
    assert await slow.receive_batch() == [Lost(8, "subscriber"), 8, 9]
    blocking, seen = stream.subscribe(1), []
    task = asyncio.create_task(collect(fast, seen))
    ring.put(*range(5))
    await others_wait()
    assert seen == [0]
    assert [await blocking.receive() for _ in range(5)] == list(range(5))
    await others_wait()
    assert seen == list(range(5))
    await end(task)


@with_stream
async def test_a_look_ends_the_wait_of_the_one_who_drains(ring, stream):
    one, other, seen = stream.subscribe(), stream.subscribe(), []
    task = asyncio.create_task(collect(other, seen))
    await others_wait()
    ring.silent = True
    ring.put(1)
    assert one.look() == ([1], True)
    await asyncio.sleep(0)
    await others_wait()
    assert seen == [1]
    await end(task)


@with_stream
async def test_one_task_at_a_time(ring, stream):
    subscription = stream.subscribe()
    task = asyncio.create_task(subscription.receive())
    await others_wait()
    with pytest.raises(StreamBusyError):
        await subscription.receive()
    with pytest.raises(StreamBusyError):
        await stream.receive()
    await end(task)
