"""When a stream looks at its ring: when it is woken, or by the clock.

A wakeup costs the reader some 35 us and the program that sent the event 7 us or more, a look by the
clock costs the reader as much and the program nothing. So a quiet ring is waited for, and a ring
that would wake its reader several times in the time that an event may wait is looked at by a timer,
once in that time. The numbers here are ratios of those two costs, not measures of any machine.
"""

from __future__ import annotations

import msgspec

SWEEP_INTERVAL = 0.25
"""Seconds after which a sleeping stream looks by itself: BPF_RB_NO_WAKEUP wakes nobody."""

BUSY_PAUSE = 0.001
"""Seconds to wait for a record that is reserved and not committed.

The kernel calls a ring readable when its positions differ (kernel/bpf/ringbuf.c,
ringbuf_map_poll_kern), whether or not the next record is ready: waiting again would spin.
"""

_WAKEUPS = 16
"""Wakeups that are judged together."""

_WAKEUPS_PER_TICK = 5
"""A stream that is woken so often in the time of a tick turns to the timer: 5000 times a second
for the default latency of 1 ms."""

_LARGE_DRAIN = 64
"""Events: a reader that finds as many each time is behind, however seldom it is woken."""

_LARGE_DRAINS = 8
"""So many in a row turn it to the timer."""

_SMALL_TICK = 1
"""Events: a tick that finds no more could as well have been a wakeup."""

_SMALL_TICKS = 16
"""So many in a row turn it back to waiting."""

_UNANNOUNCED_SWEEPS = 2
"""So many sweeps that found what nobody announced, with no wakeup in between, and the program is
taken for one that wakes nobody. One alone may be a race with a wakeup under way."""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """What a stream waits for.

    Attributes:
        seconds: How long at most.
        readable: Less long when the ring's descriptor becomes readable. Otherwise that does not
            count: with a record held back, or a busy one, the descriptor is readable all the time.
    """

    seconds: float
    readable: bool


UNTIL_READABLE = Wait(SWEEP_INTERVAL, readable=True)
UNTIL_COMMITTED = Wait(BUSY_PAUSE, readable=False)


class Pacing:
    """Chooses between waiting and a timer by what wakeups and drains brought.

    Args:
        max_latency: Seconds that an event may wait in the ring; 0 for no timer ever.

    Attributes:
        timer_driven: Whether the ring is looked at by a timer now.
    """

    def __init__(self, max_latency: float) -> None:
        self._max_latency = max_latency
        self._adapts = max_latency > 0
        self._tick = Wait(max_latency, readable=False)
        self.timer_driven = False
        self._wakeups = 0  # since the start of the window
        self._window_start = 0.0
        self._large_drains = 0
        self._small_ticks = 0
        self._unannounced = 0

    @property
    def wait(self) -> Wait:
        """What to wait for when the ring is empty."""
        return self._tick if self.timer_driven else UNTIL_READABLE

    def tick(self, gathered: float, seconds: float) -> Wait | None:
        """What to wait for when events were found, while timer-driven; None for nothing.

        Args:
            gathered: How full the fullest ring had become, from 0 to 1.
            seconds: In what time. A quarter of a ring may gather until the next tick.
        """
        if gathered <= 0.25:
            return self._tick
        shorter = seconds * 0.25 / gathered
        if shorter >= self._max_latency:
            return self._tick
        return Wait(shorter, readable=False) if shorter * 16 > self._max_latency else None

    def woken(self, now: float) -> None:
        """The ring's descriptor was readable, while event-driven."""
        self._unannounced = 0
        self._wakeups += 1
        if self._wakeups == 1:
            self._window_start = now
        elif self._wakeups > _WAKEUPS:
            often = (now - self._window_start) * _WAKEUPS_PER_TICK < self._max_latency * _WAKEUPS
            self._wakeups = 0
            if often:
                self._start_timer()

    def swept(self, *, pending: bool) -> None:
        """Nothing woke the stream for the length of a sweep; is there something to take?"""
        if pending and self._adapts:
            self._unannounced += 1
            self._start_timer()

    def drained(self, count: int) -> None:
        """A look at the ring found so many events; while timer-driven one look is one tick."""
        if not self.timer_driven:
            self._large_drains = self._large_drains + 1 if count >= _LARGE_DRAIN else 0
            if self._large_drains >= _LARGE_DRAINS:
                self._start_timer()
            return
        self._small_ticks = self._small_ticks + 1 if count <= _SMALL_TICK else 0
        if self._small_ticks >= _SMALL_TICKS and self._unannounced < _UNANNOUNCED_SWEEPS:
            self.timer_driven = False
            self._wakeups = self._large_drains = 0

    def _start_timer(self) -> None:
        self.timer_driven = self._adapts
        self._small_ticks = 0
