"""Kernel timestamps to Unix time, whatever happens to the clocks."""

from __future__ import annotations

import time
from bisect import bisect_right
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpfstream.kernel.clocks import Clock
from bpfstream.kernel.wall_clock import WallClock

SECOND = 1_000_000_000
READ = 50
"""Nanoseconds that it takes to read a clock of a simulated machine."""


class Machine:
    """A machine's clocks. What happened to them can be looked up: the truth."""

    def __init__(self) -> None:
        self.monotonic = 1000 * SECOND
        self._suspended = 0
        self._offset = 1_700_000_000 * SECOND
        self._slew = 0.0
        self._changed = self.monotonic
        self._history = [(self.monotonic, self._offset, 0.0)]

    def read(self, clock: Clock) -> int:
        self.monotonic += READ
        match clock:
            case Clock.MONOTONIC:
                return self.monotonic
            case Clock.BOOTTIME:
                return self.monotonic + self._suspended
            case Clock.REALTIME:
                return self.unix()

    def unix(self, monotonic: int | None = None) -> int:
        """What the clock showed then."""
        now = self.monotonic if monotonic is None else monotonic
        index = bisect_right(self._history, now, key=lambda entry: entry[0]) - 1
        start, offset, slew = self._history[max(index, 0)]
        return now + offset + round((now - start) * slew)

    def run(self, nanoseconds: int) -> None:
        self.monotonic += nanoseconds

    def step(self, nanoseconds: int) -> None:
        self._change(nanoseconds, self._history[-1][2])

    def slew(self, rate: float) -> None:
        self._change(0, rate)

    def suspend(self, nanoseconds: int) -> None:
        self._suspended += nanoseconds
        self._change(nanoseconds, self._history[-1][2])

    def _change(self, step: int, slew: float) -> None:
        self.monotonic += 1
        offset = self.unix() - self.monotonic + step
        self._history.append((self.monotonic, offset, slew))


@pytest.fixture
def machine():
    return Machine()


def close(found, truth, tolerance=4 * READ):
    return abs(found - truth) <= tolerance


def test_a_timestamp_of_now_is_the_time_of_now():
    for name, clock in (("monotonic", time.CLOCK_MONOTONIC), ("boottime", time.CLOCK_BOOTTIME)):
        wall = WallClock(name)
        before = time.time_ns()
        converted = wall.unix_ns(time.clock_gettime_ns(clock))
        after = time.time_ns()
        assert before - 10_000_000 <= converted <= after + 10_000_000


def test_gives_aware_datetimes(machine):
    wall = WallClock(read=machine.read)
    moment = wall.datetime(machine.monotonic)
    assert moment.tzinfo is UTC
    assert abs(moment - datetime.fromtimestamp(1_700_001_000, UTC)).total_seconds() < 1e-3


def test_any_timestamp_of_64_bits_is_a_time(machine):
    wall = WallClock(read=machine.read)
    assert wall.datetime((1 << 64) - 1).year == 2608
    assert wall.datetime(0).year == 2023


def test_an_event_from_before_a_step_has_the_time_of_before(machine):
    wall = WallClock(read=machine.read)
    event = machine.monotonic
    machine.run(10 * SECOND)
    wall.unix_ns(event)
    before = machine.monotonic
    machine.step(-3600 * SECOND)
    machine.run(2 * SECOND)
    after = machine.monotonic
    assert close(wall.unix_ns(after), machine.unix(after))
    assert close(wall.unix_ns(before - SECOND), machine.unix(before - SECOND))
    assert close(wall.unix_ns(event), machine.unix(event))


@pytest.mark.parametrize(("clock", "doubt"), [("monotonic", SECOND), ("boottime", 0)])
def test_a_suspend_is_noticed(machine, clock, doubt):
    number = Clock[clock.upper()]
    wall = WallClock(clock, read=machine.read)
    machine.run(SECOND)
    wall.unix_ns(machine.read(number))
    before, unix_before = machine.read(number), machine.unix()
    machine.suspend(8 * 3600 * SECOND)
    machine.run(doubt)
    after, unix_after = machine.read(number), machine.unix()
    assert close(wall.unix_ns(after), unix_after)
    assert close(wall.unix_ns(before), unix_before)


def test_until_the_next_comparison_a_step_is_not_known(machine):
    """What `interval` promises, and no more."""
    wall = WallClock(read=machine.read)
    machine.step(5 * SECOND)
    machine.run(SECOND // 2)
    assert close(wall.unix_ns(machine.monotonic), machine.unix() - 5 * SECOND)
    machine.run(SECOND // 2)
    assert close(wall.unix_ns(machine.monotonic), machine.unix())
    eager = WallClock(read=machine.read, interval=0)
    machine.step(5 * SECOND)
    machine.run(1000 * READ)
    assert close(eager.unix_ns(machine.monotonic), machine.unix())


def test_slewing_is_interpolated(machine):
    machine.slew(400e-6)
    wall = WallClock(read=machine.read)
    first = machine.monotonic
    machine.run(1000 * SECOND)
    wall.compare()
    half = first + 500 * SECOND
    assert close(wall.unix_ns(half), machine.unix(half))


def test_the_clocks_are_not_compared_for_every_event(machine):
    wall = WallClock(read=machine.read)
    reads = 0

    def counted(clock):
        nonlocal reads
        reads += 1
        return machine.read(clock)

    wall = WallClock(read=counted)
    reads = 0
    for _ in range(1000):
        wall.unix_ns(machine.monotonic)
    assert reads == 1000


def test_an_interrupted_comparison_is_made_again(machine):
    interruptions = iter([0, 0, 5_000_000])

    def interrupted(clock):
        machine.run(next(interruptions, 0))
        return machine.read(clock)

    wall = WallClock(read=interrupted)
    assert close(wall.unix_ns(machine.monotonic), machine.unix())


def test_only_changes_are_remembered_and_so_for_long(machine):
    wall = WallClock(read=machine.read)
    event = machine.monotonic
    machine.run(SECOND)
    wall.compare()
    machine.step(3600 * SECOND)
    for _ in range(1000):
        machine.run(SECOND)
        wall.unix_ns(machine.monotonic)
    assert close(wall.unix_ns(event), machine.unix(event))


def test_memory_is_bounded(machine):
    wall = WallClock(read=machine.read, interval=0)
    for _ in range(2000):
        machine.step(SECOND)
        machine.run(SECOND)
        wall.unix_ns(machine.monotonic)
    assert len(wall._history) == 256
    recent = machine.monotonic - 10 * SECOND
    assert close(wall.unix_ns(recent), machine.unix(recent), SECOND + 4 * READ)


@pytest.mark.parametrize("wrong", [{"clock": "realtime"}, {"interval": -1}])
def test_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=r"stamped|interval"):
        WallClock(**wrong)


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(0, 20 * SECOND)),
        st.tuples(st.just("step"), st.integers(-(10**6) * SECOND, 10**6 * SECOND)),
        st.tuples(st.just("slew"), st.floats(-450e-6, 450e-6)),
        st.tuples(st.just("suspend"), st.integers(0, 10**6 * SECOND)),
        st.tuples(st.just("event"), st.none()),
        st.tuples(st.just("use"), st.none()),
    ),
    max_size=40,
)


@given(happenings=HAPPENINGS)
@example([("event", None), ("use", None), ("step", SECOND), ("use", None), ("event", None)])
def test_the_error_is_what_sampling_allows(happenings):
    """Right but for the slewing of a second, if no step came between the comparisons around it."""
    machine = Machine()
    compared = [machine.monotonic]
    stepped: list[int] = []
    events: list[int] = []
    wall = WallClock(read=machine.read)
    compared.append(machine.monotonic)
    for happening, argument in happenings:
        match happening:
            case "event":
                machine.run(1)
                events.append(machine.monotonic)
            case "use":
                wall.compare()
                compared.append(machine.monotonic)
            case "step" | "suspend":
                getattr(machine, happening)(argument)
                stepped.append(machine.monotonic)
            case _:
                getattr(machine, happening)(argument)
    wall.compare()
    compared.append(machine.monotonic)
    for event in events:
        index = bisect_right(compared, event)
        start, end = compared[index - 1], compared[min(index, len(compared) - 1)]
        if any(start <= step <= end for step in stepped):
            continue
        gap = end - start
        # Twice the slew over the gap, as its rate may change in between; and the comparisons' own.
        assert close(wall.unix_ns(event), machine.unix(event), 2 * 450e-6 * gap + 8 * READ)
