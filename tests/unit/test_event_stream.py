"""How an event stream hands events over: batches, cancellation, closing, slow and busy rings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from bpfstream.errors import DecodeError
from bpfstream.rings import BatchDecoder, Drained, EachRecord, copy_record
from bpfstream.streams import EventStream, Losses

NUMBERS = EachRecord(copy_record)
"""What FakeRing does not use: it has values, not records."""


class FakeRing:
    """A ring of numbers in memory, readable through a pipe that holds a byte while it has some."""

    capacity = 1 << 20
    discarded = 0
    losses = Losses()

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        self.content: list[int | Exception] = []
        self.held = 0
        self.busy = False
        self.silent = False
        self.closed = 0

    def put(self, *values: int | Exception) -> None:
        if not self.content and not self.silent:
            os.write(self._write_end, b"!")
        self.content += values

    def reserve(self) -> None:
        """As after bpf_ringbuf_reserve: readable, yet nothing to take."""
        self.busy = True
        os.write(self._write_end, b"!")

    def commit(self, value: int) -> None:
        self.busy = False
        self.content.append(value)

    def fileno(self) -> int:
        return self._read_end

    def drain(self, decoder: BatchDecoder[list[int]], limit: int) -> Drained[list[int]]:
        self.release(self.held)
        if self.content and isinstance(self.content[0], Exception):
            raise self.content.pop(0)
        taken: list[int] = []
        for value in [] if self.busy else self.content[:limit]:
            if isinstance(value, Exception):
                break
            taken.append(value)
        self.held = len(taken)
        return Drained(taken, len(taken), len(self.content) > len(taken))

    def release(self, count: int, *, hold_back: bool = False) -> None:
        had_some = bool(self.content)
        del self.content[: min(count, self.held)]
        self.held = 0
        if had_some and not self.content and not self.silent:
            os.read(self._read_end, 1)

    def publish(self) -> bool:
        return self.pending

    def sweep(self) -> None:
        pass

    @property
    def pending(self) -> bool:
        return bool(self.content) and not self.busy

    @property
    def backlog(self) -> int:
        return len(self.content) * 16

    @property
    def fullness(self) -> float:
        return self.backlog / self.capacity

    def close(self) -> None:
        self.closed += 1
        os.close(self._read_end)
        os.close(self._write_end)


@pytest.fixture
def ring() -> FakeRing:
    return FakeRing()


@pytest.fixture
def stream(ring: FakeRing) -> Iterator[EventStream[int]]:
    with ExitStack() as closing:
        stream = EventStream(ring, NUMBERS)
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


async def test_every_receive_is_a_checkpoint(ring: FakeRing, stream: EventStream[int]) -> None:
    ring.put(*range(10))
    with trio.testing.assert_checkpoints():
        await stream.receive()
    with trio.testing.assert_checkpoints():
        await stream.receive_batch()
    with trio.testing.assert_checkpoints():
        await stream.aclose()
    with trio.testing.assert_checkpoints():
        await stream.aclose()


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
    ring: FakeRing, stream: EventStream[int], autojump_clock: trio.testing.MockClock
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


def test_a_negative_latency_is_refused(ring: FakeRing) -> None:
    with pytest.raises(ValueError, match="max_latency"):
        EventStream(ring, NUMBERS, max_latency=-1)
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
