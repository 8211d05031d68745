"""Events at hand, handed over one by one: what ``async for`` costs an event.

A checkpoint of trio costs ten times what an event does. So there is none an event: a *slice* of
events goes without, then the clock is looked at, and after a millisecond other tasks have a turn
and a cancellation its say.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from operator import length_hint
from typing import Generic, Protocol, TypeVar

from bpfstream._native import COMPILED, hot

T = TypeVar("T")

SLICE_EVENTS = 64
"""Events between two looks at the clock."""

SLICE_SECONDS = 0.001
"""Seconds between two checkpoints."""


class Delivery(Protocol[T]):
    """The events of a drain that are not handed over yet; iterating hands them over."""

    @property
    def left(self) -> int:
        """How many events are at hand."""
        ...

    @property
    def handed_over(self) -> int:
        """How many events of the last `fill` were taken."""
        ...

    def fill(self, events: list[T]) -> None:
        """Have these events at hand and no others; the list is the delivery's own from now on."""
        ...

    def take(self) -> T:
        """Hand over the next event, and begin a slice.

        Raises:
            IndexError: None is at hand.
        """
        ...

    def rest(self) -> list[T]:
        """Hand over all that are at hand."""
        ...

    def __aiter__(self) -> AsyncIterator[T]: ...

    def __anext__(self) -> Awaitable[T]: ...


def delivery(refill: Callable[[], Awaitable[T]], *, native: bool = COMPILED) -> Delivery[T]:
    """A delivery that awaits `refill` for an event whenever a checkpoint is due."""
    return hot.Delivery(refill, SLICE_EVENTS, SLICE_SECONDS) if native else PythonDelivery(refill)


class PythonDelivery(Generic[T]):
    """The delivery in Python."""

    def __init__(self, refill: Callable[[], Awaitable[T]]) -> None:
        self._refill = refill
        self._events: list[T] = []
        self._slice: Iterator[T] = iter(())
        self._sliced = 0  # events before the end of the slice
        self._slice_end = 0.0

    @property
    def left(self) -> int:
        """How many events are at hand."""
        return len(self._events) - self.handed_over

    @property
    def handed_over(self) -> int:
        """How many events of the last `fill` were taken."""
        return self._sliced - length_hint(self._slice)

    def fill(self, events: list[T]) -> None:
        """Have these events at hand and no others."""
        self._events = events
        self._slice = iter(())
        self._sliced = 0

    def take(self) -> T:
        """Hand over the next event, and begin a slice."""
        if not self.left:
            raise IndexError("no event is at hand")
        self._slice_end = time.monotonic() + SLICE_SECONDS
        for event in self._slice:
            return event
        return self._next_slice()

    def rest(self) -> list[T]:
        """Hand over all that are at hand."""
        rest = self._events[self.handed_over :]
        self._slice = iter(())
        self._sliced = len(self._events)
        return rest

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        for event in self._slice:
            return event
        if self._sliced < len(self._events) and time.monotonic() < self._slice_end:
            return self._next_slice()
        return await self._refill()

    def _next_slice(self) -> T:
        start = self._sliced
        events = self._events[start : start + SLICE_EVENTS]
        self._sliced = start + len(events)
        self._slice = iter(events)
        return next(self._slice)
