"""BTF becomes C that says the same: order, names, padding; and malformed BTF is an error."""

from contextlib import suppress

import pytest
from hypothesis import given

from bpfstream.btf import Btf
from bpfstream.btf.c_header import c_header
from bpfstream.btf.types import Const, FunctionPrototype, Parameter, Pointer, Volatile
from bpfstream.errors import BtfError
from tests.support.btf_graphs import encode, graphs
from tests.support.c_structs import CTypes


@pytest.fixture
def types():
    return CTypes()


def definitions(types, *wanted):
    """What is between the frame's lines, white space aside."""
    lines = c_header(types.btf(), wanted or None).splitlines()
    inside = lines[lines.index("#endif") + 1 :]
    inside = inside[: next(at for at, line in enumerate(inside) if line.startswith("#if"))]
    return " ".join(" ".join(inside).split())


def test_what_is_contained_stands_before_what_contains_it(types):
    types.struct("outer", 8, ("first", 2, 0), ("second", 2, 4))
    types.struct("inner", 4, ("value", 3, 0))
    types.named("u32")
    assert definitions(types) == (
        "struct inner { unsigned int value; }; struct outer { struct inner first; "
        "struct inner second; };"
    )


def test_what_is_only_pointed_to_is_declared_before(types):
    integer = types.named("u8")
    types.struct("node", 16, ("next", integer + 2, 0), ("value", integer, 8))
    types.add(Pointer(integer + 1))
    types.typedef("node_t", integer + 2)
    assert definitions(types, integer + 3) == "struct node; typedef struct node *node_t;"
    assert definitions(types) == (
        "struct node; struct node { struct node *next; unsigned char value; }; "
        "typedef struct node *node_t;"
    )


def test_padding_puts_members_where_btf_has_them(types):
    u32, u8 = types.named("u32"), types.named("u8")
    types.struct("sparse", 64, ("a", u8, 0), ("b", u32, 4), ("c", u32, 16))
    types.struct("packed", 5, ("a", u8, 0), ("b", u32, 1))
    assert definitions(types) == (
        "struct sparse { unsigned char a; unsigned int b; unsigned char __pad0[8]; "
        "unsigned int c; unsigned char __pad1[44]; }; "
        "struct packed { unsigned char a; unsigned int b; } __attribute__((packed));"
    )


def test_bitfields_keep_their_places(types):
    u32 = types.named("u32")
    types.struct("flags", 8, ("a", u32, 0, 3), ("b", u32, 5, 4), ("c", u32, 32, 1))
    assert definitions(types) == (
        "struct flags { unsigned int a : 3; unsigned char : 2; unsigned int b : 4; "
        "unsigned char : 7; unsigned char __pad0[2]; unsigned int c : 1; };"
    )


def test_anonymous_types_stand_where_they_are_used(types):
    u32 = types.named("u32")
    both = types.union("", 4, ("a", u32, 0), ("b", u32, 0))
    types.struct("holder", 8, ("", both, 0), ("named", both, 4))
    types.typedef("number", types.struct("", 4, ("value", u32, 0)))
    assert definitions(types) == (
        "struct holder { union { unsigned int a; unsigned int b; }; "
        "union { unsigned int a; unsigned int b; } named; }; "
        "typedef struct { unsigned int value; } number;"
    )


def test_declarators_bind_as_in_c(types):
    u32, char = types.named("u32"), types.named("char")
    text = types.add(Pointer(types.add(Const(char))))
    function = types.add(FunctionPrototype(u32, (Parameter("format", text), Parameter("", 0))))
    types.struct(
        "all",
        32,
        ("callback", types.add(Pointer(function)), 0),
        ("rows", types.add(Pointer(types.array(u32, 3))), 8),
        ("grid", types.array(u32, 2, 1), 16),
        ("fixed", types.add(Const(types.add(Volatile(types.add(Pointer(0)))))), 24),
    )
    assert definitions(types) == (
        "struct all { unsigned int (*callback)(const char *format, ...); unsigned int (*rows)[3]; "
        "unsigned int grid[2][1]; void *volatile const fixed; };"
    )


def test_enums_have_their_values_and_their_size(types):
    types.enum("small", size=1, A=0, B=255)
    types.enum("", MINUS=-1, signed=True)
    assert definitions(types) == (
        "enum small { A = 0, B = 255, } __attribute__((mode(byte))); enum { MINUS = -1, };"
    )


def test_an_enum_without_values_is_only_declared(types):
    types.enum("later")
    assert definitions(types) == "enum later;"


def test_a_name_that_btf_has_twice_becomes_a_flavour(types):
    u32 = types.named("u32")
    types.struct("twin", 4, ("a", u32, 0))
    types.struct("twin", 8, ("a", u32, 0), ("b", u32, 4))
    types.enum("first", SAME=1)
    types.enum("second", SAME=2)
    text = definitions(types)
    assert "struct twin { unsigned int a; }; struct twin___2 { unsigned int a;" in text
    assert "enum second { SAME___2 = 2, };" in text


def test_a_struct_that_contains_itself_is_an_error(types):
    types.struct("endless", 8, ("again", 1, 0))
    with pytest.raises(BtfError, match="contains itself"):
        definitions(types)


def test_a_bitfield_wider_than_its_type_is_an_error(types):
    types.struct("narrow", 8, ("a", types.array(types.named("u8"), 0), 0, 3))
    with pytest.raises(BtfError, match="3 bits"):
        definitions(types)


@given(graphs())
def test_any_btf_gives_text_or_an_error_of_ours(types_):
    with suppress(BtfError):
        assert c_header(Btf.from_bytes(encode(*types_))).endswith("#endif")
