"""Events that wait until no older one can come: what a merge does, without waiting for anything."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter, index, itemgetter
from typing import Any, Generic, TypeVar

from bpfstream.errors import SchemaError
from bpfstream.streams.lost import Lost

T = TypeVar("T")

Timestamp = Callable[[Any], int]
"""Gives an event's timestamp, in nanoseconds."""

_key = itemgetter(0)


def timestamp_of(by: str | Timestamp) -> Timestamp:
    """The function for the name of a field; a dot leads into a nested struct."""
    return attrgetter(by) if isinstance(by, str) else by


class ReorderBuffer(Generic[T]):
    """Holds events, sorted by their timestamps.

    Events of one timestamp keep the order in which they were added. A `Lost` has no timestamp: it
    stays behind the event that came before it.

    Args:
        by: An event's timestamp: the name of its field, or a function.

    Attributes:
        late: Events that were taken after one with a later timestamp.
        early: Events that were taken although an older one might still have come.
        ahead: Events whose timestamp was later than the time at which they were added.
    """

    def __init__(self, by: str | Timestamp) -> None:
        self._by = by
        self._timestamp = timestamp_of(by)
        self._held: list[tuple[int, T]] = []
        self._latest_taken = 0
        self.late = 0
        self.early = 0
        self.ahead = 0

    def __len__(self) -> int:
        """Events that are held."""
        return len(self._held)

    @property
    def oldest(self) -> int:
        """The timestamp of the event that is due first.

        Raises:
            IndexError: None is held.
        """
        return self._held[0][0]

    def add(self, events: Sequence[T], now: int) -> None:
        """Add what was received.

        Args:
            events: The events of one batch of one stream.
            now: The time, read after they were received. What is stamped later can't have been
                stamped by the same clock: it is held as if stamped now, or else it might never go.

        Raises:
            SchemaError: An event has no such field, or no integer in it. None of them was added.
        """
        if not events:
            return
        stamps = self._stamps(events)
        if max(stamps) > now:
            self.ahead += sum(stamp > now for stamp in stamps)
            stamps = [min(stamp, now) for stamp in stamps]
        added = sorted(zip(stamps, events, strict=True), key=_key)
        # All but the last few events held are older, as streams are nearly in order.
        held = self._held
        overlap = bisect_right(held, added[0][0], key=_key)
        if overlap == len(held):
            held += added
            return
        newest = held[overlap:] + added
        newest.sort(key=_key)  # two sorted runs: this merges them
        held[overlap:] = newest

    def take(self, watermark: int, *, excess: int = 0) -> list[T]:
        """Take all events up to a time, in order.

        Args:
            watermark: What is not later is taken.
            excess: So many are taken at least, as there is no room for them.
        """
        held = self._held
        count = bisect_right(held, watermark, key=_key)
        if excess > count:
            self.early += min(excess, len(held)) - count
            count = excess
        taken = held[:count]
        if not taken:
            return []
        del held[:count]
        self.late += bisect_left(taken, self._latest_taken, key=_key)
        self._latest_taken = max(self._latest_taken, taken[-1][0])
        return [event for _, event in taken]

    def _stamps(self, events: Sequence[T]) -> list[int]:
        try:
            if Lost not in map(type, events):
                return list(map(index, map(self._timestamp, events)))
            stamps: list[int] = []
            before = self._latest_taken
            for each in events:
                if not isinstance(each, Lost):
                    before = index(self._timestamp(each))
                stamps.append(before)
            return stamps
        except (AttributeError, TypeError) as error:
            name = self._by if isinstance(self._by, str) else ""
            raise SchemaError(
                f"events can't be ordered by {name or self._by!r}: {error}",
                field=name,
                hint="by= names a field with nanoseconds, or is a function that gives them",
            ) from error
