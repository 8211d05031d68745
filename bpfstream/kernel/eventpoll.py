"""One descriptor that polls readable when any of several rings does.

An epoll instance is itself pollable. Rings are registered with it once and stay: a perf event
clears its readiness at each poll (kernel/events/core.c, perf_poll), and a registration that is made
anew for each wait polls twice and so loses wakeups.
"""

from __future__ import annotations

import select
from types import TracebackType
from typing import Self


class EventPoll:
    """A set of descriptors with one descriptor to wait on."""

    def __init__(self) -> None:
        self._epoll = select.epoll()  # close-on-exec

    def register(self, fd: int, events: int = select.EPOLLIN) -> None:
        """Watch a descriptor, level-triggered, until it is unregistered or closed everywhere.

        Raises:
            OSError: EEXIST when it is watched already, EPERM when it can't be polled.
        """
        self._epoll.register(fd, events)

    def unregister(self, fd: int) -> None:
        """Watch a descriptor no more.

        Raises:
            OSError: ENOENT when it is not watched.
        """
        self._epoll.unregister(fd)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._epoll.fileno()

    def ready(self) -> list[int]:
        """The watched descriptors that have events now, without waiting.

        An empty answer does not show that no ring has data: look at the rings' positions.
        """
        return [fd for fd, _ in self._epoll.poll(0)]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._epoll.closed

    def close(self) -> None:
        """Give the set back, not what it watches; idempotent."""
        self._epoll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
