"""One stream for several subscribers: who drains it, and who gets what. Knows no event loop.

Nobody works in the background. A subscriber that finds its queue empty drains the stream for all of
them; those that come to the same point meanwhile wait until they have something, or until it is
their turn to drain because the one who did was cancelled or had an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from bpfstream.errors import DecodeError
from bpfstream.streams.inbox import Inbox, Overflow
from bpfstream.streams.lost import Lost, Stage
from bpfstream.streams.statistics import Losses

T = TypeVar("T")


class Waiter(Protocol):
    """How a subscriber waits, in whichever event loop it does."""

    async def wait(self) -> None:
        """Wait for `wake`."""
        ...

    def wake(self) -> None:
        """End a `wait`, if there is one."""
        ...

    def interrupt(self) -> None:
        """Make `FanOut.fill` return at once, whatever it waits for."""
        ...


class FanOut(Generic[T]):
    """Distributes what a stream gives.

    Events are taken off the stream in batches. A batch is in the hands of the fan-out until every
    subscriber that blocks has had room for all of it, and no other is taken before: so the ring
    fills up behind the slowest of those.

    Args:
        receive: Waits for a batch of the stream. If it is cancelled, it has taken nothing.
        look: Takes what is there without waiting, and says whether that is all. It may be called
            while `receive` waits.
        losses: What was lost before it came to subscribers.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[list[T]]],
        look: Callable[[], tuple[list[T], bool]],
        losses: Callable[[], Losses],
    ) -> None:
        self._receive = receive
        self._look = look
        self._losses = losses
        self._known = losses()
        self._members: dict[Inbox[T], Waiter] = {}
        self._batch: list[T] | list[DecodeError] = []  # what not everybody had room for
        self._drainer: Inbox[T] | None = None
        self._dropped_for_former = 0

    def join(self, capacity: int, overflow: Overflow, waiter: Waiter) -> Inbox[T]:
        """Take part from now on.

        Args:
            capacity: The most events that wait for this subscriber.
            overflow: What becomes of events that find no room.
            waiter: How it waits.

        Raises:
            ValueError: There is no such overflow, or no capacity.
        """
        inbox = Inbox[T](capacity, overflow)
        self._show_losses()  # those so far concern the others only
        self._members[inbox] = waiter
        return inbox

    def leave(self, inbox: Inbox[T]) -> None:
        """End a subscription and forget what waits for it; idempotent."""
        waiter = self._members.pop(inbox, None)
        if waiter is None:
            return
        inbox.clear()
        self._dropped_for_former += inbox.dropped
        waiter.interrupt()
        if self._members:
            self._wake(everybody=True)  # it may be up to another now to drain, or there is room
        else:
            self._batch = []

    def close(self) -> None:
        """End all subscriptions."""
        for inbox in list(self._members):
            self.leave(inbox)

    def __contains__(self, inbox: Inbox[T]) -> bool:
        """Whether a subscription goes on."""
        return inbox in self._members

    def __bool__(self) -> bool:
        """Whether there are subscriptions."""
        return bool(self._members)

    @property
    def dropped(self) -> int:
        """Events that found no room with a subscriber, over all that there have been."""
        return self._dropped_for_former + sum(inbox.dropped for inbox in self._members)

    @property
    def is_blocked(self) -> bool:
        """Whether a batch waits for room with a subscriber."""
        return bool(self._batch)

    async def fill(self, inbox: Inbox[T]) -> None:
        """Wait until there is something in an inbox, or for nothing more after an interruption.

        Raises:
            Exception: Whatever draining the stream raises, but for `DecodeError`: that is put into
                every inbox, where the record's event would have been.
        """
        while not inbox and inbox in self._members:
            self._distribute()
            if inbox:
                return
            if self._batch or self._drainer is not None:
                await self._members[inbox].wait()
            else:
                await self._drain_for_all(inbox)

    def took(self) -> None:
        """Somebody took something: there may be room again for what others wait for."""
        if self._batch:
            self._wake(everybody=True)

    def look(self, inbox: Inbox[T]) -> bool:
        """Put what there is now into an inbox, if it is empty, and into those of all others.

        Returns:
            Whether all that was there is in the inboxes.
        """
        self._distribute()
        settled = False
        if not inbox and not self._batch:
            try:
                batch, settled = self._look()
            except DecodeError as error:
                self._put([error])
            else:
                self._put(batch)
        return settled and not self._batch

    def _put(self, batch: list[T] | list[DecodeError]) -> None:
        self._batch = batch
        self._distribute()

    def _distribute(self) -> None:
        """Give everybody as much of the batch as there is room for with all who block."""
        batch = self._batch
        if not batch:
            return
        room = min((inbox.room for inbox in self._members if inbox.blocks), default=len(batch))
        if not room:
            return
        part, self._batch = batch[:room], batch[room:]
        for inbox in self._members:
            inbox.put(part)
        self._wake()
        if not self._batch:
            self._show_losses()

    async def _drain_for_all(self, inbox: Inbox[T]) -> None:
        self._drainer = inbox
        try:
            batch: list[T] | list[DecodeError] = await self._receive()
        except DecodeError as error:
            batch = [error]
        except BaseException:
            self._drainer = None
            self._wake(everybody=True)  # one of them is the next to drain
            raise
        self._drainer = None
        self._put(batch)

    def _show_losses(self) -> None:
        """Show what the kernel has dropped since the last time, with everybody."""
        known, now = self._known, self._losses()
        self._known = now
        stages: tuple[tuple[Stage, int], ...] = (
            ("kernel", (now.kernel or 0) - (known.kernel or 0)),
            ("perf", now.perf - known.perf),
        )
        for stage, count in stages:
            if count > 0:
                for inbox in self._members:
                    inbox.mark(Lost(count, stage))

    def _wake(self, *, everybody: bool = False) -> None:
        for inbox, waiter in self._members.items():
            if inbox is self._drainer:
                if inbox:  # by somebody else's look
                    waiter.interrupt()
            elif inbox or everybody:
                waiter.wake()
