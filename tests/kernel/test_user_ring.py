"""Sending to programs through a user ring buffer."""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import bpfstream
from bpfstream.errors import SchemaError, StreamError
from bpfstream.kernel.features import Feature
from bpfstream.kernel.program_run import program_test_run
from tests.support.requirements import program_path, require

NO_WAKEUP = 1
SIZE = 4096
COMMAND = struct.Struct("=QII16s")
LARGEST = SIZE - 8


@pytest.fixture
async def obj() -> AsyncIterator[bpfstream.Object]:
    require(Feature.USER_RINGBUF, Feature.SYSCALL_PROGRAMS)
    spec = bpfstream.ObjectSpec.from_file(program_path("user_ring"))
    spec.programs["on_syscall"].autoload = False
    async with bpfstream.load(spec) as obj:
        yield obj


def drain(obj: bpfstream.Object, *, flags: int = 0) -> int:
    """Let the program take what is there; how many records that were."""
    return program_test_run(obj.programs["drain"].fd, context=struct.pack("=Q", flags))


def state(obj: bpfstream.Object) -> Any:
    """What the program has seen."""
    return obj.maps["state"][0]


def record(sequence: int, *, words: int = 0) -> bytes:
    """A command with a payload, as the program checks it."""
    return COMMAND.pack(sequence, words, 0, b"") + struct.pack("=Q", sequence) * words


async def test_a_program_gets_what_was_sent(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands") as ring:
        assert isinstance(ring, trio.abc.SendChannel)
        await ring.send({"threshold": 7, "name": "seven"})
        assert ring.backlog == 8 + COMMAND.size
        assert drain(obj) == 1
        assert (state(obj).last.threshold, state(obj).last.name) == (7, "seven")
        assert (ring.backlog, ring.sent, ring.capacity) == (0, 1, SIZE)


class Command(msgspec.Struct):
    threshold: int
    name: str


class Wrong(msgspec.Struct):
    name: float


async def test_what_is_sent_may_be_of_a_class_of_ones_own(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands", type=Command) as ring:
        await ring.send(Command(9, "nine"))
        drain(obj)
        assert (state(obj).last.threshold, state(obj).last.sequence) == (9, 0)


async def test_a_class_that_does_not_fit_is_refused(obj: bpfstream.Object) -> None:
    with pytest.raises(SchemaError, match=r"Wrong\.name"):
        obj.user_ring("commands", type=Wrong)
    with pytest.raises(SchemaError, match="no struct 'order'"):
        obj.user_ring("commands", type="order")


async def test_a_value_that_does_not_fit_sends_nothing(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands", type="command") as ring:
        with pytest.raises(SchemaError, match="threshold"):
            await ring.send({"threshold": -1})
        with pytest.raises(SchemaError, match="has no field"):
            ring.try_send({"treshold": 1})
        assert ring.backlog == 0
    async with obj.user_ring("commands", type=bytes) as ring:
        with pytest.raises(SchemaError, match="bytes are wanted"):
            await ring.send({"threshold": 1})  # type: ignore[arg-type]


async def test_only_user_rings_are_sent_to(obj: bpfstream.Object) -> None:
    with pytest.raises(StreamError, match="ARRAY"):
        obj.user_ring("state")
    with pytest.raises(KeyError):
        obj.user_ring("none")


async def test_a_ring_has_one_writer_at_a_time(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands"):
        with pytest.raises(trio.BusyResourceError):
            obj.user_ring("commands")
    async with obj.user_ring("commands") as again:
        await again.send({"threshold": 1})
    assert drain(obj) == 1, "what was sent outlives the writer"


async def test_a_full_ring_refuses_or_waits(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands", type=bytes) as ring, trio.open_nursery() as nursery:
        sequence = 0
        while ring.try_send(record(sequence)):
            sequence += 1
        assert sequence == SIZE // (8 + COMMAND.size)
        for waiting in (sequence, sequence + 1):
            nursery.start_soon(ring.send, record(waiting))
            await trio.testing.wait_all_tasks_blocked()
        assert ring.sent == sequence
        assert drain(obj) == sequence
        while ring.sent < sequence + 2:
            await trio.lowlevel.checkpoint()
        assert drain(obj) == 2
        assert state(obj).out_of_order == 0


async def test_a_large_record_waits_while_a_small_one_would_fit(obj: bpfstream.Object) -> None:
    """The descriptor polls writable all the time then: waiting must not spin."""
    async with obj.user_ring("commands", type=bytes) as ring, trio.open_nursery() as nursery:
        await ring.send(record(0, words=SIZE // 16))
        nursery.start_soon(ring.send, record(1, words=SIZE // 16))
        turns = 0
        with trio.move_on_after(0.1):
            while True:
                turns += 1
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert turns > 1, "the sender never blocked"
        assert ring.sent == 1
        assert not ring.try_send(record(0)), "others wait already"
        assert drain(obj) == 1
    assert drain(obj) == 1
    assert (state(obj).torn, state(obj).out_of_order) == (0, 0)


async def test_drains_that_wake_nobody_are_noticed(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands", type=bytes) as ring:
        while ring.try_send(record(0)):
            pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ring.send, record(0))
            await trio.testing.wait_all_tasks_blocked()
            drain(obj, flags=NO_WAKEUP)


async def test_a_record_that_never_fits_is_an_error(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands", type=bytes) as ring:
        assert ring.try_send(bytes(LARGEST))
        with pytest.raises(StreamError, match=f"up to {LARGEST}"):
            await ring.send(bytes(LARGEST + 1))
        with pytest.raises(StreamError, match=f"up to {LARGEST}"):
            ring.try_send(bytes(LARGEST + 1))
        with pytest.raises(StreamError, match=f"up to {LARGEST}"):
            async with ring.reserve(LARGEST + 1):
                pass


async def test_a_reservation_is_sent_at_the_end_of_its_block(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands") as ring:
        async with ring.reserve(COMMAND.size) as buffer:
            COMMAND.pack_into(buffer, 0, 0, 0, 3, b"three")
            await ring.send({"threshold": 4})
            assert drain(obj) == 0, "nothing overtakes a reservation"
        assert drain(obj) == 2
        assert state(obj).last.threshold == 4


async def test_a_reservation_is_given_up_when_its_block_raises(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands") as ring:
        with pytest.raises(ZeroDivisionError):
            async with ring.reserve(COMMAND.size):
                raise ZeroDivisionError
        with trio.CancelScope() as scope:
            async with ring.reserve(COMMAND.size):
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await ring.send({"threshold": 1})
        drain(obj)
        assert (state(obj).received, ring.sent, ring.backlog) == (1, 1, 0)


async def test_a_cancelled_send_sends_nothing(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands") as ring:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ring.send({"threshold": 1})
        while ring.try_send({"threshold": 1}):
            pass
        sent = ring.sent
        with trio.move_on_after(0.01):
            await ring.send({"threshold": 2})
        assert drain(obj) == ring.sent == sent
        assert ring.backlog == 0
        assert ring.try_send({"threshold": 3}), "who was cancelled waits no more"


async def test_sending_is_a_checkpoint(obj: bpfstream.Object) -> None:
    ring = obj.user_ring("commands")
    with trio.testing.assert_checkpoints():
        await ring.send({"threshold": 1})
    with trio.testing.assert_checkpoints():
        async with ring.reserve(8):
            pass
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await ring.aclose()


async def test_a_closed_ring_sends_nothing(obj: bpfstream.Object) -> None:
    ring = obj.user_ring("commands")
    ring.close()
    ring.close()
    assert ring.is_closed
    with pytest.raises(trio.ClosedResourceError):
        await ring.send({"threshold": 1})
    with pytest.raises(trio.ClosedResourceError):
        ring.try_send({"threshold": 1})
    with pytest.raises(trio.ClosedResourceError):
        async with ring.reserve(8):
            pass
    with pytest.raises(trio.ClosedResourceError):
        _ = ring.backlog


async def test_closing_ends_waits_and_gives_up_reservations(obj: bpfstream.Object) -> None:
    ring = obj.user_ring("commands", type=bytes)
    errors: list[BaseException] = []

    async def caught(sender: Callable[[], Awaitable[None]]) -> None:
        with pytest.raises(trio.ClosedResourceError) as raised:
            await sender()
        errors.append(raised.value)

    async def send() -> None:
        await ring.send(bytes(LARGEST))

    release = trio.Event()

    async def reserve() -> None:
        async with ring.reserve(COMMAND.size):
            await release.wait()

    async with trio.open_nursery() as nursery:
        for sender in (reserve, send, send):
            nursery.start_soon(caught, sender)
            await trio.testing.wait_all_tasks_blocked()
        ring.close()
        release.set()
    assert len(errors) == 3
    async with obj.user_ring("commands", type=bytes) as again:
        await again.send(record(0))
        drain(obj)
        assert (state(obj).received, again.backlog) == (1, 0)


async def test_the_end_of_the_object_closes_its_rings(obj: bpfstream.Object) -> None:
    ring = obj.user_ring("commands")
    obj.close()
    with pytest.raises(trio.ClosedResourceError):
        await ring.send({"threshold": 1})


async def test_nothing_is_lost_torn_or_out_of_order_under_stress(obj: bpfstream.Object) -> None:
    """Records of all sizes, sends that are cancelled at random, drains at random."""
    chance = random.Random(20_261)
    total = 2000
    async with obj.user_ring("commands", type=bytes) as ring:

        async def take() -> None:
            while True:
                await trio.sleep(chance.choice([0, 0, 0.0005]))
                drain(obj, flags=NO_WAKEUP if chance.random() < 0.05 else 0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            while ring.sent < total:
                sequence = ring.sent + 1
                payload = record(sequence, words=chance.choice([0, 1, 8, 60, 400]))
                with trio.move_on_after(chance.choice([0, 0.0001, 0.001, 1])):
                    if chance.random() < 0.3:
                        async with ring.reserve(len(payload)) as buffer:
                            buffer[:] = payload
                            await trio.lowlevel.checkpoint()
                    elif chance.random() < 0.3:
                        ring.try_send(payload)
                    else:
                        await ring.send(payload)
            nursery.cancel_scope.cancel()
        drain(obj)
        seen = state(obj)
        assert (seen.received, seen.out_of_order, seen.torn) == (total, 0, 0)


async def test_several_tasks_may_send(obj: bpfstream.Object) -> None:
    async with obj.user_ring("commands", type=bytes) as ring, trio.open_nursery() as nursery:
        for words in (0, 1, 60, 400):
            for _ in range(20):
                nursery.start_soon(ring.send, record(0, words=words))
        while state(obj).received < 80:
            await trio.testing.wait_all_tasks_blocked()
            drain(obj)
    assert (state(obj).received, state(obj).torn) == (80, 0)
