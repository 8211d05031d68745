"""The kernel's clocks: those that programs stamp events with, and the one of the calendar."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from typing import Literal, TypeAlias

import msgspec


class Clock(IntEnum):
    """Clocks by their number for clock_gettime(2)."""

    REALTIME = time.CLOCK_REALTIME
    """Unix time. It is set, stepped and slewed."""
    MONOTONIC = time.CLOCK_MONOTONIC
    """``bpf_ktime_get_ns``: time since boot without suspends. It stands still in a suspend."""
    BOOTTIME = time.CLOCK_BOOTTIME
    """``bpf_ktime_get_boot_ns`` (Linux 5.8): time since boot, suspends included."""


ClockName: TypeAlias = Literal["monotonic", "boottime"]
"""The clocks that programs stamp events with."""

ReadClock: TypeAlias = Callable[[Clock], int]
"""Reads a clock, in nanoseconds; tests have clocks of their own."""

_GOOD_WIDTH = 1_000
_ATTEMPTS = 5


def clock_named(name: ClockName) -> Clock:
    """The clock of a name.

    Raises:
        ValueError: Programs stamp no events with such a clock.
    """
    if name not in ("monotonic", "boottime"):
        raise ValueError(f"events are stamped by 'monotonic' or 'boottime', not {name!r}")
    return Clock[name.upper()]


def read_clock(clock: Clock) -> int:
    """What a clock shows, in nanoseconds."""
    return time.clock_gettime_ns(clock)


class Bracket(msgspec.Struct, frozen=True, gc=False):
    """The calendar's clock, read between two readings of a clock of the kernel, in nanoseconds.

    Attributes:
        before: The kernel's clock, read first.
        unix: `Clock.REALTIME`, read after that.
        after: The kernel's clock, read last.
    """

    before: int
    unix: int
    after: int


def bracket(clock: Clock, read: ReadClock = read_clock) -> Bracket:
    """Read both clocks as one; the narrowest of a few readings, as any may be interrupted."""
    best: Bracket | None = None
    for _ in range(_ATTEMPTS):
        reading = Bracket(read(clock), read(Clock.REALTIME), read(clock))
        if best is None or reading.after - reading.before < best.after - best.before:
            best = reading
        if best.after - best.before <= _GOOD_WIDTH:
            break
    assert best is not None
    return best
