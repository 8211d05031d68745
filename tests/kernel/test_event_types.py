"""What becomes of the records of a ring: structs from BTF, classes of the user's own, bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
import pytest
import trio

import bpfstream
from bpfstream.errors import SchemaError, StreamError
from bpfstream.kernel.features import Feature
from bpfstream.live import load_object
from bpfstream.spec import ObjectSpec
from tests.support.requirements import program_path, require


class EnteredEvent(msgspec.Struct, tag="ENTERED"):
    pid: int
    syscall: int


class LeftEvent(msgspec.Struct, tag="LEFT"):
    pid: int
    result: int
    comm: str


class WrongField(msgspec.Struct):
    pid: str


@pytest.fixture
def obj() -> Iterator[bpfstream.Object]:
    require(Feature.RINGBUF)
    spec = ObjectSpec.from_file(program_path("tagged"))
    spec.variables["target_pid"].value = os.getpid()
    with load_object(spec) as obj:
        yield obj


async def first_of_each(obj: bpfstream.Object, stream: bpfstream.EventStream) -> dict[str, object]:
    """The first event of each type that this process's system calls make."""
    found: dict[str, object] = {}
    async with stream:
        with obj.attach():
            os.sched_yield()
        with trio.fail_after(5):
            async for event in stream:
                found.setdefault(type(event).__name__, event)
                if len(found) == 2:
                    break
    return found


async def test_structs_by_name_told_apart_by_a_tag(obj: bpfstream.Object) -> None:
    kinds = {1: "entered_event", 2: "left_event"}
    found = await first_of_each(obj, obj.events("events", type=kinds, tag="kind"))
    assert found["entered_event"].pid == os.getpid()
    assert found["left_event"].comm


async def test_classes_that_say_their_tag(obj: bpfstream.Object) -> None:
    kinds = [EnteredEvent, LeftEvent]
    found = await first_of_each(obj, obj.events("events", type=kinds, tag="kind"))
    assert found["EnteredEvent"].pid == os.getpid()
    assert found["LeftEvent"].comm


async def test_the_ring_says_its_struct_itself(obj: bpfstream.Object) -> None:
    spec = obj.spec
    spec.programs["on_exit"].autoload = False
    with load_object(spec) as only_enter:
        async with only_enter.events("events") as events:
            with only_enter.attach():
                os.sched_yield()
            with trio.fail_after(5):
                event = await events.receive()
    assert type(event).__name__ == "entered_event"
    assert event.kind.name == "ENTERED"


async def test_bytes_on_demand(obj: bpfstream.Object) -> None:
    async with obj.events("events", type=bytes) as events:
        with obj.attach():
            os.sched_yield()
        with trio.fail_after(5):
            record = await events.receive()
    assert len(record) in (16, 32)


async def test_a_class_that_differs_names_the_field(obj: bpfstream.Object) -> None:
    with pytest.raises(SchemaError) as caught:
        obj.events("events", type=WrongField)
    assert caught.value.field == "pid"
    assert "WrongField.pid" in str(caught.value)


async def test_what_is_no_ring_or_no_struct_is_named(obj: bpfstream.Object) -> None:
    with pytest.raises(KeyError, match="evnts"):
        obj.events("evnts")
    with pytest.raises(StreamError, match="events_lost"):
        obj.events("events_lost")
    with pytest.raises(SchemaError, match="no_such_struct"):
        obj.events("events", type="no_such_struct")


async def test_a_ring_has_one_stream_at_a_time(obj: bpfstream.Object) -> None:
    async with obj.events("events"):
        with pytest.raises(trio.BusyResourceError):
            obj.events("events")
    async with obj.events("events"):
        pass
