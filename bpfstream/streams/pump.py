"""The core of a stream, without an event loop: when to look at a ring, and what was found.

The pump is asked in turns. `Pump.step` says what to do now: drain, or wait for something first.
Whoever carries it out (trio's face in `stream`, asyncio's in `bpfstream.aio`) awaits only while it
waits, never between a drain and the hand-over of what it gave: so no cancellation loses an event.

    while True:
        wait = pump.step()
        if wait is not None:
            ...                                 # sleep, as `wait` says
            pump.woken(readable=...)
            continue
        drained = pump.drain(decoder, limit)    # nothing may await from here ...
        if drained.count:
            pump.hand_over(drained.count)       # ... to here
            return drained.batch
        ...                                     # let other tasks run

Space goes back to the kernel at the hand-over, but for that of the last record. As long as a record
is held back the kernel wakes nobody, and programs do not pay for wakeups (see `RingBufferReader`).
It is published before the stream waits for the descriptor, at every tick that finds nothing, and
when the stream is closed: a program may need just that space.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bpfstream.rings import BatchDecoder, Drained
from bpfstream.streams.pacing import SWEEP_INTERVAL, UNTIL_COMMITTED, Pacing, Wait
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import Losses, StreamStatistics

B = TypeVar("B")

_SLICE = 0.001
"""Seconds that a drain may take: as long, other tasks wait."""

_FEWEST, _MOST = 64, 1 << 16
_FIRST_LIMIT = 1024
"""Records that one drain takes at most. It is doubled while drains that leave something behind take
less than a quarter of a slice, and halved when they take more than a whole."""


class Pump:
    """Takes the records of a source and counts what becomes of them.

    Args:
        source: The ring; the pump closes it.
        max_latency: Seconds that an event may wait in the ring for others to join it; 0 for a
            wakeup an event.
        clock: What tells the time, in seconds.

    Attributes:
        source: The ring.
    """

    def __init__(
        self,
        source: EventSource,
        *,
        max_latency: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 <= max_latency < float("inf"):
            raise ValueError(
                f"max_latency is in seconds, neither negative nor infinite: {max_latency}"
            )
        self.source = source
        self._clock = clock
        self._pacing = Pacing(max_latency)
        self._look = True  # there may be something that nobody will announce
        self._found = False  # by the last look
        self._wait: Wait | None = None  # what was said last
        self._rested = True  # since the last look
        self._tick: Wait | None = None  # what to wait for after a look that found something
        self._taken = 0  # by the last drain, and not handed over or given back
        self._limit = _FIRST_LIMIT
        self._looked_at = self._sweep_at = clock()
        self._received = self._decoded = self._wakeups = self._drains = 0
        self._longest_gap = 0.0
        self._final: StreamStatistics | None = None

    def step(self) -> Wait | None:
        """What to wait for; None when a drain comes next."""
        self._wait = self._next_wait()
        return self._wait

    def _next_wait(self) -> Wait | None:
        if self._look:
            return None
        if self._pacing.timer_driven and self._found:
            return self._tick
        if self.source.publish():
            return None
        if self.source.busy and not self._pacing.timer_driven:
            return UNTIL_COMMITTED
        return self._pacing.wait

    def drain(self, decoder: BatchDecoder[B], limit: int = _MOST) -> Drained[B]:
        """Decode what is there, up to `limit` records or what fits into a slice of time.

        What was taken before and not handed over is unread again.

        Raises:
            DecodeError: The first record can't be decoded; the ring stands behind it.
            RingCorruptedError: The ring can't be read any further.
        """
        return self._drain(decoder, min(limit, self._limit), adapt=limit >= self._limit)

    def flush(self, decoder: BatchDecoder[B]) -> Drained[B]:
        """Decode all that is there now, however long it takes. The ring is its bound.

        Raises:
            DecodeError: The first record can't be decoded; the ring stands behind it.
            RingCorruptedError: The ring can't be read any further.
        """
        # No record is shorter than the header that it has.
        return self._drain(decoder, max(1, self.source.capacity // 8), adapt=False)

    def _drain(self, decoder: BatchDecoder[B], limit: int, *, adapt: bool) -> Drained[B]:
        self.hand_over(0)
        source, pacing = self.source, self._pacing
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_INTERVAL
            source.sweep()
        if self._rested:
            self._rested = False
            gathered = source.fullness if pacing.timer_driven else 0.0
            self._tick = pacing.tick(gathered, now - self._looked_at)
        self._look = True  # if the drain fails
        drained = source.drain(decoder, limit)
        self._drains += 1
        self._decoded += drained.count
        self._taken = drained.count
        self._look = drained.more
        self._found = drained.count > 0
        if self._found:
            gap = now - self._looked_at
            if gap > self._longest_gap:
                self._longest_gap = gap
        self._looked_at = now
        if drained.more:
            if adapt:
                self._adapt(self._clock() - now)
        elif self._found and self._tick is None:
            self._look = pacing.timer_driven
        pacing.drained(drained.count)
        return drained

    def _adapt(self, seconds: float) -> None:
        if seconds < _SLICE / 4:
            self._limit = min(2 * self._limit, _MOST)
        elif seconds > _SLICE:
            self._limit = max(self._limit // 2, _FEWEST)

    def hand_over(self, count: int) -> None:
        """Of the records of the last drain `count` were handed over; the others are unread again.

        Does nothing when all of them were dealt with.
        """
        taken, self._taken = self._taken, 0
        if taken:
            self._received += count
            self._decoded -= taken - count
            if count < taken:
                self._look = True
            self.source.release(count, hold_back=True)

    def woken(self, *, readable: bool) -> None:
        """A wait ended.

        Args:
            readable: Whether the descriptor was readable, if that was waited for.
        """
        self._wakeups += 1
        self._look = self._rested = True
        if self._wait is None or not self._wait.readable:
            return
        if readable:
            self._looked_at = now = self._clock()
            self._pacing.woken(now)
        else:
            self._pacing.swept(pending=self.source.pending)

    def statistics(self, *, handed_over: int = 0) -> StreamStatistics:
        """What was counted so far; of a closed pump, what it had counted when it was closed.

        Args:
            handed_over: Of the last drain, so many are with the consumer already.
        """
        if self._final is not None:
            return self._final
        source = self.source
        return StreamStatistics(
            received=self._received + handed_over,
            decoded=self._decoded,
            discarded=source.discarded,
            lost=source.losses,
            backlog=source.backlog,
            capacity=source.capacity,
            wakeups=self._wakeups,
            drains=self._drains,
            longest_gap=self._longest_gap,
        )

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._final is not None

    def close(self) -> None:
        """Give back what was not handed over, publish, and close the source; idempotent."""
        if self._final is not None:
            return
        try:
            self.hand_over(0)
            self.source.publish()
            self._final = self.statistics()
        finally:
            if self._final is None:  # what is counted outside of the ring could not be read
                self._final = StreamStatistics(lost=Losses(kernel=None))
            self.source.close()
