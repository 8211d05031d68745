"""Events of several streams, or of one whose rings interleave, in the order of their timestamps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar, final

import msgspec
import trio

from bpfstream.errors import closed
from bpfstream.kernel.clocks import ClockName, clock_named, read_clock
from bpfstream.streams.batches import Batches
from bpfstream.streams.delivery import SLICE_SECONDS, delivery
from bpfstream.streams.reorder import ReorderBuffer, Timestamp

T = TypeVar("T")
B = TypeVar("B")

DEFAULT_DELAY = 0.05
"""Seconds between an event's timestamp and its commit that are taken for possible."""

DEFAULT_CAPACITY = 1 << 16
"""Events that are held at most."""

_ROUND = 1 / 8
"""Of the delay: in such steps events are given, each step having a cost."""

_SHORTEST_ROUND = 0.001
_END_OF_TIME = 1 << 64


class Input(Protocol[T]):
    """What can be merged: an `EventStream`, or a `Subscription` to one."""

    async def receive_batch(self) -> list[T]:
        """Wait for a batch of events."""
        ...

    def look(self) -> tuple[list[T], bool]:
        """Take what is there, without waiting, and say whether that is all."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class MergeStatistics(msgspec.Struct, frozen=True):
    """A snapshot of a merge's counters.

    Attributes:
        received: Events handed to the consumer.
        held: Events that wait for older ones.
        late: Events that came after one with a later timestamp: they took longer than `delay` from
            their timestamp to the ring, or older ones had to be given early.
        early: Events that were given before older ones were impossible, as no more could be held.
        ahead: Events whose timestamps were in the future: they are of another clock than `clock`.
    """

    received: int
    held: int
    late: int
    early: int
    ahead: int


def merge(
    *streams: Input[T],
    by: str | Timestamp,
    delay: float = DEFAULT_DELAY,
    clock: ClockName | Callable[[], int] = "monotonic",
    capacity: int = DEFAULT_CAPACITY,
) -> Merge[T]:
    """Merge streams into one, ordered by the timestamps of the events.

        async with bpfstream.merge(opens, closes, by="timestamp") as events:
            async for event in events:
                ...

    With one stream of a perf buffer, it orders the events of all CPUs. See `Merge`.

    Args:
        streams: Event streams, or subscriptions; the merge closes them.
        by: The field with the timestamp, in nanoseconds (``"header.ns"`` if it is in a nested
            struct), or a function that gives an event's timestamp.
        delay: Seconds that may pass from an event's timestamp to its commit; each event is held
            so long.
        clock: What events are stamped with: ``"monotonic"`` by ``bpf_ktime_get_ns``, ``"boottime"``
            by ``bpf_ktime_get_boot_ns``; or a function that reads the clock, in nanoseconds.
        capacity: The most events that are held, but for one batch that may be more.

    Raises:
        ValueError: There is no stream, no such clock, no capacity or a negative delay.
    """
    if not streams:
        raise ValueError("there is no stream to merge")
    if not 0 <= delay < float("inf"):
        raise ValueError(f"delay is in seconds, neither negative nor infinite: {delay}")
    if capacity < 1:
        raise ValueError(f"capacity is at least 1 event, not {capacity}")
    if isinstance(clock, str):
        number = clock_named(clock)
        return Merge(streams, ReorderBuffer(by), delay, lambda: read_clock(number), capacity)
    return Merge(streams, ReorderBuffer(by), delay, clock, capacity)


@final
class Merge(trio.abc.ReceiveChannel[T], Generic[T]):
    """Several streams as one `trio.abc.ReceiveChannel`, in the order of the events' timestamps.

    An event is given when no older one can come any more: when all rings were read empty after a
    time t, all events committed before t are known, and so are all that were stamped `delay` before
    t, if none takes longer than that from its timestamp to its commit. So the order is exact
    however late the consumer comes to read, and `delay` has to cover only what happens inside of a
    program: microseconds where it stamps the event that it sends, more where it keeps the timestamp
    of an earlier moment, such as the start of a system call. Events that take longer are *late*:
    they are given at once, and counted. An event is given at most `delay` and an eighth after its
    timestamp, or as soon after that as somebody receives.

    While a record is reserved and not committed, or a subscription waits for another to make room,
    it is unknown what comes, and nothing is given. When `capacity` is held, the oldest events are
    given early.

    The streams are read only while somebody receives, so a slow consumer holds up none of them. A
    cancellation loses nothing. A stream that is closed is over, and the others go on; when all are,
    what is held is given, and then the merge is at its end.

    What takes an event or a batch raises

    * `trio.EndOfChannel`: all streams are over;
    * `trio.ClosedResourceError`: the merge was closed;
    * `trio.BusyResourceError`: another task is receiving, from it or from one of the streams;
    * `SchemaError`: an event has no timestamp;
    * what the streams raise; they go on behind it, if they do.

    `merge` makes one.
    """

    def __init__(
        self,
        inputs: tuple[Input[T], ...],
        buffer: ReorderBuffer[T],
        delay: float,
        now: Callable[[], int],
        capacity: int,
    ) -> None:
        self._inputs = inputs  # those that are not over
        self._buffer = buffer
        self._delay = round(delay * 1e9)
        self._round = max(delay * _ROUND, _SHORTEST_ROUND)
        self._now = now
        self._capacity = capacity
        self._watermark = -_END_OF_TIME
        self._arrived: deque[tuple[list[T], int]] = deque()  # batches, and when they were received
        self._failures: deque[Exception] = deque()
        self._taken = 0
        self._at_hand = delivery(lambda: _until_end(self.receive()))
        self._receiving = False
        self._closing = ExitStack()
        for each in inputs:
            self._closing.callback(each.close)
        self._is_closed = False

    # Receiving

    async def receive(self) -> T:
        """Take the next event, waiting for it if there is none."""
        self._begin()
        try:
            await trio.lowlevel.checkpoint()
            if not self._at_hand.left:
                self._at_hand.fill(await self._next())
            self._check_open()
            return self._at_hand.take()
        finally:
            self._receiving = False

    async def receive_batch(self) -> list[T]:
        """Take all events that can be given, waiting for one if there is none."""
        self._begin()
        try:
            await trio.lowlevel.checkpoint()
            if self._at_hand.left:
                return self._at_hand.rest()
            return await self._next()
        finally:
            self._receiving = False

    def batches(self) -> AsyncIterator[list[T]]:
        """Iterate over batches of events: ``async for batch in merged.batches()``."""
        return Batches(lambda: _until_end(self.receive_batch()))

    def __aiter__(self) -> AsyncIterator[T]:  # type: ignore[override] # as EventStream does
        return self._at_hand

    def __anext__(self) -> Awaitable[T]:  # type: ignore[override]
        return self._at_hand.__anext__()

    # The merge itself

    @property
    def is_closed(self) -> bool:
        """Whether the merge was closed."""
        return self._is_closed

    def statistics(self) -> MergeStatistics:
        """What was counted so far."""
        buffer = self._buffer
        return MergeStatistics(
            received=self._taken - self._at_hand.left,
            held=len(buffer) + sum(len(batch) for batch, _ in self._arrived),
            late=buffer.late,
            early=buffer.early,
            ahead=buffer.ahead,
        )

    def close(self) -> None:
        """Close the merge and its streams, and forget what is held; idempotent."""
        self._is_closed = True
        self._closing.close()

    async def aclose(self) -> None:
        """Close the merge as `close` does; a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    # Inside

    async def _next(self) -> list[T]:
        """The next events, at least one. Nothing awaits between the buffer and the return."""
        while True:
            self._check_open()
            if self._failures:
                raise self._failures.popleft()
            await self._read_empty()
            excess = len(self._buffer) - self._capacity + 1
            events = self._buffer.take(self._watermark, excess=excess)
            if events:
                self._taken += len(events)
                return events
            if not self._inputs:
                raise trio.EndOfChannel
            await self._wait()

    async def _read_empty(self) -> None:
        """Read all that was committed until now, as long as there is room, and move on."""
        self._enter()
        start = self._now()
        slice_end = time.monotonic() + SLICE_SECONDS
        all_is_there = True
        for each in self._inputs:
            while True:
                if len(self._buffer) >= self._capacity:
                    return
                try:
                    batch, is_all = each.look()
                except (trio.EndOfChannel, trio.ClosedResourceError):
                    self._is_over(each)
                    break
                self._arrived.append((batch, self._now()))
                self._enter()
                if is_all or not batch:
                    all_is_there = all_is_there and is_all
                    break
                if time.monotonic() >= slice_end:
                    await trio.lowlevel.checkpoint()
                    self._check_open()
                    slice_end = time.monotonic() + SLICE_SECONDS
        if not self._inputs:
            self._watermark = _END_OF_TIME
        elif all_is_there:
            self._watermark = max(self._watermark, start - self._delay)

    async def _wait(self) -> None:
        """Wait for the first event, or until the oldest is due; read meanwhile."""
        pause = float("inf")
        if len(self._buffer):
            due = (self._buffer.oldest + self._delay - self._now()) / 1e9
            pause = max(due, self._round)
        with trio.move_on_after(pause):
            async with trio.open_nursery() as nursery:
                for each in self._inputs:
                    nursery.start_soon(self._read, each, nursery.cancel_scope)

    async def _read(self, stream: Input[T], pause: trio.CancelScope) -> None:
        """Read a stream until the pause ends, and end it when there is something to do."""
        try:
            holding = True
            while holding and len(self._buffer) < self._capacity:
                holding = len(self._buffer) > 0
                batch = await stream.receive_batch()
                self._arrived.append((batch, self._now()))
                self._enter()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            self._is_over(stream)
        except Exception as error:  # for the receiver, and not as one of a group
            self._failures.append(error)
        pause.cancel()

    def _enter(self) -> None:
        """Put into the buffer what has arrived; an error leaves it where it is."""
        while self._arrived:
            batch, when = self._arrived[0]
            self._buffer.add(batch, when)
            self._arrived.popleft()

    def _is_over(self, stream: Input[T]) -> None:
        self._inputs = tuple(each for each in self._inputs if each is not stream)

    def _begin(self) -> None:
        self._check_open()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this merge")
        self._receiving = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed("the merge of event streams")


async def _until_end(receiving: Awaitable[B]) -> B:
    try:
        return await receiving
    except trio.EndOfChannel:
        raise StopAsyncIteration from None
