"""The descriptor that a stream sleeps on, whichever event loop it runs in.

It becomes readable when the ring does, or when a timer runs out: so a wait is one wait for one
descriptor, without a time-out of the event loop's own, which costs more than all the rest.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from bpfstream.kernel.eventpoll import EventPoll
from bpfstream.kernel.timerfd import Timer
from bpfstream.streams.pacing import Wait


class Wakeups:
    """What wakes a stream: its ring's descriptor and a timer.

    Args:
        fd: The ring's descriptor.

    Raises:
        OSError: There are no descriptors left.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        with ExitStack() as undo:
            self._timer = Timer()
            undo.callback(self._timer.close)
            self._poll = EventPoll()
            undo.callback(self._poll.close)
            self._poll.register(fd)
            self._poll.register(self._timer.fileno())
            self._closing = undo.pop_all()
        self._wait: Wait | None = None
        self._deadline = 0.0

    def arm(self, wait: Wait) -> int:
        """Prepare for a wait.

        Returns:
            The descriptor to wait on until it is readable. When it is the ring's (`Wait.readable`),
            look at the ring once more after the wait has begun, and `ring` if there is something:
            polling a perf event clears its readiness (kernel/events/core.c, perf_poll), and event
            loops poll twice as they begin to wait, so what came just before would wake nobody.
        """
        now = time.monotonic()
        if not wait.readable:
            self._wait = wait
            self._timer.start(wait.seconds)
            return self._timer.fileno()
        # A sweep that is under way need not begin anew: that spares a system call a wakeup.
        if self._wait is not wait or now >= self._deadline:
            self._wait = wait
            self._deadline = now + wait.seconds
            self._timer.start(wait.seconds)
        return self._poll.fileno()

    def ring(self) -> None:
        """End the wait at once, as a readable ring does."""
        self._wait = None
        self._timer.start(0)

    def readable(self) -> bool:
        """After a wait: was it the ring's descriptor that ended it?"""
        wait = self._wait
        if wait is None:
            return True
        if not wait.readable:
            return False
        # epoll has in its list only what was announced, even where a poll would show more.
        return time.monotonic() < self._deadline or self._fd in self._poll.ready()

    def close(self) -> None:
        """Give the descriptors back, not the ring's; idempotent."""
        self._closing.close()
