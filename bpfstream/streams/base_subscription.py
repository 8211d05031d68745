"""What subscriptions of all event loops have in common: everything but how they wait."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

import msgspec

from bpfstream.streams.batches import Batches
from bpfstream.streams.delivery import SLICE_EVENTS, SLICE_SECONDS
from bpfstream.streams.fan_out import FanOut
from bpfstream.streams.inbox import Overflow
from bpfstream.streams.lost import Lost

T = TypeVar("T")

DEFAULT_CAPACITY = 1024
"""Events that wait for a subscriber at most."""


class SubscriptionStatistics(msgspec.Struct, frozen=True):
    """A snapshot of a subscription's counters.

    Attributes:
        received: Events handed to the subscriber.
        lost: Events that the subscriber did not take in time. What the kernel lost is in the
            stream's statistics.
        backlog: Events that wait for the subscriber.
        capacity: Events that may.
    """

    received: int
    lost: int
    backlog: int
    capacity: int


class BaseSubscription(Generic[T]):
    """A subscription that does not know its event loop."""

    def __init__(self, fan_out: FanOut[T], capacity: int, overflow: Overflow) -> None:
        self._fan_out = fan_out
        self._inbox = fan_out.join(capacity, overflow, self)
        self._receiving = False
        self._slice_left = 0  # events until the clock is looked at
        self._slice_end = 0.0

    # What an event loop adds

    @abstractmethod
    async def _checkpoint(self) -> None:
        """Let other tasks run; a point of cancellation."""

    @abstractmethod
    async def _fill(self) -> None:
        """`FanOut.fill`, which ends early when `interrupt` is called meanwhile."""

    @abstractmethod
    async def wait(self) -> None:
        """Wait for `wake`."""

    @abstractmethod
    def wake(self) -> None:
        """End a `wait`, if there is one."""

    @abstractmethod
    def interrupt(self) -> None:
        """Make `_fill` return at once."""

    @staticmethod
    @abstractmethod
    def closed(what: str) -> Exception:
        """What is raised by something that is closed."""

    @staticmethod
    @abstractmethod
    def busy(why: str) -> Exception:
        """What is raised by something that serves one task at a time."""

    # Receiving

    async def receive(self) -> T | Lost:
        """Take the next event, or what is missing before it; wait if there is none."""
        await self._receive()
        return self._take()

    async def receive_batch(self) -> list[T | Lost]:
        """Take all events that wait for this subscriber, waiting for one if there is none.

        At least one; at most as many as the capacity, and what is missing among them.
        """
        await self._receive()
        try:
            return self._inbox.take_all()
        finally:
            self._fan_out.took()

    def batches(self) -> AsyncIterator[list[T | Lost]]:
        """Iterate over batches of events: ``async for batch in subscription.batches()``."""
        return Batches(self.receive_batch)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T | Lost:
        # As for the stream itself: no checkpoint an event, but one a millisecond.
        if self._inbox and not self._receiving:
            if self._slice_left:
                self._slice_left -= 1
                return self._take()
            if time.monotonic() < self._slice_end:
                self._slice_left = SLICE_EVENTS - 1
                return self._take()
        event = await self.receive()
        self._slice_left = SLICE_EVENTS - 1
        self._slice_end = time.monotonic() + SLICE_SECONDS
        return event

    def look(self) -> tuple[list[T | Lost], bool]:
        """Take what is there, without waiting.

        Returns:
            The batch, perhaps empty, and whether that is all that had been sent.

        Raises:
            The same as `receive`.
        """
        self._check_free()
        settled = self._fan_out.look(self._inbox)
        if not self._inbox:
            return [], settled
        try:
            return self._inbox.take_all(), settled and not self._inbox
        finally:
            self._fan_out.took()

    # The subscription itself

    @property
    def is_closed(self) -> bool:
        """Whether the subscription was closed, or the stream was."""
        return self._inbox not in self._fan_out

    def statistics(self) -> SubscriptionStatistics:
        """What was counted so far."""
        inbox = self._inbox
        return SubscriptionStatistics(
            received=inbox.received,
            lost=inbox.dropped,
            backlog=inbox.waiting,
            capacity=inbox.capacity,
        )

    def close(self) -> None:
        """End the subscription and forget what waits for it; the stream goes on. Idempotent.

        A task that waits for an event gets the error of a closed one. Others who waited for this
        subscriber to make room go on.
        """
        self._fan_out.leave(self._inbox)

    async def aclose(self) -> None:
        """Close the subscription as `close` does; a checkpoint."""
        self.close()
        await self._checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Inside

    def _take(self) -> T | Lost:
        try:
            return self._inbox.take()
        finally:
            if self._fan_out.is_blocked:
                self._fan_out.took()

    async def _receive(self) -> None:
        """Have something in the inbox; nothing may await from here to where it is taken."""
        self._check_free()
        self._receiving = True
        try:
            await self._checkpoint()
            self._check_open()
            while not self._inbox:
                await self._fill()
                self._check_open()
        finally:
            self._receiving = False

    def _check_free(self) -> None:
        self._check_open()
        if self._receiving:
            raise self.busy("another task is receiving from this subscription")

    def _check_open(self) -> None:
        if self.is_closed:
            raise self.closed("the subscription")
