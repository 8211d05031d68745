"""What waits for one subscriber of a stream: a bounded queue that knows what it had no room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, Literal, TypeAlias, TypeVar, get_args

from bpfstream.errors import DecodeError
from bpfstream.streams.lost import Lost, Stage

T = TypeVar("T")

Overflow: TypeAlias = Literal["block", "drop_oldest", "drop_newest"]
"""What becomes of events for which a subscriber's queue has no room."""


class Inbox(Generic[T]):
    """Events for one subscriber, in order, with a `Lost` wherever some are missing.

    A record that could not be decoded takes the place of its event: taking it raises its error.

    Args:
        capacity: The most events that wait. A `Lost` takes no room, as it stands for events that
            took none; two of one stage are never next to each other.
        overflow: What becomes of events that find no room.

    Attributes:
        capacity: The same.
        blocks: Whether nothing may be put into it that finds no room.
        received: Events that were taken.
        dropped: Events that found no room.

    Raises:
        ValueError: There is no such overflow, or no room for a single event.
    """

    def __init__(self, capacity: int, overflow: Overflow) -> None:
        if overflow not in get_args(Overflow):
            raise ValueError(f"overflow is one of {', '.join(get_args(Overflow))}; not {overflow}")
        if capacity < 1:
            raise ValueError(f"capacity is at least 1 event, not {capacity}")
        self.capacity = capacity
        self.blocks = overflow == "block"
        self._drops_oldest = overflow == "drop_oldest"
        self._queue: deque[T | Lost | DecodeError] = deque()
        self._marks = 0  # each a Lost
        self.received = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return bool(self._queue)

    @property
    def waiting(self) -> int:
        """Events that wait."""
        return len(self._queue) - self._marks

    @property
    def room(self) -> int:
        """Events for which there is room."""
        return self.capacity - len(self._queue) + self._marks

    def put(self, events: Sequence[T | DecodeError]) -> None:
        """Add events; if it blocks, no more than there is room for."""
        excess = len(events) - self.room
        if excess <= 0:
            self._queue.extend(events)
            return
        self.dropped += excess
        if self._drops_oldest:
            kept = max(len(events) - self.capacity, 0)
            self._drop_oldest(excess)
            self._queue.extend(events[kept:])
        else:
            self._queue.extend(events[: self.room])
            self.mark(Lost(excess, "subscriber"))

    def mark(self, lost: Lost) -> None:
        """Show at the end of the queue that events are missing."""
        marks = [lost]
        while self._queue and isinstance(self._queue[-1], Lost):
            marks.insert(0, self._pop_mark_from_end())
        marks = _merged(marks)
        self._queue.extend(marks)
        self._marks += len(marks)

    def take(self) -> T | Lost:
        """The next event, or what is missing before it.

        Raises:
            IndexError: There is none.
            DecodeError: The next record could not be decoded.
        """
        item = self._queue.popleft()
        kind = type(item)
        if kind is Lost:
            self._marks -= 1
            return item  # type: ignore[return-value]
        if kind is DecodeError:
            raise item  # type: ignore[misc]
        self.received += 1
        return item  # type: ignore[return-value]

    def take_all(self) -> list[T | Lost]:
        """All events up to a record that could not be decoded, with what is missing among them.

        Raises:
            DecodeError: The first record could not be decoded.
        """
        queue = self._queue
        if DecodeError in map(type, queue):
            return self._take_until_error()
        items: list[T | Lost] = list(queue)  # type: ignore[arg-type]
        queue.clear()
        self.received += len(items) - self._marks
        self._marks = 0
        return items

    def clear(self) -> None:
        """Forget what waits."""
        self._queue.clear()
        self._marks = 0

    def _take_until_error(self) -> list[T | Lost]:
        items = [self.take()]
        while self._queue and not isinstance(self._queue[0], DecodeError):
            items.append(self.take())
        return items

    def _drop_oldest(self, count: int) -> None:
        """Make room; what is missing now is shown at the head of the queue.

        Args:
            count: Events to drop. Those that are not in the queue were to be put into it.
        """
        queue = self._queue
        marks: list[Lost] = []
        left = min(count, self.waiting)
        while queue and (left or isinstance(queue[0], Lost)):
            item = queue.popleft()
            if isinstance(item, Lost):
                marks.append(item)
            else:
                left -= 1
        self._marks -= len(marks)
        marks = _merged([*marks, Lost(count, "subscriber")])
        queue.extendleft(reversed(marks))
        self._marks += len(marks)

    def _pop_mark_from_end(self) -> Lost:
        mark = self._queue.pop()
        assert isinstance(mark, Lost)
        self._marks -= 1
        return mark


def _merged(marks: Iterable[Lost]) -> list[Lost]:
    """One for each stage, in the order in which they appear first."""
    counts: dict[Stage, int] = {}
    for mark in marks:
        counts[mark.stage] = counts.get(mark.stage, 0) + mark.count
    return [Lost(count, stage) for stage, count in counts.items()]
