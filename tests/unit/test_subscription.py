"""Several receivers of one stream: who gets what, who drains, what a slow one does to others."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from bpfstream.errors import DecodeError, RingCorruptedError
from bpfstream.streams.lost import Lost
from bpfstream.streams.statistics import Losses
from bpfstream.streams.subscription import Subscription
from tests.support.streams_in_memory import MemoryStream, bad_record, fan_out_of


@pytest.fixture
def stream():
    return MemoryStream()


@pytest.fixture
def fan_out(stream):
    return fan_out_of(stream)


@pytest.fixture
def subscribe(fan_out):
    def subscribe(capacity=1024, overflow="block"):
        return Subscription(fan_out, capacity, overflow)

    return subscribe


async def collect(subscription, into):
    async for event in subscription:
        into.append(event)


async def test_each_subscriber_sees_all_events(stream, subscribe):
    first, second = subscribe(), subscribe()
    stream.put(1, 2, 3)
    assert [await first.receive() for _ in range(3)] == [1, 2, 3]
    assert await second.receive_batch() == [1, 2, 3]
    assert stream.batches == 1


async def test_a_subscriber_sees_what_is_sent_from_its_subscription_on(stream, subscribe):
    first = subscribe()
    stream.put(1)
    assert await first.receive() == 1
    second = subscribe()
    stream.put(2)
    assert await first.receive() == 2
    assert await second.receive_batch() == [2]


async def test_is_a_receive_channel(stream, subscribe):
    async with subscribe() as subscription:
        assert isinstance(subscription, trio.abc.ReceiveChannel)
        stream.put(*range(10))
        async for event in subscription:
            if event == 4:
                break
        async for batch in subscription.batches():
            assert batch == [5, 6, 7, 8, 9]
            break
    with subscription:
        assert subscription.is_closed


async def test_one_subscriber_drains_for_those_who_wait(stream, subscribe):
    seen = [[], [], []]
    async with trio.open_nursery() as nursery:
        for events in seen:
            nursery.start_soon(collect, subscribe(), events)
        await trio.testing.wait_all_tasks_blocked()
        assert stream.receiving == 1
        stream.put(1, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert stream.receiving == 1
        stream.put(3)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [[1, 2, 3]] * 3


async def test_nothing_is_drained_while_nobody_receives(stream, subscribe):
    subscribe(overflow="drop_oldest")
    subscribe()
    stream.put(*range(5000))
    await trio.testing.wait_all_tasks_blocked()
    assert len(stream.content) == 5000


async def test_when_the_one_who_drains_is_cancelled_another_goes_on(stream, subscribe):
    seen = []
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def drain():
            with first:
                await subscribe().receive()

        nursery.start_soon(drain)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(collect, subscribe(), seen)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        stream.put(1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [1]


async def test_when_the_one_who_drains_closes_another_goes_on(stream, subscribe):
    seen = []
    async with trio.open_nursery() as nursery:
        first = subscribe()

        async def drain():
            with pytest.raises(trio.ClosedResourceError):
                await first.receive()

        nursery.start_soon(drain)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(collect, subscribe(), seen)
        await trio.testing.wait_all_tasks_blocked()
        first.close()
        await trio.testing.wait_all_tasks_blocked()
        stream.put(1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [1]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_who_drops_harms_nobody(stream, subscribe, overflow):
    slow, fast = subscribe(4, overflow), subscribe()
    stream.put(*range(100))
    assert await fast.receive_batch() == list(range(100))
    kept = [Lost(96, "subscriber"), 96, 97, 98, 99]
    if overflow == "drop_newest":
        kept = [0, 1, 2, 3, Lost(96, "subscriber")]
    assert await slow.receive_batch() == kept
    assert (slow.statistics().lost, fast.statistics().lost) == (96, 0)
    assert slow.statistics().received == 4


async def test_who_blocks_holds_up_the_others_and_the_ring(stream, subscribe):
    slow, fast, seen = subscribe(4), subscribe(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, fast, seen)
        stream.put(*range(10))
        await trio.testing.wait_all_tasks_blocked()
        stream.put(*range(10, 20))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [0, 1, 2, 3]
        assert slow.statistics().backlog == 4
        assert list(stream.content) == list(range(10, 20))  # the ring's own room is what is left
        assert await slow.receive() == 0
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [0, 1, 2, 3, 4]
        received = [1 + event for event in range(19)]
        assert [await slow.receive() for _ in received] == received
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == list(range(20))
    assert slow.statistics().lost == 0


async def test_closing_who_blocks_lets_the_others_go_on(stream, subscribe):
    slow, fast, seen = subscribe(1), subscribe(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, fast, seen)
        stream.put(*range(10))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [0]
        slow.close()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == list(range(10))
        nursery.cancel_scope.cancel()


async def test_losses_of_the_kernel_show_in_every_subscription(stream, subscribe):
    first = subscribe()
    stream.losses = Losses(kernel=3)
    second = subscribe()
    assert await first.receive() == Lost(3, "kernel")
    stream.put(1)
    assert await first.receive() == 1
    stream.losses = Losses(kernel=5, perf=7)
    stream.put(2)
    later = [2, Lost(2, "kernel"), Lost(7, "perf")]
    assert await first.receive_batch() == later
    assert await second.receive_batch() == [1, *later]


async def test_losses_that_nobody_counts_are_not_shown(stream, subscribe):
    stream.losses = Losses(kernel=None)
    subscription = subscribe()
    stream.put(1)
    assert await subscription.receive_batch() == [1]


async def test_every_subscriber_gets_the_error_of_a_bad_record(stream, subscribe):
    subscriptions = subscribe(), subscribe()
    stream.put(1, bad_record(), 2)
    for subscription in subscriptions:
        assert await subscription.receive() == 1
        with pytest.raises(DecodeError):
            await subscription.receive()
        assert await subscription.receive() == 2


async def test_other_errors_are_for_who_drains_and_another_goes_on(stream, subscribe):
    seen = []
    async with trio.open_nursery() as nursery:

        async def drain():
            with pytest.raises(RingCorruptedError):
                await subscribe().receive()

        nursery.start_soon(drain)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(collect, subscribe(), seen)
        await trio.testing.wait_all_tasks_blocked()
        stream.put(RingCorruptedError("bad", position=0), 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [1]


async def test_closing_all_wakes_those_who_wait(stream, subscribe, fan_out):
    async with trio.open_nursery() as nursery:

        async def wait():
            subscription = subscribe()
            with pytest.raises(trio.ClosedResourceError):
                await subscription.receive()
            with pytest.raises(trio.ClosedResourceError):
                await subscription.receive_batch()

        for _ in range(3):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        fan_out.close()
    assert not fan_out


async def test_closing_is_idempotent_and_forgets(stream, subscribe, fan_out):
    subscription, other = subscribe(2, "drop_newest"), subscribe()
    stream.put(1, 2, 3)
    await other.receive_batch()
    with trio.testing.assert_checkpoints():
        await subscription.aclose()
    with trio.testing.assert_checkpoints():
        await subscription.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await anext(subscription)
    with pytest.raises(trio.ClosedResourceError):
        subscription.look()
    assert subscription.statistics().backlog == 0
    assert fan_out.dropped == 1


async def test_two_tasks_can_not_receive_at_once(stream, subscribe):
    subscription = subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await subscription.receive()
        with pytest.raises(trio.BusyResourceError):
            subscription.look()
        nursery.cancel_scope.cancel()


async def test_every_receive_is_a_checkpoint(stream, subscribe):
    subscription = subscribe()
    stream.put(*range(10))
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await subscription.receive()
    with trio.testing.assert_checkpoints():
        await subscription.receive_batch()


async def test_iteration_lets_others_run_and_notices_a_cancellation(stream, subscribe):
    subscription, seen = subscribe(overflow="drop_oldest"), []
    stream.put(*range(1000))
    with trio.CancelScope() as scope:
        async for event in subscription:
            seen.append(event)
            if event == 10:
                scope.cancel()
                await trio.lowlevel.cancel_shielded_checkpoint()
                until = trio.current_time() + 0.002
                while trio.current_time() < until:
                    pass
    assert seen == list(range(len(seen)))
    assert len(seen) <= 11 + 64
    assert await subscription.receive() == len(seen)


async def test_a_look_takes_what_is_there_and_serves_the_others_too(stream, subscribe):
    one, other, seen = subscribe(), subscribe(), []
    assert one.look() == ([], True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, other, seen)
        await trio.testing.wait_all_tasks_blocked()
        stream.content.extend([1, 2])  # and nobody is woken
        assert one.look() == ([1, 2], True)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [1, 2]
        stream.blocked = True
        stream.content.append(3)
        assert one.look() == ([3], False)
        nursery.cancel_scope.cancel()


async def test_a_look_does_not_pass_a_subscriber_who_blocks(stream, subscribe):
    one, slow = subscribe(), subscribe(2)
    stream.put(*range(5))
    assert one.look() == ([0, 1], False)
    assert one.look() == ([], False)
    assert await slow.receive_batch() == [0, 1]
    assert one.look() == ([2, 3], False)


async def test_nothing_is_lost_or_doubled_whatever_is_cancelled(stream, subscribe, autojump_clock):
    """Random subscribers receive in random ways and are cancelled at random points."""
    chance = random.Random(20_263)
    overflows = ["block", "drop_oldest", "drop_newest", "block"]
    subscriptions = [subscribe(chance.choice([1, 3, 64]), overflow) for overflow in overflows]
    seen = [[] for _ in subscriptions]
    total, over = 3000, trio.Event()

    async def produce():
        sent = 0
        while sent < total:
            burst = min(chance.randint(1, 40), total - sent)
            stream.put(*range(sent, sent + burst))
            sent += burst
            await trio.sleep(chance.random() * 0.01)
        await trio.sleep(60)  # long enough for the slowest
        over.set()

    async def consume(subscription, events):
        while not over.is_set():
            with trio.move_on_after(chance.choice([0, 0.001, 0.01, 0.1])):
                match chance.randint(0, 2):
                    case 0:
                        async for event in subscription:
                            events.append(event)
                    case 1:
                        events.append(await subscription.receive())
                    case 2:
                        events.extend(await subscription.receive_batch())
            await trio.sleep(chance.choice([0, 0.001]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        for subscription, events in zip(subscriptions, seen, strict=True):
            nursery.start_soon(consume, subscription, events)

    for subscription, events in zip(subscriptions, seen, strict=True):
        expected = 0
        for event in events:
            expected = expected + event.count if isinstance(event, Lost) else event + 1
            if not isinstance(event, Lost):
                assert event == expected - 1
        assert expected == total
        assert subscription.statistics().received == sum(not isinstance(e, Lost) for e in events)
    assert [each.statistics().lost for each in subscriptions][::3] == [0, 0]
