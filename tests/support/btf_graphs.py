"""Generated BTF: any kinds in any order, referring to each other as they like."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from bpfstream.abi.btf import Linkage
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    Array,
    Const,
    DataSection,
    DataSectionEntry,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Forward,
    Function,
    FunctionPrototype,
    Int,
    Member,
    Parameter,
    Pointer,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Variable,
    Volatile,
)

byteorders = st.sampled_from(["little", "big"])
names = st.one_of(
    st.sampled_from(["", "a", "sock", "sock___old", "task_struct", ".data", "?.rodata"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
words = st.integers(0, 0xFFFFFFFF)
section_offsets = st.integers(0, 0x1FFFFFFF)  # in bits they fit a member of a struct
linkages = st.sampled_from(Linkage)


def _enumerators(bits: int, signed: bool) -> st.SearchStrategy[tuple[Enumerator, ...]]:
    lowest = -(1 << (bits - 1)) if signed else 0
    values = st.integers(lowest, lowest + (1 << bits) - 1)
    return st.lists(st.builds(Enumerator, names, values), max_size=4).map(tuple)


def _enums(kind: type[Enum | Enum64], bits: int) -> st.SearchStrategy[Type]:
    sizes = st.sampled_from([1, 2, 4, 8])
    return st.booleans().flatmap(
        lambda signed: st.builds(kind, names, sizes, st.just(signed), _enumerators(bits, signed))
    )


@st.composite
def integers(draw: st.DrawFn) -> Int:
    """Integers, with the bitfields of old compilers."""
    size = draw(st.sampled_from([1, 2, 4, 8, 16]))
    bits = draw(st.integers(1, 8 * size))
    offset = draw(st.integers(0, 8 * size - bits))
    signed, char, boolean = (draw(st.booleans()) for _ in range(3))
    return Int(draw(names), size, bits, offset, signed=signed, char=char, boolean=boolean)


@cache
def types(end_id: int) -> st.SearchStrategy[Type]:
    """Any type whose references are below `end_id`; cached since hypothesis checks each anew."""
    ids = st.integers(0, end_id - 1)
    plain = st.lists(st.builds(Member, names, ids, words), max_size=4).map(tuple)
    bitfields = st.builds(Member, names, ids, st.integers(0, 0xFFFFFF), st.integers(0, 255))
    members = st.one_of(plain, st.lists(bitfields, max_size=4).map(tuple))
    parameters = st.lists(st.builds(Parameter, names, ids), max_size=4).map(tuple)
    entries = st.lists(st.builds(DataSectionEntry, ids, section_offsets, words), max_size=4).map(
        tuple
    )
    return st.one_of(
        integers(),
        st.builds(Pointer, ids),
        st.builds(Array, ids, ids, words),
        st.builds(Struct, names, words, members),
        st.builds(Union, names, words, members),
        _enums(Enum, 32),
        _enums(Enum64, 64),
        st.builds(Forward, names, st.booleans()),
        st.builds(Typedef, names, ids),
        st.builds(Volatile, ids),
        st.builds(Const, ids),
        st.builds(Restrict, ids),
        st.builds(TypeTag, names, ids, st.booleans()),
        st.builds(Function, names, ids, linkages),
        st.builds(FunctionPrototype, ids, parameters),
        st.builds(Variable, names, ids, linkages),
        st.builds(DataSection, names, words, entries),
        st.builds(Float, names, st.sampled_from([2, 4, 8, 12, 16])),
        st.builds(DeclTag, names, ids, st.integers(-1, 100), st.booleans()),
    )


@st.composite
def graphs(draw: st.DrawFn, first_id: int = 1, max_size: int = 8) -> list[Type]:
    """Types with ids from `first_id` on; references go anywhere, forward, back and in circles."""
    count = draw(st.integers(0, max_size))
    return [draw(types(first_id + count)) for _ in range(count)]


EVERY_KIND: tuple[Type, ...] = (
    Int("int", 4, 32, signed=True),
    Int("unsigned char", 1, 8),
    Pointer(8),
    Array(2, 1, 16),
    Struct("inner", 24, (Member("comm", 4, 0), Member("next", 3, 128))),
    Union("", 8, (Member("number", 1, 0), Member("ratio", 21, 0))),
    Struct("flags", 4, (Member("low", 1, 0, 3), Member("high", 1, 3, 29))),
    Struct(
        "event",
        56,
        (
            Member("inner", 5, 0),
            Member("", 6, 192),
            Member("flags", 7, 256),
            Member("state", 9, 288),
            Member("wide", 22, 320),
            Member("grid", 24, 384),
            Member("data", 23, 448),
        ),
    ),
    Enum("state", 4, signed=True, enumerators=(Enumerator("OFF", -1), Enumerator("ON", 1))),
    Forward("sock"),
    Typedef("u8", 2),
    Volatile(11),
    Const(12),
    Restrict(3),
    FunctionPrototype(1, (Parameter("ctx", 3), Parameter("", 0))),
    Function("main", 15, Linkage.GLOBAL),
    Variable("counter", 1, Linkage.GLOBAL),
    DataSection(".data", 4, (DataSectionEntry(17, 0, 4),)),
    DeclTag("tag", 8, 2),
    TypeTag("user", 1),
    Float("double", 8),
    Enum64("wide", 8, enumerators=(Enumerator("TOP", 1 << 63),)),
    Array(2, 1, 0),
    Array(25, 1, 2),
    Array(1, 1, 1),
)
"""A type of every kind, and a struct with members of most."""


def encode(*types: Type, byteorder: str = "little") -> bytes:
    """BTF of these types, with ids from 1."""
    builder = BtfBuilder()
    for type_ in types:
        builder.add(type_)
    return builder.to_bytes(byteorder)
