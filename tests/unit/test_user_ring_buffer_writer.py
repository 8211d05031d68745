"""A user ring buffer takes records from Python, which programs see whole and in order."""

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bpfstream.errors import RingCorruptedError
from bpfstream.rings import UserRingBufferWriter
from tests.support.simulated_rings import PAGE, SimulatedUserRingBuffer

NEAR_WRAP = (1 << 64) - 64


def send(writer, payload):
    reservation = writer.reserve(len(payload))
    if reservation is None:
        return False
    reservation.buffer[:] = payload
    reservation.submit()
    return True


def test_programs_read_what_was_submitted(native):
    ring = SimulatedUserRingBuffer()
    writer = ring.writer(native=native)
    for payload in (b"first", b"", b"the third, longer than 8 bytes"):
        assert send(writer, payload)
    assert [ring.peek() for _ in range(4)] == [
        b"first",
        b"",
        b"the third, longer than 8 bytes",
        None,
    ]


def test_nothing_is_read_before_it_is_submitted_nor_what_is_behind_it(native):
    ring = SimulatedUserRingBuffer()
    writer = ring.writer(native=native)
    first = writer.reserve(4)
    assert send(writer, b"second")
    assert ring.peek() is None
    first.buffer[:] = b"late"
    first.submit()
    assert [ring.peek(), ring.peek()] == [b"late", b"second"]


def test_discarded_records_are_skipped(native):
    ring = SimulatedUserRingBuffer()
    writer = ring.writer(native=native)
    writer.reserve(100).discard()
    send(writer, b"kept")
    assert [ring.peek(), ring.peek()] == [b"kept", None]
    assert writer.backlog == 0


def test_a_full_ring_gives_no_reservation_until_a_program_has_read(native):
    ring = SimulatedUserRingBuffer(PAGE, position=NEAR_WRAP)
    writer = ring.writer(native=native)
    sent = 0
    while send(writer, bytes(24)):
        sent += 1
    assert sent == PAGE // 32
    assert writer.backlog == writer.capacity == PAGE
    assert not writer.fits(0)
    ring.peek()
    assert writer.fits(24)
    assert not writer.fits(25)
    assert writer.reserve(25) is None
    assert send(writer, bytes(24))


def test_a_record_may_run_over_the_end_of_the_data(native):
    ring = SimulatedUserRingBuffer(PAGE, position=PAGE - 16)
    send(ring.writer(native=native), bytes(range(200)))
    assert ring.peek() == bytes(range(200))


def test_a_record_that_will_never_fit_is_an_error(native):
    ring = SimulatedUserRingBuffer()
    writer = ring.writer(native=native)
    assert writer.largest == PAGE - 8
    for size in (PAGE - 7, 1 << 30, 1 << 40, -1):
        with pytest.raises(ValueError, match="up to 4088"):
            writer.reserve(size)
    assert send(writer, bytes(PAGE - 8))


def test_records_are_no_larger_than_a_dynptr_can_be(native):
    """``bpf_dynptr_check_size``: the kernel would never get past such a record."""
    ring = SimulatedUserRingBuffer(1 << 25)
    assert ring.writer(native=native).largest == (1 << 24) - 1


@pytest.mark.parametrize("end", ["submit", "discard"])
def test_a_reservation_ends_once_and_its_buffer_with_it(native, end):
    ring = SimulatedUserRingBuffer()
    reservation = ring.writer(native=native).reserve(4)
    getattr(reservation, end)()
    with pytest.raises(ValueError, match="released"):
        reservation.buffer[0] = 1
    for again in (reservation.submit, reservation.discard):
        with pytest.raises(ValueError, match="ended"):
            again()


def test_a_consumer_position_that_no_kernel_writes_is_corruption(native):
    ring = SimulatedUserRingBuffer()
    ring.consumer[:8].cast("Q")[0] = 8
    with pytest.raises(RingCorruptedError):
        ring.writer(native=native).reserve(1)


@pytest.mark.parametrize("size", [0, 16, 24, 4095, 3 * 4096])
def test_a_data_area_of_another_size_is_refused(size):
    page = memoryview(bytearray(8))
    with pytest.raises(ValueError, match="power of two"):
        UserRingBufferWriter(page, page, memoryview(bytearray(size)))


def test_a_closed_writer_lets_go_of_the_memory(native):
    consumer, producer, data = bytearray(8), bytearray(8), bytearray(64)
    writer = UserRingBufferWriter(
        memoryview(producer), memoryview(consumer), memoryview(data), native=native
    )
    reservation = writer.reserve(8)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        reservation.submit()
    for memory in (consumer, producer, data):
        memory.append(0)


def test_machines_that_reorder_stores_get_barriers_between_the_steps():
    ring = SimulatedUserRingBuffer()
    seen = []

    def barrier():
        seen.append((bytes(ring.producer[:1])[0], bytes(ring.data[:12])))

    writer = UserRingBufferWriter(
        ring.producer, ring.consumer, ring.data, barrier=barrier, native=False
    )
    reservation = writer.reserve(4)
    reservation.buffer[:] = b"data"
    reservation.submit()
    busy, size = (4 | 1 << 31).to_bytes(4, sys.byteorder), bytes(4)
    assert seen == [
        (0, bytes(12)),  # the consumer position was loaded: now the header may be written,
        (0, busy + size + bytes(4)),  # now the producer position may be stored,
        (16, busy + size + b"data"),  # now the busy mark may go
    ]


class Producer(RuleBasedStateMachine):
    """Reservations that end in any order, and a program that reads now and then."""

    native = False

    @initialize(
        size=st.sampled_from([PAGE, 2 * PAGE]),
        position=st.sampled_from([0, PAGE - 8, NEAR_WRAP]),
    )
    def begin(self, size, position):
        self.ring = SimulatedUserRingBuffer(size, position=position)
        self.writer = self.ring.writer(native=self.native)
        self.open = []
        self.records = []  # in the order of reservation: payload, or None once discarded
        self.read = 0

    @rule(size=st.integers(0, 60) | st.integers(0, 2000))
    def reserve(self, size):
        fits = self.writer.fits(size)
        reservation = self.writer.reserve(size)
        assert fits == (reservation is not None)
        if reservation is not None:
            payload = bytes([len(self.records) % 256]) * size
            reservation.buffer[:] = payload
            self.open.append((reservation, len(self.records)))
            self.records.append(payload)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 100), discard=st.booleans())
    def end(self, which, discard):
        reservation, number = self.open.pop(which % len(self.open))
        if discard:
            self.records[number] = None
            reservation.discard()
        else:
            reservation.submit()

    @rule()
    def program_reads(self):
        busy = {number for _, number in self.open}
        while (record := self.ring.peek()) is not None:
            while self.records[self.read] is None:
                self.read += 1
            assert self.read not in busy
            assert record == self.records[self.read]
            self.read += 1
        rest = range(self.read, len(self.records))
        readable = [number for number in rest if self.records[number] is not None]
        assert not readable or min(readable) in busy or min(busy) < min(readable)

    def teardown(self):
        if hasattr(self, "ring"):
            while self.open:
                self.end(0, False)
            self.program_reads()
            assert self.writer.backlog == 0


def test_whatever_is_submitted_is_read_once_and_in_order(native):
    machine = type("Producer", (Producer,), {"native": native})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, deadline=None))
