"""A user's Struct class is checked against BTF, field by field, before a record is read."""

import struct
from enum import Enum, IntEnum, IntFlag
from typing import Annotated, Any, NewType

import msgspec
import pytest

from bpfstream.errors import DecodeError, SchemaError
from bpfstream.records import U16, U32, Array, Chars, record_type
from tests.support.c_structs import CTypes


class Colour(IntEnum):
    RED = 1
    GREEN = 2


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int


Pid = NewType("Pid", int)


def event_btf():
    types = CTypes()
    u32 = types.named("u32")
    event = types.struct(
        "event",
        72,
        ("pid", u32, 0),
        ("colour", types.enum("colour", RED=1, GREEN=2), 4),
        ("comm", types.array(types.named("char"), 16), 8),
        ("address", types.array(types.named("u8"), 16), 24),
        ("ports", types.array(types.named("u16"), 2), 40),
        ("at", types.struct("point", 8, ("x", u32, 0), ("y", u32, 4)), 44),
        ("ok", types.named("bool"), 52),
        ("load", types.named("double"), 56),
        ("class", types.named("s32"), 64),
        ("low", u32, 544, 4),
        ("high", types.named("s32"), 548, 4),
    )
    return types.btf(), event


RECORD = struct.pack(
    "<II16s16sHHIIB3xdiB3x",
    *(7, 2, b"bash", bytes(range(16)), 80, 443, 3, 4, 1, 0.5, -9, 0xF3),
)


def read(cls, record=RECORD):
    btf, event = event_btf()
    return record_type(btf, event, struct=cls).decode(memoryview(record), 0, len(record))


def made(**annotations):
    """A class with these fields."""
    return msgspec.defstruct("Event", list(annotations.items()))


def test_the_class_takes_the_fields_that_it_wants_in_its_own_order():
    class Event(msgspec.Struct):
        comm: str
        at: Point
        pid: int

    assert read(Event) == Event("bash", Point(3, 4), 7)


@pytest.mark.parametrize(
    ("field", "annotation", "value"),
    [
        ("pid", int, 7),
        ("pid", Pid, 7),
        ("pid", bool, True),
        ("pid", Any, 7),
        ("pid", Access, Access.READ | Access.WRITE | 4),
        ("pid", Annotated[int, U32], 7),
        ("pid", Annotated[int, msgspec.Meta(ge=0)], 7),
        ("colour", Colour, Colour.GREEN),
        ("colour", Colour | int, Colour.GREEN),
        ("colour", int, 2),
        ("comm", str, "bash"),
        ("comm", bytes, b"bash" + bytes(12)),
        ("comm", Annotated[str, Chars(16)], "bash"),
        ("address", tuple[int, ...], tuple(range(16))),
        ("address", tuple, tuple(range(16))),
        ("address", bytes, bytes(range(16))),
        ("address", str, ""),
        ("ports", tuple[int, int], (80, 443)),
        ("ports", Annotated[tuple[int, ...], Array(U16, 2)], (80, 443)),
        ("ports", bytes, struct.pack("<HH", 80, 443)),
        ("at", Point, Point(3, 4)),
        ("at", bytes, struct.pack("<II", 3, 4)),
        ("ok", bool, True),
        ("ok", int, 1),
        ("load", float, 0.5),
        ("low", int, 3),
        ("high", int, -1),
        ("low", bool, True),
    ],
)
def test_a_field_is_read_as_its_annotation_says(field, annotation, value):
    result = getattr(read(made(**{field: annotation})), field)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("field", "annotation", "says"),
    [
        ("pid", str, "Event.pid: C says unsigned int, but the class says str"),
        ("comm", int, "the class says int"),
        ("load", int, "C says double"),
        ("pid", float, "the class says float"),
        ("at", int, "C says struct point"),
        ("pid", Point, "the class says Point"),
        ("pid", list[int], r"the class says list\[int\]"),
        ("pid", tuple[int, ...], r"the class says tuple\[int, ...\]"),
        ("ports", tuple[int, int, int], "but the class says tuple"),
        ("ports", tuple[str, ...], r"Event.ports\[\]: C says unsigned short"),
        ("ports", str, "the class says str"),
        ("pid", int | str, r"the class says int \| str"),
        ("pid", Annotated[int, U16], "the class says u16"),
        ("comm", Annotated[str, Chars(32)], r"the class says char\[32\]"),
        ("low", Point, "the class says Point"),
    ],
)
def test_a_field_that_can_t_be_read_so_is_named(field, annotation, says):
    with pytest.raises(SchemaError, match=says) as raised:
        read(made(**{field: annotation}))
    assert raised.value.field.removesuffix("[]") == field


def test_a_field_that_the_struct_lacks_is_named_with_those_it_has():
    with pytest.raises(
        SchemaError, match=r"struct event has no such field .*pid, colour"
    ) as raised:
        read(made(tgid=int))
    assert raised.value.field == "tgid"


def test_a_field_of_a_nested_class_is_named_with_its_path():
    with pytest.raises(SchemaError, match=r"Event\.at\.z") as raised:
        read(made(at=msgspec.defstruct("Spot", [("z", int)])))
    assert raised.value.field == "z"


def test_enums_whose_values_do_not_fit_or_differ_from_c_are_refused():
    with pytest.raises(SchemaError, match="RED is 1 in C and 3 in the class"):
        read(made(colour=IntEnum("Colour", {"RED": 3})))
    with pytest.raises(SchemaError, match="has the value 256"):
        read(made(ok=IntEnum("Large", {"A": 256})))
    with pytest.raises(SchemaError, match="no int"):
        read(made(colour=Enum("Named", {"RED": "red"})))


def test_an_enum_with_negative_values_is_read_signed_whatever_btf_says():
    types = CTypes()
    event = types.struct("event", 4, ("error", types.enum("error", NONE=0), 0))
    error = IntEnum("Error", {"NONE": 0, "DENIED": -13})
    kind = record_type(types.btf(), event, struct=made(error=error))
    assert kind.decode(memoryview(struct.pack("<i", -13)), 0, 4).error is error.DENIED


def test_a_value_that_the_enum_does_not_name_stays_a_number():
    record = bytearray(RECORD)
    record[4] = 99
    assert read(made(colour=Colour), record).colour == 99


def test_fields_go_by_the_name_that_msgspec_encodes_and_by_the_one_in_python():
    class Event(msgspec.Struct, rename="camel"):
        process: int = msgspec.field(name="pid")
        class_: int
        load: float

    assert read(Event) == Event(process=7, class_=-9, load=0.5)


def test_classes_with_keyword_only_fields_and_defaults():
    class Event(msgspec.Struct, kw_only=True):
        pid: int = 0
        comm: str

    assert read(Event) == Event(pid=7, comm="bash")


def test_a_record_that_the_class_refuses_is_a_decode_error():
    class Event(msgspec.Struct):
        pid: int

        def __post_init__(self):
            if self.pid == 7:
                raise ValueError("not this one")

    with pytest.raises(DecodeError, match="not this one") as raised:
        read(Event)
    assert raised.value.record == RECORD


def test_what_is_no_struct_class_is_refused():
    with pytest.raises(SchemaError, match="not a msgspec"):
        read(int)


def test_an_annotation_that_names_nothing_is_refused():
    with pytest.raises(SchemaError, match="can't be read"):
        read(made(pid="Nowhere"))


def test_a_class_that_leaves_out_the_last_array_still_takes_records_cut_short_in_it():
    types = CTypes()
    args = types.array(types.named("char"), 64)
    event = types.struct("event", 68, ("pid", types.named("u32"), 0), ("args", args, 4))
    kind = record_type(types.btf(), event, struct=made(pid=int))
    assert kind.decode(memoryview(struct.pack("<I", 7)), 0, 4).pid == 7
    as_bytes = record_type(types.btf(), event, struct=made(pid=int, args=bytes))
    record = struct.pack("<I", 7) + b"ls\0-l"
    assert as_bytes.decode(memoryview(record), 0, len(record)).args == b"ls\0-l"
