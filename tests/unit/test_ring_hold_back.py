"""A reader that leaves the last record unfreed is never woken, and neither loses nor blocks events.

The kernel wakes a reader when it commits the record at the consumer position, and only then. The
producer here tells by that rule whether a commit wakes the reader.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bpfstream import rings
from bpfstream.rings import EachRecord, copy_record
from tests.support.simulated_rings import SimulatedRingBuffer

COPIES = EachRecord(copy_record)


def drain(reader, limit=1000):
    return rings.drain(reader, COPIES, limit).batch


def test_a_reader_that_keeps_up_is_woken_by_every_record(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    for _ in range(5):
        assert ring.commit(ring.reserve(1))
        assert len(drain(reader)) == 1
        reader.release()
    assert ring.wakeups == 5


def test_a_reader_that_holds_back_the_last_record_is_not_woken(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"woken")
    assert ring.wakeups == 1
    for number in range(1000):  # many times around the ring
        drain(reader)
        reader.release(hold_back=True)
        assert ring.send(bytes([number % 256] * (number % 50)))
    assert ring.wakeups == 1


def test_only_the_last_record_is_held_back(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    for _ in range(5):
        ring.send(bytes(8))
    drain(reader, 3)
    reader.release(hold_back=True)
    assert ring.consumer_position == 2 * 16
    assert drain(reader) == [bytes(8)] * 2
    reader.release(hold_back=True)
    assert ring.consumer_position == 4 * 16


def test_a_discarded_record_may_be_the_one_that_is_held_back(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"kept")
    ring.send(b"dropped", discard=True)
    drain(reader)
    reader.release(hold_back=True)
    assert ring.consumer_position == 16


def test_what_was_held_back_is_freed_by_a_drain_that_finds_nothing(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"a")
    drain(reader)
    reader.release(hold_back=True)
    assert reader.backlog == 16
    assert drain(reader) == []
    reader.release(hold_back=True)
    assert reader.backlog == 0


def test_what_was_held_back_is_freed_by_closing(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"a")
    drain(reader)
    reader.release(hold_back=True)
    reader.close()
    assert ring.consumer_position == ring.producer_position


def test_records_of_more_than_an_eighth_of_the_ring_are_not_held_back(native):
    """A ring of 4 KiB and records of 2400 bytes: while one is held back, no other finds room."""
    ring = SimulatedRingBuffer(4096)
    reader = ring.reader(native=native)
    for _ in range(10):
        assert ring.send(bytes(2400))
        assert len(drain(reader)) == 1
        reader.release(hold_back=True)


@pytest.mark.parametrize(("length", "held"), [(504, True), (505, False)])
def test_an_eighth_counts_the_header_and_the_padding(native, length, held):
    ring = SimulatedRingBuffer(4096)
    reader = ring.reader(native=native)
    ring.send(bytes(length))
    drain(reader)
    reader.release(hold_back=True)
    assert bool(reader.backlog) == held


def test_publishing_says_whether_there_is_something_to_take(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    assert not reader.publish()
    ring.send(b"a")
    drain(reader)
    reader.release(hold_back=True)
    assert not reader.publish()
    assert ring.consumer_position == ring.producer_position
    assert ring.send(b"b")
    assert reader.publish()


def test_a_busy_record_is_nothing_to_take_and_wakes_who_published(native):
    ring = SimulatedRingBuffer()
    reader = ring.reader(native=native)
    ring.send(b"a")
    first, second = ring.reserve(1), ring.reserve(1)
    drain(reader)
    reader.release(hold_back=True)
    assert not reader.publish()
    assert reader.busy
    assert not ring.commit(second)
    assert ring.commit(first)


class Stream(RuleBasedStateMachine):
    """A producer and a reader that looks by a timer, or sleeps until the kernel wakes it."""

    native = False

    @initialize(
        size=st.sampled_from([64, 128, 512, 4096]),
        position=st.sampled_from([0, 4096 - 8, (1 << 64) - 128]),
    )
    def begin(self, size, position):
        self.ring = SimulatedRingBuffer(size, position=position)
        self.reader = self.ring.reader(native=self.native)
        self.reserved = []  # place, number; in the order of the ring
        self.sent = []  # number, or None while busy, or "discarded"; in the order of the ring
        self.received = []
        self.asleep = self.woken = False

    @rule(share=st.floats(0, 1))
    def reserve(self, share):
        largest = self.ring.size - 16
        place = self.ring.reserve(max(2, round(share * share * largest)))
        if place is not None:
            self.reserved.append((place, len(self.sent)))
            self.sent.append(None)

    @precondition(lambda self: self.reserved)
    @rule(which=st.integers(0, 100), discard=st.booleans())
    def commit(self, which, discard):
        place, number = self.reserved.pop(which % len(self.reserved))
        self.sent[number] = "discarded" if discard else number
        held_back = self.reader.backlog and self.ring.consumer_position != self.reader._position
        wakes = self.ring.commit(place, number.to_bytes(2), discard=discard)
        assert not (wakes and held_back)
        self.woken = self.woken or wakes

    @precondition(lambda self: not self.asleep)
    @rule(limit=st.integers(1, 20), keep=st.integers(0, 20))
    def tick(self, limit, keep=1000):
        batch = drain(self.reader, limit)[:keep]
        self.received += [int.from_bytes(record[:2]) for record in batch]
        self.reader.keep(len(batch))
        self.reader.release(hold_back=True)

    @precondition(lambda self: not self.asleep)
    @rule()
    def sleep(self):
        self.woken = False
        self.asleep = not self.reader.publish()

    @precondition(lambda self: self.asleep and self.woken)
    @rule()
    def wake_up(self):
        self.asleep = False
        self.tick(20)

    @precondition(lambda self: not self.asleep and not self.reserved)
    @rule()
    def everything_that_fits_finds_room_soon(self):
        while (before := len(self.received), self.reader.discarded) and self.reader.pending:
            self.tick(20)
            assert (len(self.received), self.reader.discarded) != before
        self.tick(20)  # finds nothing
        place = self.ring.reserve(self.ring.size - 16)
        assert place is not None
        self.sent.append("discarded")
        self.ring.commit(place, discard=True)

    @invariant()
    def who_sleeps_is_woken_by_what_can_be_taken(self):
        if self.asleep:
            assert self.woken or not self.reader.pending

    @invariant()
    def events_arrive_once_and_in_order(self):
        done = [number for number in self.sent if number not in ("discarded", None)]
        ahead = [number for number in self.sent if number != "discarded"]
        assert self.received == ahead[: len(self.received)]
        assert set(self.received) <= set(done)

    def teardown(self):
        if not hasattr(self, "ring"):
            return
        while self.reserved:
            self.commit(0, False)
        if self.asleep and self.reader.pending:
            assert self.woken
        self.asleep = False
        while self.reader.pending:
            self.tick(20)
        assert self.received == [number for number in self.sent if number != "discarded"]


def test_no_wakeup_is_lost_and_no_event_and_no_ring_is_blocked(native):
    machine = type("Stream", (Stream,), {"native": native})
    run_state_machine_as_test(machine, settings=settings(max_examples=150, deadline=None))
