"""Structs taken apart: where each member lies, in either byte order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.btf import Btf
from bpfstream.btf.layout import layout_of, leaves_of
from bpfstream.btf.types import (
    Array,
    Const,
    Enum,
    Float,
    Forward,
    FunctionPrototype,
    Int,
    Member,
    Pointer,
    Struct,
    Typedef,
    Union,
)
from bpfstream.errors import BtfError
from tests.support.btf_graphs import EVERY_KIND, byteorders, encode

INT = Int("int", 4, 32, signed=True)
U8 = Int("unsigned char", 1, 8)


def read(*types, byteorder="little"):
    return Btf.from_bytes(encode(*types, byteorder=byteorder))


def places(fields):
    return {".".join(field.path): (field.offset, field.size) for field in fields}


def test_members_of_anonymous_structs_and_unions_are_members_of_the_whole():
    btf = read(
        INT,
        Struct("event", 16, (Member("pid", 1, 0), Member("", 3, 32))),
        Union("", 12, (Member("number", 1, 0), Member("", 4, 0))),
        Struct("", 12, (Member("first", 1, 32), Member("second", 1, 64))),
    )
    layout = layout_of(btf, 2)
    assert (layout.name, layout.size, layout.is_union) == ("event", 16, False)
    expected = {"pid": (0, 4), "number": (4, 4), "first": (8, 4), "second": (12, 4)}
    assert places(layout.fields) == places(leaves_of(btf, 2)) == expected


def test_a_nested_struct_is_one_field_and_leaves_go_into_it():
    btf = read(
        INT,
        Struct("event", 12, (Member("id", 1, 0), Member("position", 4, 32))),
        Struct("point", 8, (Member("x", 1, 0), Member("y", 1, 32))),
        Typedef("point_t", 5),
        Const(3),
    )
    (_, position) = layout_of(btf, 2).fields
    assert (position.name, position.type_id, position.element_id) == ("position", 4, 3)
    assert places(layout_of(btf, position.element_id).fields) == {"x": (0, 4), "y": (4, 4)}
    leaves = {"id": (0, 4), "position.x": (4, 4), "position.y": (8, 4)}
    assert places(leaves_of(btf, 2)) == leaves


def test_a_union_is_a_layout_whose_fields_overlap():
    btf = read(
        INT, Union("u", 4, (Member("number", 1, 0), Member("bytes", 3, 0))), Array(4, 1, 4), U8
    )
    layout = layout_of(btf, 2)
    assert layout.is_union
    assert places(layout.fields) == {"number": (0, 4), "bytes": (0, 4)}


def test_arrays_have_dimensions_and_an_element():
    btf = read(
        U8,
        Struct(
            "s", 26, (Member("comm", 3, 0), Member("grid", 4, 16 * 8), Member("rest", 7, 22 * 8))
        ),
        Array(1, 1, 16),
        Typedef("grid_t", 5),
        Array(6, 1, 2),
        Array(1, 1, 3),
        Array(8, 1, 0),
        Array(1, 1, 4),
    )
    comm, grid, rest = layout_of(btf, 2).fields
    assert (comm.dimensions, comm.element_id, comm.size, comm.length) == ((16,), 1, 16, 16)
    assert (grid.dimensions, grid.element_id, grid.size, grid.length) == ((2, 3), 1, 6, 6)
    assert (rest.dimensions, rest.element_id, rest.size, rest.length) == ((0, 4), 1, 0, 0)
    assert [field.is_flexible for field in (comm, grid, rest)] == [False, False, True]


def test_scalars_of_all_kinds_are_leaves():
    btf = Btf.from_bytes(encode(*EVERY_KIND))
    event = next(i for i in range(1, btf.end_id) if btf.name(i) == "event")
    described = {
        ".".join(leaf.path): btf.describe(leaf.element_id) for leaf in leaves_of(btf, event)
    }
    assert described == {
        "inner.comm": "unsigned char",
        "inner.next": "struct event *",
        "number": "int",
        "ratio": "double",
        "flags.low": "int",
        "flags.high": "int",
        "state": "enum state",
        "wide": "enum wide",
        "grid": "int",
        "data": "unsigned char",
    }


# clang 14 compiled this for both byte orders; the bytes are those of its .data section:
# struct { unsigned a:3, b:7; int c:5; unsigned char d; unsigned long long e:40, f:20;
#          unsigned char g:1, h:7; short i:9; }
# = {5, 100, -7, 0xab, 0x123456789a, 0xfedcb, 1, 0x55, -200}
COMPILED = {
    "little": bytes.fromhex("2567ab9a78563412cbed1f5538010000"),
    "big": bytes.fromhex("b932ab123456789afedcb8aa9c000000"),
}


def test_bitfields_come_out_as_a_compiler_put_them_in():
    rows = [(0, 3, 1), (3, 7, 1), (10, 5, 2), (24, 40, 3), (64, 20, 3), (84, 1, 4), (88, 7, 4),
            (96, 9, 5)]  # fmt: skip
    values = [5, 100, -7, 0x123456789A, 0xFEDCB, 1, 0x55, -200]
    members = tuple(
        Member(f"m{number}", type_id, bit, width)
        for number, (bit, width, type_id) in enumerate(rows)
    )
    types = (Int("unsigned int", 4, 32), INT, Int("unsigned long long", 8, 64), U8,
             Int("short", 2, 16, signed=True), Struct("bits", 16, members))  # fmt: skip
    for byteorder, data in COMPILED.items():
        fields = layout_of(read(*types, byteorder=byteorder), 6).fields
        assert [field.bitfield.extract(data) for field in fields] == values


@st.composite
def bitfields(draw):
    bits = draw(st.integers(1, 64))
    begin = draw(st.integers(0, 128 - bits))
    signed = draw(st.booleans())
    return bits, begin, signed


@given(bitfields(), byteorders, st.binary(min_size=16, max_size=16), st.integers(0, 3), st.data())
def test_a_bitfield_is_a_run_of_bits_in_memory_order(field, byteorder, data, start, draw):
    bits, begin, signed = field
    member = Member("m", 1, begin, bits)
    btf = read(Int("long", 8, 64, signed=signed), Struct("s", 16, (member,)), byteorder=byteorder)
    (only,) = layout_of(btf, 2).fields
    assert only.bitfield is not None
    buffer = bytearray(bytes(start) + data)

    all_bits = int.from_bytes(data, byteorder)
    shift = begin if byteorder == "little" else 128 - begin - bits
    value = all_bits >> shift & ((1 << bits) - 1)
    expected = value - (1 << bits) if signed and value >> (bits - 1) else value
    assert only.bitfield.extract(buffer, start) == expected

    lowest = -(1 << (bits - 1)) if signed else 0
    stored = draw.draw(st.integers(lowest, lowest + (1 << bits) - 1))
    only.bitfield.insert(buffer, stored, start)
    assert only.bitfield.extract(buffer, start) == stored
    others = ~(((1 << bits) - 1) << shift)
    assert int.from_bytes(buffer[start:], byteorder) & others == all_bits & others


def test_old_compilers_wrote_bitfields_as_integers_of_few_bits():
    btf = read(
        Int("unsigned int", 4, 3), Int("unsigned int", 4, 5, 3), INT,
        Struct("s", 8, (Member("a", 1, 0), Member("b", 2, 0), Member("c", 3, 32))),
    )  # fmt: skip
    a, b, c = layout_of(btf, 4).fields
    data = bytes([0b10110_101, 0, 0, 0]) + bytes(4)
    assert (a.bitfield.extract(data), b.bitfield.extract(data)) == (0b101, 0b10110)
    assert c.bitfield is None


def test_unnamed_bitfields_are_padding():
    btf = read(INT, Struct("s", 4, (Member("", 1, 0, 5), Member("a", 1, 5, 3))))
    assert [field.name for field in layout_of(btf, 2).fields] == ["a"]


def test_a_struct_may_be_named_through_typedefs_and_may_be_empty():
    btf = read(Typedef("t", 2), Const(3), Struct("s", 0))
    assert layout_of(btf, 1) == layout_of(btf, 3)
    assert layout_of(btf, 1).fields == ()


@pytest.mark.parametrize(
    ("problem", "types"),
    [
        ("ends outside", [Struct("s", 4, (Member("m", 2, 8),)), INT]),
        ("ends outside", [Struct("s", 4, (Member("m", 2, 30, 3),)), INT]),
        ("ends outside", [Struct("s", 8, (Member("m", 2, 0, 33),)), INT]),
        ("ends outside", [Struct("s", 4, (Member("m", 2, 0),)), Array(3, 3, 1 << 31), INT]),
        ("ends outside", [Struct("s", 4, (Member("", 2, 8),)), Struct("", 4)]),
        ("inside of a byte", [Struct("s", 8, (Member("m", 2, 4),)), INT]),
        ("bitfield of", [Struct("s", 8, (Member("m", 2, 0, 4),)), Pointer(0)]),
        ("bitfield of", [Struct("s", 8, (Member("m", 2, 0, 4),)), Float("double", 8)]),
        ("has no size", [Struct("s", 8, (Member("m", 2, 0),)), Forward("f")]),
        ("has no size", [Struct("s", 8, (Member("m", 2, 0),)), FunctionPrototype(0)]),
        ("has no size", [Struct("s", 8, (Member("m", 0, 0),))]),
        ("is no struct", [Enum("s", 4)]),
        ("is no struct", [Pointer(2), Struct("s", 4)]),
    ],
)
def test_what_does_not_fit_is_refused(problem, types):
    btf = read(*types)
    for take_apart in (layout_of, leaves_of):
        with pytest.raises(BtfError, match=problem):
            take_apart(btf, 1)


def test_a_struct_that_holds_itself_is_refused():
    btf = read(Struct("s", 4, (Member("s", 1, 0),)), Struct("t", 4, (Member("", 2, 0),)))
    for take_apart, type_id in ((leaves_of, 1), (leaves_of, 2), (layout_of, 2)):
        with pytest.raises(BtfError, match="too deep"):
            take_apart(btf, type_id)
