"""A subscription to a stream for trio: one of several receivers of the same events."""

from __future__ import annotations

from typing import TypeVar, final

import trio

from bpfstream.errors import closed
from bpfstream.streams.base_subscription import BaseSubscription
from bpfstream.streams.fan_out import FanOut
from bpfstream.streams.inbox import Overflow
from bpfstream.streams.lost import Lost

T = TypeVar("T")


@final
class Subscription(BaseSubscription[T], trio.abc.ReceiveChannel[T | Lost]):
    """Every event of a stream from now on, for one of several receivers.

        with events.subscribe(overflow="drop_oldest") as subscription:
            async for event in subscription:
                ...

    It is a `trio.abc.ReceiveChannel` that gives events, and a `Lost` wherever some are missing:
    ``isinstance(event, bpfstream.Lost)``. It may be received from by one task at a time.

    Nothing happens in the background. A subscriber whose queue is empty drains the stream for all,
    and puts what it finds into everybody's queue; the others wait for it. So queues fill only while
    some subscriber receives; otherwise events stay in the ring. A cancellation loses nothing: what
    waits for a subscriber goes on waiting, and if it was draining, another goes on.

    What takes an event or a batch raises

    * `trio.ClosedResourceError`: the subscription or the stream was closed, before or while
      waiting;
    * `trio.BusyResourceError`: another task is receiving from this subscription;
    * `DecodeError`: the next record is not what its type says. Every subscriber gets it, in the
      place of the event, and goes on behind it;
    * `RingCorruptedError`: the ring can't be read any further.

    Subscriptions come from `EventStream.subscribe`.
    """

    def __init__(self, fan_out: FanOut[T], capacity: int, overflow: Overflow) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._filling: trio.CancelScope | None = None
        super().__init__(fan_out, capacity, overflow)

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _fill(self) -> None:
        with trio.CancelScope() as self._filling:
            await self._fan_out.fill(self._inbox)
        self._filling = None

    async def wait(self) -> None:
        """Wait for `wake`."""
        await self._waiting.park()

    def wake(self) -> None:
        """End a `wait`, if there is one."""
        self._waiting.unpark_all()

    def interrupt(self) -> None:
        """Make `_fill` return at once."""
        if self._filling is not None:
            self._filling.cancel()

    @staticmethod
    def closed(what: str) -> Exception:
        """`trio.ClosedResourceError`."""
        return closed(what)

    @staticmethod
    def busy(why: str) -> Exception:
        """`trio.BusyResourceError`."""
        return trio.BusyResourceError(why)
