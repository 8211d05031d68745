"""The event stream for asyncio: a ring's events as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar, final

from bpfstream.aio.subscription import Subscription
from bpfstream.errors import StreamBusyError, StreamClosedError
from bpfstream.streams.base import BaseEventStream
from bpfstream.streams.base_subscription import DEFAULT_CAPACITY
from bpfstream.streams.inbox import Overflow

T = TypeVar("T")


@final
class EventStream(BaseEventStream[T]):
    """Events of one ring, in order, for asyncio programs.

    It is read as trio's `bpfstream.EventStream` is: by ``async for``, `receive`, `receive_batch`,
    `batches`, `columns`, `flush`. Nothing is lost when a task is cancelled or a time-out strikes.

    What takes an event or a batch raises

    * `StreamClosedError`: the stream was closed, before or while waiting;
    * `StreamBusyError`: another task is receiving;
    * `DecodeError`: the next record is not what its type says; the stream goes on behind it;
    * `RingCorruptedError`: the ring can't be read any further.

    Streams come from `bpfstream.aio.Object.events`. They need an event loop that watches
    descriptors, as all of Linux do.
    """

    _waiting: asyncio.Future[None] | None = None

    def __aiter__(self) -> AsyncIterator[T]:
        return self._at_hand

    def __anext__(self) -> Awaitable[T]:
        return self._at_hand.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def subscribe(
        self, capacity: int = DEFAULT_CAPACITY, overflow: Overflow = "block"
    ) -> Subscription[T]:
        """Receive every event from now on, beside other subscribers who do.

        As `bpfstream.EventStream.subscribe`, where what it means is said.

        Args:
            capacity: The most events that wait for this subscriber.
            overflow: What happens when it is slow: ``"block"``, ``"drop_oldest"``,
                ``"drop_newest"``.

        Raises:
            ValueError: There is no such overflow, or no capacity.
            StreamClosedError: The stream was closed.
            StreamBusyError: A task is receiving from the stream itself.
        """
        return Subscription(self._shared(), capacity, overflow)

    async def _checkpoint(self) -> None:
        await asyncio.sleep(0)

    async def _wait_readable(self, fd: int, look: Callable[[], None] | None) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting = waiting
        loop.add_reader(fd, _end, waiting)
        try:
            if look is not None:
                look()
            await waiting
        finally:
            self._waiting = None
            if not self.is_closed:  # else the number may be another descriptor's by now
                loop.remove_reader(fd)

    def _stop_waiting(self, fd: int) -> None:
        waiting = self._waiting
        if waiting is not None:
            waiting.get_loop().remove_reader(fd)
            if not waiting.done():
                waiting.set_exception(self.closed("the event stream"))

    @staticmethod
    def closed(what: str) -> Exception:
        """`StreamClosedError`."""
        return StreamClosedError(f"{what} is closed")

    @staticmethod
    def busy(why: str) -> Exception:
        """`StreamBusyError`."""
        return StreamBusyError(why)


def _end(waiting: asyncio.Future[Any]) -> None:
    if not waiting.done():
        waiting.set_result(None)
