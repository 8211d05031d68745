"""Handing events over one by one: both twins, against a list."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.streams.delivery import SLICE_EVENTS, Delivery, delivery


class Refill:
    """What a delivery awaits when it has nothing to give, or a checkpoint is due."""

    def __init__(self, native: bool, *batches: list) -> None:
        self.batches = list(batches)
        self.calls = 0
        self.delivery: Delivery = delivery(self, native=native)

    async def __call__(self):
        self.calls += 1
        await trio.lowlevel.checkpoint()
        if not self.delivery.left:
            if not self.batches:
                raise StopAsyncIteration
            self.delivery.fill(self.batches.pop(0))
        return self.delivery.take()


async def test_iterates_over_batches(native: bool) -> None:
    refill = Refill(native, [1, 2, 3], [4], [5, 6])
    assert [event async for event in refill.delivery] == [1, 2, 3, 4, 5, 6]


EVENTS = [(), (1, 2), StopIteration("no"), ValueError, None, "text", [1]]
"""Values that an exception could mistake for its own arguments."""


async def test_gives_events_as_they_are(native: bool) -> None:
    refill = Refill(native, list(EVENTS))
    given = [event async for event in refill.delivery]
    assert all(event is original for event, original in zip(given, EVENTS, strict=True))


async def test_a_long_batch_is_looked_at_in_slices(native: bool) -> None:
    events = list(range(10 * SLICE_EVENTS + 5))
    refill = Refill(native, list(events))
    assert [event async for event in refill.delivery] == events


async def test_the_rest_of_a_time_slice_awaits(native: bool) -> None:
    """After a millisecond there is a checkpoint, at the latest behind the next 64 events."""
    refill = Refill(native, list(range(1000)))
    iterator = aiter(refill.delivery)
    for _ in range(5):
        await anext(iterator)
        calls = refill.calls
        time.sleep(0.002)  # noqa: ASYNC251 - a consumer that takes its time
        for _ in range(SLICE_EVENTS):
            await anext(iterator)
        assert refill.calls > calls


async def test_counts(native: bool) -> None:
    refill = Refill(native)
    at_hand = refill.delivery
    assert (at_hand.left, at_hand.handed_over) == (0, 0)
    at_hand.fill(list(range(100)))
    assert (at_hand.left, at_hand.handed_over) == (100, 0)
    assert at_hand.take() == 0
    assert (at_hand.left, at_hand.handed_over) == (99, 1)
    assert await anext(aiter(at_hand)) == 1
    assert (at_hand.left, at_hand.handed_over) == (98, 2)
    assert at_hand.rest() == list(range(2, 100))
    assert (at_hand.left, at_hand.handed_over) == (0, 100)
    assert at_hand.rest() == []
    at_hand.fill([])
    assert (at_hand.left, at_hand.handed_over) == (0, 0)


def test_nothing_is_at_hand(native: bool) -> None:
    at_hand = Refill(native).delivery
    with pytest.raises(IndexError):
        at_hand.take()
    assert at_hand.rest() == []


async def test_an_awaitable_that_is_not_awaited_takes_nothing(native: bool) -> None:
    refill = Refill(native, [1, 2, 3])
    at_hand = refill.delivery
    assert await anext(at_hand) == 1
    unused = at_hand.__anext__()
    if hasattr(unused, "close"):
        unused.close()
    assert await anext(at_hand) == 2


async def test_can_be_awaited_through_other_things(native: bool) -> None:
    """Those that drive an awaitable by hand, or keep its exception."""
    refill = Refill(native, list(range(20)))
    at_hand = refill.delivery
    assert await at_hand.__anext__() == 0
    assert await anext(at_hand, None) == 1
    kept = []
    for _ in range(3):
        awaitable = at_hand.__anext__().__await__()
        try:
            next(awaitable)
        except StopIteration as stop:
            kept.append(stop)
    assert [stop.value for stop in kept] == [2, 3, 4]
    assert [event async for event in at_hand] == list(range(5, 20))


async def test_an_error_of_the_refill_passes_through(native: bool) -> None:
    async def refill():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await anext(delivery(refill, native=native))


@pytest.mark.parametrize("native", [True], indirect=True, ids=["compiled"])
async def test_events_go_when_the_consumer_is_done_with_them(native: bool) -> None:
    class Event:
        pass

    events = [Event() for _ in range(10)]
    alive = [weakref.ref(event) for event in events]
    refill = Refill(native, events)
    del events
    async for _ in refill.delivery:
        if refill.delivery.left == 5:
            break
    assert sum(ref() is not None for ref in alive) <= 5 + 2


def test_a_delivery_and_its_stream_are_collected(native: bool) -> None:
    refill = Refill(native)
    refill.delivery.fill([refill])
    gone = weakref.ref(refill)
    del refill
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "arguments", [(), (print,), (print, 0, 1.0), (print, 1, -1.0), (print, 1, float("nan"))]
)
@pytest.mark.parametrize("native", [True], indirect=True, ids=["compiled"])
def test_the_compiled_twin_refuses_nonsense(native: bool, arguments: tuple) -> None:
    from bpfstream._native import hot

    with pytest.raises((TypeError, ValueError)):
        hot.Delivery(*arguments)
    with pytest.raises(TypeError):
        hot.Delivery(print, 1, 1.0).fill((1, 2))


operations = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.integers(0, 200)),
        st.sampled_from([("take", 0), ("rest", 0), ("next", 0)]),
        st.tuples(st.just("next"), st.integers(0, 150)),
    )
)


@given(operations)
def test_both_do_the_same(native: bool, steps: list[tuple[str, int]]) -> None:
    """Whatever is done in whatever order: it is a queue."""
    model: list[int] = []
    filled = 0

    async def refill() -> int:
        return at_hand.take()

    at_hand = delivery(refill, native=native)

    def take(pop: Callable[[], int]) -> None:
        if model:
            assert pop() == model.pop(0)
        else:
            with pytest.raises(IndexError):
                pop()

    for step, count in steps:
        match step:
            case "fill":
                model, filled = list(range(count)), count
                at_hand.fill(list(model))
            case "take":
                take(at_hand.take)
            case "rest":
                assert at_hand.rest() == model
                model = []
            case "next":
                for _ in range(count + 1):
                    take(lambda: run(at_hand.__anext__()))
        assert at_hand.left == len(model)
        assert at_hand.handed_over == filled - len(model)


def run(awaitable):
    """The result of an awaitable that does not wait."""
    try:
        next(awaitable.__await__())
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")
