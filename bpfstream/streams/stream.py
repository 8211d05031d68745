"""The event stream for trio: a ring's events as a receive channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar, final

import trio

from bpfstream.errors import closed
from bpfstream.streams.base import BaseEventStream
from bpfstream.streams.base_subscription import DEFAULT_CAPACITY
from bpfstream.streams.inbox import Overflow
from bpfstream.streams.subscription import Subscription

T = TypeVar("T")


@final
class EventStream(BaseEventStream[T], trio.abc.ReceiveChannel[T]):
    """Events of one ring, in order, as a `trio.abc.ReceiveChannel`.

    ``async for event in stream`` and `receive` take single events; `batches` is the primitive
    beneath both, `columns` the same without an object an event. A stream is read by one task at a
    time, and the ways may be mixed: none loses what another has not handed over.

    Nothing is lost at a cancellation: an event leaves the ring when it has been handed over, and
    what a closed stream leaves unread is there for the next stream on that ring buffer. (A perf
    buffer lives and dies with its stream.)

    A consumer that is too slow holds up nobody: the ring fills and the kernel drops, which
    `statistics` shows.

    What takes an event or a batch raises

    * `trio.ClosedResourceError`: the stream was closed, before or while waiting;
    * `trio.BusyResourceError`: another task is receiving;
    * `DecodeError`: the next record is not what its type says; the stream goes on behind it;
    * `RingCorruptedError`: the ring can't be read any further.

    Streams come from `bpfstream.Object.events`.

    Args:
        source: The ring; the stream closes it.
        decoder: Makes events of its records.
        max_latency: Seconds that an event may wait in the ring for others to join it. 0: the
            kernel wakes the stream for each event that finds the ring empty. Otherwise that holds
            while there are few, and when there are many the stream looks by a timer, once in this
            time.
        columns: Makes the decoder for `columns`.
        native: Use the compiled module.

    Raises:
        ValueError: `max_latency` is negative or infinite.
        OSError: There are no descriptors left.
    """

    def __aiter__(self) -> AsyncIterator[T]:  # type: ignore[override] # trio says Self; no user can tell
        return self._at_hand

    def __anext__(self) -> Awaitable[T]:  # type: ignore[override] # a coroutine or as good as one
        return self._at_hand.__anext__()

    def subscribe(
        self, capacity: int = DEFAULT_CAPACITY, overflow: Overflow = "block"
    ) -> Subscription[T]:
        """Receive every event from now on, beside other subscribers who do.

        As long as there are subscriptions, they are the only way to receive from the stream:
        whatever is received from the stream itself raises `trio.BusyResourceError`. Events in the
        ring that nobody has received yet go to the subscribers. Closing the stream closes its
        subscriptions.

        Args:
            capacity: The most events that wait for this subscriber.
            overflow: What happens when it is slow. ``"block"``: the other subscribers wait for it,
                and the ring fills up. ``"drop_oldest"`` and ``"drop_newest"``: it loses events,
                and nobody else does; a `Lost` stands in their place, and they are counted.

        Returns:
            The subscription, which has begun: a context manager that closes it, with ``with`` or
            ``async with``.

        Raises:
            ValueError: There is no such overflow, or no capacity.
            trio.ClosedResourceError: The stream was closed.
            trio.BusyResourceError: A task is receiving from the stream itself.
        """
        return Subscription(self._shared(), capacity, overflow)

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _wait_readable(self, fd: int, look: Callable[[], None] | None) -> None:
        if look is None:
            await trio.lowlevel.wait_readable(fd)
        else:
            waiting = trio.lowlevel.wait_readable(fd)  # noqa: ASYNC105 - awaited by the next line
            await _begin_and(look, waiting)

    def _stop_waiting(self, fd: int) -> None:
        trio.lowlevel.notify_closing(fd)

    @staticmethod
    def closed(what: str) -> Exception:
        """`trio.ClosedResourceError`."""
        return closed(what)

    @staticmethod
    def busy(why: str) -> Exception:
        """`trio.BusyResourceError`."""
        return trio.BusyResourceError(why)


@coroutine
def _begin_and(
    look: Callable[[], None], waiting: Coroutine[Any, Any, None]
) -> Generator[Any, Any, None]:
    """Run a coroutine, and call `look` when it waits for the first time.

    `trio.lowlevel.wait_readable` registers the descriptor before it waits, so that `look` comes
    after the registration and before trio sleeps.
    """
    try:
        trap = waiting.send(None)
        look()
        while True:
            try:
                answer = yield trap
            except BaseException as error:
                trap = waiting.throw(error)
            else:
                trap = waiting.send(answer)
    except StopIteration:
        return
