"""A subscription to a stream for asyncio: one of several receivers of the same events."""

from __future__ import annotations

import asyncio
from typing import Self, TypeVar, final

from bpfstream.errors import StreamBusyError, StreamClosedError
from bpfstream.streams.base_subscription import BaseSubscription
from bpfstream.streams.fan_out import FanOut
from bpfstream.streams.inbox import Overflow

T = TypeVar("T")


@final
class Subscription(BaseSubscription[T]):
    """Every event of a stream from now on, for one of several receivers, in asyncio programs.

    It works as trio's `bpfstream.Subscription` does. A subscription that is closed raises
    `StreamClosedError`, one that another task receives from `StreamBusyError`. Subscriptions come
    from `bpfstream.aio.EventStream.subscribe`.
    """

    def __init__(self, fan_out: FanOut[T], capacity: int, overflow: Overflow) -> None:
        self._waiting: asyncio.Future[None] | None = None
        self._filling: asyncio.Timeout | None = None
        super().__init__(fan_out, capacity, overflow)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def _checkpoint(self) -> None:
        await asyncio.sleep(0)

    async def _fill(self) -> None:
        filling = asyncio.timeout(None)
        try:
            async with filling:
                self._filling = filling
                await self._fan_out.fill(self._inbox)
        except TimeoutError:
            if not filling.expired():
                raise
        finally:
            self._filling = None

    async def wait(self) -> None:
        """Wait for `wake`."""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def wake(self) -> None:
        """End a `wait`, if there is one."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def interrupt(self) -> None:
        """Make `_fill` return at once."""
        filling, self._filling = self._filling, None
        if filling is not None:
            # A time-out of now: asyncio has no other cancellation that ends with a block.
            filling.reschedule(0)

    @staticmethod
    def closed(what: str) -> Exception:
        """`StreamClosedError`."""
        return StreamClosedError(f"{what} is closed")

    @staticmethod
    def busy(why: str) -> Exception:
        """`StreamBusyError`."""
        return StreamBusyError(why)
