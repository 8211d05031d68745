"""Events of several streams in the order of their timestamps."""

from __future__ import annotations

import heapq
from functools import partial

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import DecodeError, SchemaError
from bpfstream.streams.lost import Lost
from bpfstream.streams.merging import merge
from bpfstream.streams.reorder import ReorderBuffer
from bpfstream.streams.statistics import Losses
from bpfstream.streams.subscription import Subscription
from tests.support.streams_in_memory import MemoryStream, bad_record, fan_out_of

MS = 1_000_000


class Event(msgspec.Struct):
    ts: int
    name: str = ""


def kernel_clock():
    """Nanoseconds of the test's clock, as the kernel's."""
    return round(trio.current_time() * 1e9)


def event(name=""):
    return Event(kernel_clock(), name)


by_ts = partial(merge, by="ts", clock=kernel_clock)


@pytest.fixture
def one():
    return MemoryStream()


@pytest.fixture
def other():
    return MemoryStream()


async def names(merged, count):
    return [(await merged.receive()).name for _ in range(count)]


async def test_merges_by_timestamp_whatever_is_read_first(autojump_clock, one, other):
    async with by_ts(one, other) as merged:
        other.put(event("first"))
        await trio.sleep(0.01)
        one.put(event("second"))
        await trio.sleep(0.01)
        other.put(event("third"))
        assert await names(merged, 3) == ["first", "second", "third"]
        assert merged.statistics().late == 0


async def test_orders_one_stream_whose_rings_interleave(autojump_clock, one):
    """As of a perf buffer, whose CPUs are read in turn."""
    async with by_ts(one) as merged:
        start = kernel_clock()
        await trio.sleep(0.02)
        for cpu in range(4):
            one.put(*(Event(start + cpu + 4 * number) for number in range(100)))
        stamps = [(await merged.receive()).ts for _ in range(400)]
        assert stamps == list(range(start, start + 400))


async def test_holds_an_event_for_the_delay_and_no_longer_than_an_eighth_more(autojump_clock, one):
    async with by_ts(one, delay=0.08) as merged:
        sent = event()
        one.put(sent)
        assert await merged.receive() == sent
        assert 0.08 <= trio.current_time() - sent.ts / 1e9 <= 0.0901


async def test_an_event_that_is_committed_within_the_delay_is_in_order(autojump_clock, one, other):
    async with by_ts(one, other, delay=0.05) as merged, trio.open_nursery() as nursery:
        seen = []

        async def collect():
            seen.extend(await names(merged, 2))

        nursery.start_soon(collect)
        stamped_early = event("first")
        await trio.sleep(0.001)
        other.put(event("second"))
        await trio.sleep(0.04)
        one.put(stamped_early)
    assert seen == ["first", "second"]


async def test_an_event_that_is_committed_later_is_late(autojump_clock, one, other):
    async with by_ts(one, other, delay=0.05) as merged:
        stamped_early = event("late")
        await trio.sleep(0.001)
        other.put(event("first"))
        assert await names(merged, 1) == ["first"]
        one.put(stamped_early)
        before = trio.current_time()
        assert await names(merged, 1) == ["late"]
        assert trio.current_time() == before, "given at once"
        assert merged.statistics().late == 1


async def test_order_is_exact_however_late_the_consumer_reads(autojump_clock, one, other):
    one.batch_size = other.batch_size = 7
    async with by_ts(one, other, delay=0.01) as merged:
        for number in range(200):
            (one if number % 3 else other).put(event(number))
            await trio.sleep(0.001)
        await trio.sleep(10)
        assert await names(merged, 200) == list(range(200))
        assert merged.statistics() == msgspec.structs.replace(
            merged.statistics(), received=200, held=0, late=0, early=0, ahead=0
        )


async def test_gives_nothing_that_a_busy_record_may_precede(autojump_clock, one, other):
    """A record that is reserved hides those behind it, which may be older than all others."""
    async with by_ts(one, other, delay=0.01) as merged, trio.open_nursery() as nursery:
        seen = []

        async def collect():
            seen.extend(await names(merged, 2))

        nursery.start_soon(collect)
        one.blocked = True
        hidden = event("hidden")
        await trio.sleep(0.001)
        other.put(event("seen"))
        await trio.sleep(5)
        assert seen == []
        one.put(hidden)
        one.blocked = False
    assert seen == ["hidden", "seen"]
    assert merged.statistics().late == 0


async def test_holds_no_more_than_its_capacity_and_then_gives_the_oldest_early(autojump_clock, one):
    one.batch_size = 10
    async with by_ts(one, capacity=100, delay=10) as merged:
        one.put(*(event(number) for number in range(1000)))
        start = trio.current_time()
        assert await names(merged, 900) == list(range(900))
        assert trio.current_time() == start
        statistics = merged.statistics()
        assert statistics.early >= 900
        assert statistics.held <= 100
        assert await names(merged, 100) == list(range(900, 1000))
        assert trio.current_time() >= start + 10


async def test_events_of_another_clock_are_not_held_for_ever(autojump_clock, one):
    async with by_ts(one, delay=0.05) as merged:
        one.put(Event(2**63), Event(kernel_clock()))
        stamps = {(await merged.receive()).ts for _ in range(2)}
        assert 2**63 in stamps
        assert merged.statistics().ahead == 1
        assert trio.current_time() < 1


async def test_without_a_delay_each_look_is_in_order(autojump_clock, one, other):
    async with by_ts(one, other, delay=0) as merged:
        first = event("first")
        await trio.sleep(0.001)
        one.put(event("second"))
        other.put(first)
        assert await names(merged, 2) == ["first", "second"]


async def test_iteration_batches_and_single_events_mix(autojump_clock, one):
    async with by_ts(one) as merged:
        one.put(*(event(number) for number in range(10)))
        async for each in merged:
            if each.name == 3:
                break
        assert (await merged.receive()).name == 4
        async for batch in merged.batches():
            assert [each.name for each in batch] == [5, 6, 7, 8, 9]
            break
        assert isinstance(merged, trio.abc.ReceiveChannel)


async def test_the_timestamp_is_a_field_of_a_field_or_what_a_function_says(autojump_clock):
    class Outer(msgspec.Struct):
        header: Event

    for by in ("header.ts", lambda each: each.header.ts):
        stream = MemoryStream()
        start = kernel_clock()
        await trio.sleep(1)
        stream.put(Outer(Event(start + 2)), Outer(Event(start + 1)))
        async with merge(stream, by=by, clock=kernel_clock) as merged:
            stamps = [each.header.ts - start for each in await merged.receive_batch()]
            assert stamps == [1, 2]


async def test_an_event_without_a_timestamp_is_an_error(autojump_clock, one):
    async with by_ts(one) as merged:
        one.put(event("good"), object())
        for _ in range(2):
            with pytest.raises(SchemaError, match="ts") as caught:
                await merged.receive()
            assert caught.value.field == "ts"
        assert merged.statistics().held == 2, "nothing is lost"


async def test_a_bad_record_is_an_error_and_the_merge_goes_on(autojump_clock, one, other):
    async with by_ts(one, other) as merged:
        one.put(event(1), bad_record(), event(2))
        other.put(event(3))
        with pytest.raises(DecodeError):
            await merged.receive()
        assert sorted(await names(merged, 3)) == [1, 2, 3]


async def test_an_error_while_it_waits_is_no_group(autojump_clock, one, other):
    async with by_ts(one, other) as merged, trio.open_nursery() as nursery:

        async def receive():
            with pytest.raises(DecodeError):
                await merged.receive()
            assert await names(merged, 1) == ["next"]

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        one.put(bad_record())
        await trio.testing.wait_all_tasks_blocked()
        other.put(event("next"))


async def test_a_stream_that_another_task_receives_from_is_busy(autojump_clock, one, other):
    async with by_ts(one, other) as merged, trio.open_nursery() as nursery:
        nursery.start_soon(other.receive_batch)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await merged.receive()
        nursery.cancel_scope.cancel()


async def test_a_closed_stream_is_over_and_the_others_go_on(autojump_clock, one, other):
    async with by_ts(one, other) as merged:
        one.put(event("last of one"))
        with trio.move_on_after(0.01):
            await merged.receive()
        one.close()
        await trio.sleep(0.001)
        other.put(event("of the other"))
        assert await names(merged, 2) == ["last of one", "of the other"]
        other.put(event("held"))
        with trio.move_on_after(0.01):
            await merged.receive()
        other.close()
        assert [each.name async for each in merged] == ["held"]
        with pytest.raises(trio.EndOfChannel):
            await merged.receive()


async def test_closing_closes_the_streams_and_wakes_who_waits(autojump_clock, one, other):
    merged = by_ts(one, other)
    async with trio.open_nursery() as nursery:

        async def wait():
            with pytest.raises(trio.ClosedResourceError):
                await merged.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await merged.aclose()
    with trio.testing.assert_checkpoints():
        await merged.aclose()
    assert one.is_closed
    assert other.is_closed
    assert merged.is_closed
    with pytest.raises(trio.ClosedResourceError):
        await merged.receive_batch()
    with pytest.raises(trio.ClosedResourceError):
        await anext(merged)


async def test_two_tasks_can_not_receive_at_once(autojump_clock, one):
    async with by_ts(one) as merged, trio.open_nursery() as nursery:
        nursery.start_soon(merged.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await merged.receive_batch()
        nursery.cancel_scope.cancel()


async def test_every_receive_is_a_checkpoint(autojump_clock, one):
    async with by_ts(one) as merged:
        one.put(*(event() for _ in range(10)))
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await merged.receive()
        with trio.testing.assert_checkpoints():
            await merged.receive_batch()


async def test_subscriptions_can_be_merged_and_losses_keep_their_places(autojump_clock, one, other):
    subscriptions = [Subscription(fan_out_of(stream), 100, "block") for stream in (one, other)]
    async with by_ts(*subscriptions) as merged:
        one.put(event(1))
        one.losses = Losses(kernel=5)
        other.put(event(2))
        with trio.move_on_after(0.001):
            await merged.receive()
        await trio.sleep(0.001)
        one.put(event(3))
        assert await names(merged, 1) == [1]
        assert await merged.receive() == Lost(5, "kernel")
        assert await names(merged, 2) == [2, 3]
        assert merged.statistics().late == 0


@pytest.mark.parametrize(
    "wrong", [{"delay": -1}, {"delay": float("inf")}, {"capacity": 0}, {"clock": "realtime"}]
)
def test_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=r"delay|capacity|stamped"):
        merge(object(), by="ts", **wrong)
    with pytest.raises(ValueError, match="no stream"):
        merge(by="ts")


PRODUCTIONS = st.lists(
    st.tuples(
        st.integers(0, 2),  # stream
        st.integers(0, 30 * MS),  # from the event before to the timestamp of this one
        st.integers(0, 40 * MS),  # from the timestamp to the commit
    ),
    min_size=1,
    max_size=40,
)


@given(
    productions=PRODUCTIONS,
    delay=st.sampled_from([0.05, 0.02]),
    pauses=st.lists(st.integers(0, 200 * MS), max_size=8),
)
def test_order_is_exact_for_what_is_committed_within_the_delay(productions, delay, pauses):
    """Beyond it, just those that follow a later one are late. Cancellation changes nothing."""

    async def main():
        streams = [MemoryStream() for _ in range(3)]
        seen = []
        sent = []
        stamp = 0
        for number, (stream, gap, commit) in enumerate(productions):
            stamp += gap
            heapq.heappush(sent, (stamp + commit, stamp, number, stream))

        async def produce():
            while sent:
                when, stamp, number, stream = heapq.heappop(sent)
                await trio.sleep_until(start + when / 1e9)
                streams[stream].put(Event(round(start * 1e9) + stamp, number))

        async def consume():
            waits = list(pauses)
            while len(seen) < len(productions):
                with trio.move_on_after(waits.pop() / 1e9 if waits else 1):
                    async for each in merged:
                        seen.append(each)
                        if len(seen) == len(productions):
                            return

        start = trio.current_time()
        async with by_ts(*streams, delay=delay) as merged, trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            nursery.start_soon(consume)
        latest = late = 0
        for each in seen:
            late += each.ts < latest
            latest = max(latest, each.ts)
        assert sorted(each.name for each in seen) == list(range(len(productions)))
        assert merged.statistics().late == late
        if max(commit for _, _, commit in productions) < delay * 1e9:
            assert late == 0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(batches=st.lists(st.lists(st.integers(0, 50), max_size=20), max_size=10), data=st.data())
def test_the_buffer_is_a_stable_sort(batches, data):
    buffer = ReorderBuffer("ts")
    added, taken = [], []
    for number, stamps in enumerate(batches):
        events = [Event(stamp, f"{number}.{place}") for place, stamp in enumerate(stamps)]
        buffer.add(events, now=50)
        added += events
        if data.draw(st.booleans()):
            watermark = data.draw(st.integers(0, 50))
            due = sorted((each for each in added if each.ts <= watermark), key=lambda each: each.ts)
            assert buffer.take(watermark) == due
            added = [each for each in added if each.ts > watermark]
            taken += due
    assert buffer.take(50) == sorted(added, key=lambda each: each.ts)
    assert len(buffer) == 0
