"""Subscriptions of an event stream itself: what becomes of the stream while it has some."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from bpfstream.errors import DecodeError
from bpfstream.streams import EventStream, Losses, Lost, merge
from tests.support.fake_ring import NUMBERS, FakeRing


@pytest.fixture
def ring():
    return FakeRing()


@pytest.fixture
def stream(ring, native):
    stream = EventStream(ring, NUMBERS, native=native)
    yield stream
    stream.close()


async def test_subscribers_share_what_is_in_the_ring(ring, stream):
    ring.put(*range(5000))
    first, second = stream.subscribe(10_000), stream.subscribe(10_000)
    for subscription in (first, second):
        events = []
        while len(events) < 5000:
            events += await subscription.receive_batch()
        assert events == list(range(5000))
    assert ring.content == []
    assert stream.statistics().received == 5000


async def test_while_there_are_subscriptions_nobody_else_receives(ring, stream):
    ring.put(*range(3))
    iterator = aiter(stream)
    assert await anext(iterator) == 0
    with stream.subscribe() as subscription:
        for receive in (stream.receive, stream.receive_batch, stream.flush, iterator.__anext__):
            with pytest.raises(trio.BusyResourceError):
                await receive()
        with pytest.raises(trio.BusyResourceError):
            stream.look()
        assert await subscription.receive() == 1, "what was at hand is the subscribers' now"
    ring.put(3)
    assert await stream.receive_batch() == [3], "the last subscription forgot the rest"


async def test_who_receives_must_stop_before_others_subscribe(ring, stream):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            stream.subscribe()
        nursery.cancel_scope.cancel()
    stream.subscribe()


async def test_drops_are_in_the_statistics_of_the_stream(ring, stream):
    slow, fast = stream.subscribe(1, "drop_newest"), stream.subscribe()
    ring.put(*range(10))
    await fast.receive_batch()
    assert stream.statistics().lost == Losses(subscriber=9)
    slow.close()
    stream.close()
    assert stream.statistics().lost == Losses(subscriber=9)


async def test_losses_of_the_ring_are_shown(ring, stream):
    subscription = stream.subscribe()
    ring.put(1)
    ring.losses = Losses(kernel=2)
    assert await subscription.receive_batch() == [1, Lost(2, "kernel")]


async def test_closing_the_stream_closes_its_subscriptions(ring, stream):
    async with trio.open_nursery() as nursery:

        async def receive(subscription):
            with pytest.raises(trio.ClosedResourceError):
                await subscription.receive()

        for _ in range(3):
            nursery.start_soon(receive, stream.subscribe())
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        stream.subscribe()


async def test_a_bad_record_is_an_error_for_all(ring, stream):
    ring.put(1, DecodeError("too short", type_name="event", record=b""), 2)
    for subscription in (stream.subscribe(), stream.subscribe()):
        assert await subscription.receive() == 1
        with pytest.raises(DecodeError):
            await subscription.receive()
        assert await subscription.receive() == 2


async def test_a_look_tells_whether_that_is_all(ring, stream):
    assert stream.look() == ([], True)
    ring.put(1, 2)
    assert stream.look() == ([1, 2], True)
    ring.reserve()
    assert stream.look() == ([], False)
    ring.commit(3)
    assert stream.look() == ([3], True)
    assert ring.content == []


async def test_a_look_of_one_subscriber_leaves_nobody_asleep(ring, stream):
    """Nobody who waits for the ring misses what the look found, or what comes after it."""
    one, other, seen = stream.subscribe(), stream.subscribe(), []

    async def collect():
        async for event in other:
            seen.append(event)
            if event == 20:
                return

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(20):
                ring.put(number)
                assert one.look() == ([number], True)
                assert ring.held_back == 0
                await trio.testing.wait_all_tasks_blocked()
                assert seen == list(range(number + 1))
            ring.put(20)


async def test_streams_can_be_merged(ring, stream):
    other_ring = FakeRing()
    async with (
        EventStream(other_ring, NUMBERS) as other,
        merge(stream, other, by=abs, clock=lambda: 1_000, delay=0) as merged,
    ):
        ring.put(*range(0, 100, 2))
        other_ring.put(*range(1, 100, 2))
        assert await merged.receive_batch() == list(range(100))
    assert stream.is_closed
