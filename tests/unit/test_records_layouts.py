"""Without BTF, a class's annotations say how its fields lie in memory."""

import ctypes
import struct
from enum import IntEnum
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import DecodeError, SchemaError
from bpfstream.records import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Chars,
    record_type_of_class,
)


class Kind(IntEnum):
    OPEN = 1


class Span(msgspec.Struct):
    start: Annotated[int, U64]
    small: Annotated[int, U8]


class Event(msgspec.Struct):
    flag: bool
    pid: Annotated[int, U32]
    kind: Annotated[Kind, U16]
    comm: Annotated[str, Chars(5)]
    span: Span
    spans: Annotated[tuple[Span, ...], Array(Span, 2)]
    address: Annotated[bytes, Array(U8, 4)]
    load: Annotated[float, F64]


def decode(cls, data, byteorder="little"):
    return record_type_of_class(cls, byteorder=byteorder).decode(memoryview(data), 0, len(data))


def test_fields_lie_as_c_aligns_them():
    data = struct.pack(
        "<?3xIH5s1xQB7xQB7xQB7x4s4xd",
        *(True, 7, 1, b"bash", 10, 11, 20, 21, 30, 31, b"\x7f\0\0\1", 0.5),
    )
    assert record_type_of_class(Event).size == len(data)
    assert decode(Event, data) == Event(
        flag=True,
        pid=7,
        kind=Kind.OPEN,
        comm="bash",
        span=Span(10, 11),
        spans=(Span(20, 21), Span(30, 31)),
        address=b"\x7f\0\0\1",
        load=0.5,
    )


def test_the_last_array_may_take_what_is_left():
    class Exec(msgspec.Struct):
        pid: Annotated[int, U32]
        args: Annotated[bytes, Bytes()]

    assert decode(Exec, b"\7\0\0\0ls\0-l") == Exec(7, b"ls\0-l")
    assert decode(Exec, b"\7\0\0\0") == Exec(7, b"")

    class Stack(msgspec.Struct):
        pid: Annotated[int, U64]
        frames: Annotated[tuple[int, ...], Array(U64)]

    assert decode(Stack, struct.pack("<3Q", 7, 8, 9)) == Stack(7, (8, 9))


def test_a_record_that_is_too_short_is_an_error():
    with pytest.raises(DecodeError, match="struct Span"):
        decode(Span, bytes(15))


def test_an_array_without_a_length_must_be_the_last():
    class Event(msgspec.Struct):
        text: Annotated[str, Chars()]
        pid: Annotated[int, U32]

    with pytest.raises(SchemaError, match="not the last field"):
        record_type_of_class(Event)


@pytest.mark.parametrize("annotation", [int, str, float, Kind, tuple[int, ...], list[int]])
def test_a_field_without_a_c_type_is_named(annotation):
    with pytest.raises(SchemaError, match=r"Event\.field.*does not say its C type.*U32") as raised:
        record_type_of_class(msgspec.defstruct("Event", [("field", annotation)]))
    assert raised.value.field == "field"


def test_a_c_type_that_the_python_type_can_t_be_read_from_is_refused():
    with pytest.raises(SchemaError, match="C says u32, but the class says"):
        record_type_of_class(msgspec.defstruct("Event", [("pid", Annotated[str, U32])]))


SCALARS = {
    ctypes.c_uint8: U8,
    ctypes.c_int8: I8,
    ctypes.c_uint16: U16,
    ctypes.c_int16: I16,
    ctypes.c_uint32: U32,
    ctypes.c_int32: I32,
    ctypes.c_uint64: U64,
    ctypes.c_int64: I64,
    ctypes.c_float: F32,
    ctypes.c_double: F64,
}


@given(
    st.lists(st.tuples(st.sampled_from(list(SCALARS)), st.integers(1, 3)), min_size=1, max_size=8),
    st.sampled_from(["little", "big"]),
    st.data(),
)
def test_any_fields_lie_where_a_c_compiler_puts_them(fields, byteorder, draw):
    base = {"little": ctypes.LittleEndianStructure, "big": ctypes.BigEndianStructure}[byteorder]
    reference = type(
        "Reference",
        (base,),
        {"_fields_": [(f"f{index}", scalar * n) for index, (scalar, n) in enumerate(fields)]},
    )
    own = msgspec.defstruct(
        "Own",
        [
            (f"f{index}", Annotated[tuple, Array(SCALARS[scalar], n)])
            for index, (scalar, n) in enumerate(fields)
        ],
    )
    size = ctypes.sizeof(reference)
    assert record_type_of_class(own).size == size
    data = draw.draw(st.binary(min_size=size, max_size=size))
    expected = reference.from_buffer_copy(data)
    made = decode(own, data, byteorder)
    for name in own.__struct_fields__:
        # repr makes NaN equal to itself
        assert repr(getattr(made, name)) == repr(tuple(getattr(expected, name)))
