"""From the kernel's timestamps to the time of day."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from bpfstream.kernel.clocks import Bracket, ClockName, ReadClock, bracket, clock_named, read_clock

if TYPE_CHECKING:
    import datetime

INTERVAL = 1.0
"""Seconds after which the clocks are compared again, when there is something to convert."""

_HISTORY = 256
"""Stretches that are remembered: as many steps of the clock, or so many seconds of slewing."""

_FASTEST_SLEW = 500e-6
"""What a clock is slewed by at most, MAXFREQ of include/linux/timex.h; what is faster is a step."""


class _Stretch(msgspec.Struct, gc=False):
    """A while in which the difference of the clocks did not change, as far as could be seen.

    Attributes:
        start: When it was seen first, by the kernel's clock, in nanoseconds.
        end: When it was seen last.
        least: Unix time minus the kernel's clock is not less than this, in nanoseconds,
        most: and not more than this.
    """

    start: int
    end: int
    least: int
    most: int

    @property
    def offset(self) -> int:
        return (self.least + self.most) // 2


class WallClock:
    """Converts the timestamps of events to Unix time.

        clock = bpfstream.WallClock()
        async for event in events:
            print(clock.datetime(event.timestamp), event.comm)

    The clocks are compared when a timestamp is converted and the last comparison is older than
    `interval`. What they showed earlier is remembered, so that an event from before a step of the
    clock is converted with what held then: the last 256 changes are.

    * Slewing (adjtime(2), NTP) does no harm: the kernel slews all these clocks alike, and between
      two comparisons the difference is interpolated.
    * A step (settimeofday(2), a leap second), and with ``"monotonic"`` a suspend, is seen at the
      next comparison. Up to then, at most `interval` long, timestamps are converted as before it;
      timestamps between two comparisons with a step in between are converted with what held at
      the nearer one. ``"boottime"`` goes on in a suspend and so has no such doubt about it.

    Otherwise the result is right to the time that a comparison takes, about 100 ns. Timestamps
    from before the object was made are converted with what held then. Objects are not to be
    shared between threads.

    Args:
        clock: What the timestamps are: ``"monotonic"`` of ``bpf_ktime_get_ns``, ``"boottime"`` of
            ``bpf_ktime_get_boot_ns``.
        interval: Seconds between two comparisons; 0 compares at every conversion.
        read: Reads a clock.

    Raises:
        ValueError: There is no such clock, or the interval is negative.
    """

    def __init__(
        self,
        clock: ClockName = "monotonic",
        *,
        interval: float = INTERVAL,
        read: ReadClock = read_clock,
    ) -> None:
        if interval < 0:
            raise ValueError(f"interval is in seconds and can't be negative: {interval}")
        self._clock = clock_named(clock)
        self._interval = round(interval * 1e9)
        self._read = read
        self._history: list[_Stretch] = []
        self.compare()

    def compare(self) -> None:
        """Compare the clocks now.

        Conversions do it by themselves. A program that keeps timestamps for long before it
        converts them may call this from time to time, to know of every step in between.
        """
        self._enter(bracket(self._clock, self._read))

    def unix_ns(self, timestamp: int) -> int:
        """Unix time, in nanoseconds.

        Args:
            timestamp: Nanoseconds of the kernel's clock.
        """
        if self._read(self._clock) - self._history[-1].end >= self._interval:
            self.compare()
        return timestamp + self._offset_at(timestamp)

    def datetime(self, timestamp: int) -> datetime.datetime:
        """The time of day, in UTC, to the microsecond; ``.astimezone()`` makes it local.

        Args:
            timestamp: Nanoseconds of the kernel's clock.
        """
        from datetime import UTC, datetime, timedelta

        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + timedelta(microseconds=self.unix_ns(timestamp) // 1000)

    def _enter(self, seen: Bracket) -> None:
        least, most = seen.unix - seen.after, seen.unix - seen.before
        if self._history:
            last = self._history[-1]
            if least <= last.most and last.least <= most:
                last.least, last.most = max(least, last.least), min(most, last.most)
                last.end = seen.after
                return
        self._history.append(_Stretch(seen.before, seen.after, least, most))
        del self._history[:-_HISTORY]

    def _offset_at(self, timestamp: int) -> int:
        history = self._history
        last = history[-1]
        if timestamp >= last.start:
            return last.offset
        index = bisect_left(history, timestamp, key=attrgetter("end"))
        after = history[index]
        if index == 0 or timestamp >= after.start:
            return after.offset
        before = history[index - 1]
        gap, into = after.start - before.end, timestamp - before.end
        change = after.offset - before.offset
        slack = after.most - after.least + before.most - before.least
        if abs(change) > gap * _FASTEST_SLEW + slack:  # a step, nobody knows when
            return before.offset if into * 2 < gap else after.offset
        return before.offset + change * into // gap
