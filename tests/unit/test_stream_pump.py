"""When a stream looks at its ring, as a function of what came and when: no event loop, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bpfstream.errors import DecodeError
from bpfstream.streams.pacing import SWEEP_INTERVAL, UNTIL_COMMITTED, UNTIL_READABLE, Wait
from bpfstream.streams.pump import Pump
from tests.support.fake_ring import NUMBERS, FakeRing

LATENCY = 0.001
TICK = Wait(LATENCY, readable=False)


class Clock:
    """Seconds that go by when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Driver:
    """Carries out what a pump says, at once, and lets a program send meanwhile."""

    def __init__(self, ring: FakeRing, *, max_latency: float = LATENCY) -> None:
        self.ring = ring
        self.clock = Clock()
        self.pump = Pump(ring, max_latency=max_latency, clock=self.clock)
        self.received: list[int] = []

    def run(self) -> Wait:
        """Take what there is, until there is something to wait for."""
        while True:
            wait = self.pump.step()
            if wait is not None:
                return wait
            drained = self.pump.drain(NUMBERS)
            self.pump.hand_over(drained.count)
            self.received += drained.batch

    def wake(self, after: float, *values: int, readable: bool = True) -> Wait:
        """Events come, the wait ends, the stream looks; what is the next wait?"""
        self.clock.now += after
        self.ring.put(*values)
        self.pump.woken(readable=readable)
        return self.run()

    def tick(self, *values: int) -> Wait:
        """A tick of the timer, with what came since the last one."""
        return self.wake(LATENCY, *values, readable=False)

    def ticks_until_waiting(self, *values: int) -> int:
        """Tick with so much each time until it turns back to waiting, or for a hundred times."""
        return next((count for count in range(1, 100) if self.tick(*values).readable), 100)

    def turn_to_timer(self) -> None:
        """Have it woken as often as it takes."""
        for value in range(100):
            if self.wake(LATENCY / 20, value) == TICK:
                return
        raise AssertionError("not by a hundred wakeups")


@pytest.fixture
def ring() -> Iterator[FakeRing]:
    ring = FakeRing()
    yield ring
    ring.close()


@pytest.fixture
def driver(ring: FakeRing) -> Driver:
    return Driver(ring)


def test_a_quiet_ring_is_waited_for(driver: Driver) -> None:
    assert driver.run() == UNTIL_READABLE
    for value in range(100):
        assert driver.wake(LATENCY, value) == UNTIL_READABLE
    assert driver.received == list(range(100))
    assert driver.pump.statistics().wakeups == 100


def test_before_the_first_wait_it_looks(driver: Driver) -> None:
    """What was sent before anybody waited announces itself to nobody."""
    driver.ring.put(1)
    assert driver.run() == UNTIL_READABLE
    assert driver.received == [1]


def test_many_wakeups_turn_it_to_the_timer(driver: Driver) -> None:
    driver.turn_to_timer()
    assert 10 < driver.pump.statistics().wakeups < 40


def test_large_drains_turn_it_to_the_timer(driver: Driver) -> None:
    """A reader that is behind is seldom woken: there is always something."""
    waits = [driver.wake(LATENCY, *range(500)) for _ in range(20)]
    assert waits[-1] == TICK


def test_without_latency_there_is_no_timer(ring: FakeRing) -> None:
    driver = Driver(ring, max_latency=0)
    waits = {driver.wake(0.00001, *range(500)) for _ in range(1000)}
    waits.add(driver.wake(SWEEP_INTERVAL, 1, readable=False))
    assert waits == {UNTIL_READABLE}


def test_while_timer_driven_a_record_is_held_back(driver: Driver) -> None:
    driver.turn_to_timer()
    drains = driver.pump.statistics().drains
    for _ in range(50):
        assert driver.tick(1, 2, 3) == TICK
        assert driver.ring.held_back == 1
    assert driver.pump.statistics().drains == drains + 50, "one look a tick"


def test_a_tick_that_finds_nothing_publishes(driver: Driver) -> None:
    driver.turn_to_timer()
    driver.tick(1, 2, 3)
    assert driver.tick() == TICK
    assert driver.ring.held_back == 0


def test_ticks_that_find_little_turn_it_back_to_waiting(driver: Driver) -> None:
    driver.turn_to_timer()
    assert 1 < driver.ticks_until_waiting(1) < 30
    assert driver.ring.held_back == 0, "nobody would wake it"


def test_what_comes_as_it_turns_back_is_not_missed(driver: Driver) -> None:
    """The commit saw the record held back and woke nobody; publishing comes with another look."""
    driver.turn_to_timer()
    publish = driver.ring.publish

    def publish_after_a_commit() -> bool:
        driver.ring.publish = publish  # type: ignore[method-assign]
        driver.ring.content.append(77)
        return publish()

    for _ in range(16):
        driver.ring.publish = publish_after_a_commit  # type: ignore[method-assign]
        driver.tick()
        assert driver.received.pop() == 77


def test_full_ticks_come_sooner(driver: Driver) -> None:
    """A quarter of the ring may gather until the next look."""
    driver.turn_to_timer()
    whole = driver.ring.capacity // 16
    wait = driver.tick(*range(whole // 2))
    assert not wait.readable
    assert LATENCY / 4 < wait.seconds < LATENCY
    assert driver.tick(*range(whole // 8)) == TICK


def test_a_busy_record_is_no_reason_to_spin(driver: Driver) -> None:
    driver.ring.reserve()
    for _ in range(100):
        assert driver.wake(UNTIL_COMMITTED.seconds, readable=False) == UNTIL_COMMITTED
    driver.ring.commit(5)
    assert driver.wake(UNTIL_COMMITTED.seconds, readable=False) == UNTIL_READABLE
    assert driver.received == [5]


def test_a_busy_record_is_looked_for_by_the_timer_too(driver: Driver) -> None:
    driver.turn_to_timer()
    driver.ring.reserve()
    assert driver.tick() == TICK


def test_what_nobody_announced_turns_it_to_the_timer(driver: Driver) -> None:
    driver.run()
    assert driver.wake(SWEEP_INTERVAL, 1, readable=False) == TICK


def test_once_may_be_a_race_twice_is_a_program_that_wakes_nobody(driver: Driver) -> None:
    driver.run()
    driver.wake(SWEEP_INTERVAL, 1, readable=False)
    assert driver.ticks_until_waiting() < 100
    driver.wake(SWEEP_INTERVAL, 1, readable=False)
    assert driver.ticks_until_waiting() == 100


def test_a_wakeup_in_between_shows_that_it_was_a_race(driver: Driver) -> None:
    driver.run()
    for _ in range(5):
        driver.wake(SWEEP_INTERVAL, 1, readable=False)
        assert driver.ticks_until_waiting() < 100
        driver.wake(0.1, 1)


def test_an_empty_sweep_changes_nothing(driver: Driver) -> None:
    driver.run()
    waits = {driver.wake(SWEEP_INTERVAL, readable=False) for _ in range(20)}
    assert waits == {UNTIL_READABLE}


@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "timer-driven"])
def test_the_source_is_looked_after_a_few_times_a_second(driver: Driver, busy: bool) -> None:
    if busy:
        driver.turn_to_timer()
    sweeps = driver.ring.sweeps
    for _ in range(1000):
        driver.wake(LATENCY, *range(9 if busy else 0))
    assert driver.ring.sweeps - sweeps in (3, 4)


def test_a_drain_is_no_longer_than_a_millisecond(ring: FakeRing) -> None:
    """By what drains took before; here each record takes 10 microseconds."""
    driver = Driver(ring)
    drain = ring.drain

    def slow_drain(decoder, limit):
        drained = drain(decoder, limit)
        driver.clock.now += drained.count * 0.00001
        return drained

    ring.drain = slow_drain  # type: ignore[method-assign]
    ring.put(*range(20_000))
    counts = batch_sizes(driver)
    assert sum(counts) == 20_000
    assert 64 <= max(counts[8:]) <= 128


def test_drains_grow_where_they_are_fast(driver: Driver) -> None:
    driver.ring.put(*range(200_000))
    counts = batch_sizes(driver)
    assert sum(counts) == 200_000
    assert max(counts) == 1 << 16


def batch_sizes(driver: Driver) -> list[int]:
    counts = []
    while driver.ring.content:
        drained = driver.pump.drain(NUMBERS)
        counts.append(drained.count)
        driver.pump.hand_over(drained.count)
    return counts


def test_what_is_not_handed_over_is_unread_again(driver: Driver) -> None:
    driver.ring.put(*range(10))
    driver.pump.drain(NUMBERS)
    driver.pump.hand_over(4)
    statistics = driver.pump.statistics()
    assert (statistics.received, statistics.decoded) == (4, 4)
    assert driver.pump.step() is None
    assert driver.pump.drain(NUMBERS).batch == list(range(4, 10))
    assert driver.pump.drain(NUMBERS).batch == list(range(4, 10)), "nobody took them"


def test_after_an_error_it_looks_again(driver: Driver) -> None:
    driver.ring.put(DecodeError("bad", type_name="event", record=b""), 5)
    with pytest.raises(DecodeError):
        driver.run()
    assert driver.run() == UNTIL_READABLE
    assert driver.received == [5]


def test_a_failure_to_close_leaves_it_closed() -> None:
    class Failing(FakeRing):
        @property
        def losses(self):
            raise OSError("no counter")

        @losses.setter
        def losses(self, value):
            pass

    ring = Failing()
    pump = Pump(ring, max_latency=0)
    with pytest.raises(OSError, match="no counter"):
        pump.close()
    pump.close()
    assert pump.is_closed
    assert ring.closed == 1
    assert pump.statistics().lost.kernel is None


def gap_after(consume: Callable[[Driver], None], ring: FakeRing) -> float:
    driver = Driver(ring)
    driver.run()
    consume(driver)
    return driver.pump.statistics().longest_gap


def test_the_longest_gap_is_the_time_a_consumer_took(ring: FakeRing) -> None:
    def consume(driver: Driver) -> None:
        driver.wake(1, 1)
        driver.clock.now += 5
        ring.put(2)
        driver.run()

    assert gap_after(consume, ring) == pytest.approx(5)


def test_sleep_until_a_wakeup_is_no_gap(ring: FakeRing) -> None:
    assert gap_after(lambda driver: driver.wake(5, 1), ring) == 0


def test_quiet_is_no_gap(ring: FakeRing) -> None:
    def consume(driver: Driver) -> None:
        for _ in range(20):
            driver.wake(SWEEP_INTERVAL, readable=False)
        driver.wake(0.1, 1)

    assert gap_after(consume, ring) == 0


def test_sleep_that_nobody_ended_is_a_gap(ring: FakeRing) -> None:
    gap = gap_after(lambda driver: driver.wake(SWEEP_INTERVAL, 1, readable=False), ring)
    assert gap == pytest.approx(SWEEP_INTERVAL)
