"""How an event stream hands events over: batches, cancellation, closing, slow and busy rings."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from bpfstream.errors import DecodeError, StreamError
from bpfstream.streams import EventStream
from tests.support.fake_ring import NUMBERS, FakeRing


@pytest.fixture
def ring() -> FakeRing:
    return FakeRing()


@pytest.fixture
def stream(ring: FakeRing, native: bool) -> Iterator[EventStream[int]]:
    with ExitStack() as closing:
        stream = EventStream(ring, NUMBERS, native=native)
        closing.callback(stream.close)
        yield stream


async def test_is_a_receive_channel(ring: FakeRing, stream: EventStream[int]) -> None:
    assert isinstance(stream, trio.abc.ReceiveChannel)
    ring.put(1, 2, 3)
    assert await stream.receive() == 1
    assert [event async for event, _ in azip(stream, 2)] == [2, 3]


async def test_waits_for_the_first_event(ring: FakeRing, stream: EventStream[int]) -> None:
    async with trio.open_nursery() as nursery:
        received: list[int] = []

        async def consume() -> None:
            received.append(await stream.receive())

        nursery.start_soon(consume)
        await trio.testing.wait_all_tasks_blocked()
        assert received == []
        ring.put(7)
    assert received == [7]


async def test_a_batch_is_all_that_one_look_finds(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.put(*range(500))
    assert await stream.receive_batch() == list(range(500))


async def test_a_full_ring_is_taken_in_several_batches(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    ring.put(*range(20_000))
    events: list[int] = []
    async for batch in stream.batches():
        events += batch
        if len(events) == 20_000:
            break
    assert events == list(range(20_000))
    assert 1 < stream.statistics().drains < 20_000 / 64


async def test_single_events_and_batches_mix(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.put(*range(5))
    assert await stream.receive() == 0
    assert await stream.receive_batch() == [1, 2, 3, 4]


async def test_changing_a_batch_changes_nothing_else(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    ring.put(1, 2)
    batch = await stream.receive_batch()
    batch.clear()
    ring.put(3)
    assert await stream.receive_batch() == [3]
    assert stream.statistics().received == 3


def coroutine_functions(kind: type) -> list[str]:
    """The public ones of a class; a plain function that returns a coroutine is one too."""
    return [
        name
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(function) or "Awaitable" in str(function.__annotations__))
    ]


def test_the_coroutines_are_known() -> None:
    assert {"receive", "receive_batch", "flush", "aclose"} <= set(coroutine_functions(EventStream))


@pytest.mark.parametrize("name", coroutine_functions(EventStream))
@pytest.mark.parametrize("content", [range(0), range(10)], ids=["empty", "filled"])
async def test_every_coroutine_is_a_checkpoint(
    ring: FakeRing, stream: EventStream[int], name: str, content: range
) -> None:
    async with trio.open_nursery() as nursery:
        if content:
            ring.put(*content)
        else:

            async def put_later() -> None:
                await trio.testing.wait_all_tasks_blocked()
                ring.put(1)

            nursery.start_soon(put_later)
        with trio.testing.assert_checkpoints():
            await getattr(stream, name)()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("iterate", [aiter, EventStream.batches], ids=["events", "batches"])
async def test_the_first_turn_of_an_iteration_is_a_checkpoint(
    ring: FakeRing, stream: EventStream[int], iterate
) -> None:
    ring.put(*range(10))
    with trio.testing.assert_checkpoints():
        await anext(iterate(stream))


@pytest.mark.parametrize("name", ["receive", "receive_batch", "flush"])
async def test_what_follows_a_close_raises(stream: EventStream[int], name: str) -> None:
    stream.close()
    with pytest.raises(trio.ClosedResourceError):
        await getattr(stream, name)()


async def test_a_cancelled_receive_takes_nothing(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.put(*range(4))
    taken: list[int] = []
    for _ in range(20):
        with trio.CancelScope() as scope:
            scope.cancel()
            taken.append(await stream.receive())
        with trio.move_on_after(0):
            taken += await stream.receive_batch()
    assert taken == []
    assert await stream.receive_batch() == [0, 1, 2, 3]


async def test_iteration_notices_a_cancellation_in_the_middle_of_a_batch(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    ring.put(*range(1000))
    taken: list[int] = []
    with trio.CancelScope() as scope:
        async for event in stream:
            taken.append(event)
            if event == 100:
                scope.cancel()
                work(0.002)
    assert taken == list(range(len(taken)))
    assert len(taken) <= 101 + 64
    assert await stream.receive() == len(taken)


async def test_iteration_lets_other_tasks_run(ring: FakeRing, stream: EventStream[int]) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        ring.put(*range(1000))
        count = 0
        async for _ in stream:
            work(0.0005)
            count += 1
            if count == 200:
                break
        assert turns >= 2
        nursery.cancel_scope.cancel()


async def test_what_is_not_handed_over_stays_in_the_ring(ring: FakeRing) -> None:
    ring.put(*range(10))
    stream = EventStream(ring, NUMBERS)
    assert await stream.receive() == 0
    assert await stream.receive() == 1
    await stream.aclose()
    assert ring.content == list(range(2, 10))
    assert stream.statistics().received == 2


async def test_closing_is_idempotent_and_ends_the_stream(ring: FakeRing) -> None:
    stream = EventStream(ring, NUMBERS)
    async with stream:
        assert not stream.is_closed
    await stream.aclose()
    stream.close()
    assert stream.is_closed
    assert ring.closed == 1
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_batch()
    with pytest.raises(trio.ClosedResourceError):
        await anext(aiter(stream))


async def test_a_closed_stream_keeps_its_statistics(ring: FakeRing) -> None:
    stream = EventStream(ring, NUMBERS)
    ring.put(1, 2, 3)
    await stream.receive()
    stream.close()
    statistics = stream.statistics()
    assert (statistics.received, statistics.decoded) == (1, 1)
    assert statistics.backlog == 2 * 16
    assert stream.statistics() is statistics


async def test_statistics_count_events_as_they_are_handed_over(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    ring.put(*range(10))
    for received in range(1, 4):
        await stream.receive()
        assert stream.statistics().received == received
    statistics = stream.statistics()
    assert statistics.decoded == 10
    assert statistics.drains == 1
    assert statistics.wakeups == 0
    assert statistics.capacity == ring.capacity


async def test_flush_takes_what_is_there_and_waits_for_nothing(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    assert await stream.flush() == []
    ring.silent = True
    ring.put(*range(5000))
    assert await stream.flush() == list(range(5000))
    assert await stream.flush() == []
    assert ring.content == []
    assert stream.statistics().received == 5000


async def test_flush_begins_with_what_is_at_hand(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.put(1, 2, 3)
    assert await stream.receive() == 1
    ring.put(4)
    assert await stream.flush() == [2, 3, 4]


async def test_a_cancelled_flush_takes_nothing(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.put(1, 2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.flush()
    assert await stream.flush() == [1, 2]


async def test_columns_follow_events(ring: FakeRing) -> None:
    """What was not handed over as an event comes as a column."""
    async with EventStream(ring, NUMBERS, columns=lambda *_: NUMBERS) as stream:
        ring.put(*range(10))
        assert await stream.receive() == 0
        assert await anext(stream.columns()) == list(range(1, 10))
        assert stream.statistics().received == 10
        assert ring.content == []


async def test_columns_need_a_struct(stream: EventStream[int]) -> None:
    with pytest.raises(StreamError, match="columns"):
        stream.columns()


async def test_there_are_two_formats_of_columns(stream: EventStream[int]) -> None:
    with pytest.raises(ValueError, match="pandas"):
        stream.columns("pandas")  # type: ignore[call-overload]


async def test_what_is_handed_over_is_published_before_the_stream_sleeps(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    ring.put(1, 2, 3)
    await stream.receive_batch()
    assert ring.held_back == 1, "meanwhile nobody need wake the consumer"
    with trio.move_on_after(0.01):
        await stream.receive()
    assert ring.held_back == 0


async def test_closing_publishes(ring: FakeRing) -> None:
    stream = EventStream(ring, NUMBERS)
    ring.put(1, 2, 3)
    await stream.receive_batch()
    assert ring.held_back == 1
    await stream.aclose()
    assert ring.held_back == 0


async def test_closing_wakes_a_waiting_task(stream: EventStream[int]) -> None:
    async with trio.open_nursery() as nursery:

        async def consume() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive()

        nursery.start_soon(consume)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()


async def test_two_tasks_can_not_receive_at_once(stream: EventStream[int]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive()
        nursery.cancel_scope.cancel()


async def test_a_busy_record_is_waited_for(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.reserve()
    async with trio.open_nursery() as nursery:
        received: list[int] = []

        async def consume() -> None:
            received.append(await stream.receive())

        nursery.start_soon(consume)
        await trio.sleep(0.05)
        assert received == []
        # Each look costs a pause of a millisecond; spinning would have looked thousands of times.
        assert stream.statistics().wakeups < 60
        ring.commit(5)
    assert received == [5]


async def test_events_sent_without_a_wakeup_are_found(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    ring.silent = True
    async with trio.open_nursery() as nursery:
        received: list[int] = []

        async def consume() -> None:
            received.append(await stream.receive())

        nursery.start_soon(consume)
        await trio.sleep(0.01)
        ring.put(9)
    assert received == [9]


async def test_a_program_that_never_wakes_is_read_by_the_timer(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    """Sweeps find the first events; from then on nobody waits for a sweep."""
    ring.silent = True
    async with trio.open_nursery() as nursery:
        received: list[int] = []

        async def consume() -> None:
            async for event in stream:
                received.append(event)

        nursery.start_soon(consume)
        for value in range(40):
            await trio.sleep(0.05)  # long enough to turn back to waiting
            ring.put(value)
        await trio.sleep(0.3)
        assert received == list(range(40))
        nursery.cancel_scope.cancel()
    # 40 sweeps would have been 40 wakeups; a timer ticks some hundred times a second.
    assert stream.statistics().wakeups > 100


@pytest.mark.parametrize("latency", [-1.0, float("inf"), float("nan")])
def test_a_latency_that_is_none_is_refused(ring: FakeRing, latency: float) -> None:
    with pytest.raises(ValueError, match="max_latency"):
        EventStream(ring, NUMBERS, max_latency=latency)
    ring.close()


async def test_a_bad_record_is_an_error_and_the_stream_goes_on(
    ring: FakeRing, stream: EventStream[int]
) -> None:
    bad = DecodeError("too short", type_name="event", record=b"\1", position=16)
    ring.put(1, bad, 2)
    assert await stream.receive() == 1
    with pytest.raises(DecodeError) as caught:
        await stream.receive()
    assert caught.value.record == b"\1"
    assert await stream.receive() == 2


def work(seconds: float) -> None:
    """Something that takes a while and has no checkpoint."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def azip(source, count: int):
    """The first `count` items of an async iterable, numbered."""
    iterator = aiter(source)
    for index in range(count):
        yield await anext(iterator), index
