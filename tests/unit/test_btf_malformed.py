"""Broken BTF gives errors that say where, and nothing else: no crash and no hang."""

import struct
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfstream.abi.btf import Kind
from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.ext import BtfExt, lines_of
from bpfstream.btf.layout import layout_of, leaves_of
from bpfstream.btf.sanitizer import BtfFeature, sanitize
from bpfstream.btf.types import Const, DeclTag, Function, FunctionPrototype, Int, Member, Pointer
from bpfstream.btf.types import Struct as BtfStruct
from bpfstream.errors import BtfError
from tests.support.btf_ext import encode_ext
from tests.support.btf_graphs import EVERY_KIND, byteorders, encode, graphs

EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


changes = st.lists(
    st.tuples(
        st.sampled_from(["byte", "word", "cut", "insert"]),
        st.integers(0, 1 << 16),
        st.sampled_from(EXTREMES),
    ),
    min_size=1,
    max_size=4,
)


def mutate(data, changes):
    """The bytes with some flipped, words set to extremes, the end cut off, or some put between."""
    data = bytearray(data)
    for change, place, value in changes:
        place %= len(data) + 1
        if change == "byte":
            data[place : place + 1] = bytes([value & 0xFF])
        elif change == "word" and len(data) >= 4:
            struct.pack_into("<I", data, min(place & ~3, len(data) - 4), value)
        elif change == "cut":
            del data[place:]
        else:
            data[place:place] = bytes(value % 9)
    return bytes(data)


def ask(question, *arguments):
    """The answer to a question that may be refused, but with nothing else than BtfError."""
    try:
        return question(*arguments)
    except BtfError:
        return None


def ask_everything(btf):
    for type_id in range(btf.first_id - 1, btf.end_id + 1):
        for question in (
            btf.type,
            btf.kind,
            btf.name,
            btf.resolve,
            btf.size_of,
            btf.align_of,
            btf.describe,
        ):
            ask(question, type_id)
        for layout in (layout_of, leaves_of):
            ask(layout, btf, type_id)
        if name := ask(btf.name, type_id):
            ask(btf.find, name, Kind.STRUCT)
            ask(btf.candidates, name, tuple(Kind))
    ask(lambda: BtfBuilder(btf).to_bytes())
    ask(sanitize, btf, tuple(BtfFeature))


@pytest.mark.parametrize("byteorder", ["little", "big"])
@given(changes=changes)
@settings(max_examples=500)
def test_mutated_types_are_read_or_refused(native, byteorder, changes):
    data = mutate(encode(*EVERY_KIND, byteorder=byteorder), changes)
    btf = ask(partial(Btf.from_bytes, native=native), data)
    if btf is not None:
        ask_everything(btf)


@given(changes, changes)
@settings(max_examples=200)
def test_mutated_split_btf_is_read_or_refused(base_changes, changes):
    base = ask(Btf.from_bytes, mutate(encode(*EVERY_KIND), base_changes))
    if base is not None:
        btf = ask(lambda: Btf.from_bytes(mutate(encode(*EVERY_KIND), changes), base=base))
        if btf is not None:
            ask_everything(btf)


@given(graphs(), byteorders)
def test_types_that_make_no_sense_together_are_read_or_refused(types, byteorder):
    ask_everything(Btf.from_bytes(encode(*types, byteorder=byteorder)))


@given(st.binary(max_size=200))
def test_noise_is_refused(data):
    assert ask(Btf.from_bytes, data) is None


@given(byteorders, changes)
@settings(max_examples=500)
def test_mutated_instruction_records_are_read_or_refused(byteorder, changes):
    btf = Btf.from_bytes(encode(Int("xdp", 4, 32), byteorder=byteorder))
    name = btf.strings.offset_of("xdp")
    sound = encode_ext(
        byteorder,
        functions=[(name, [(0, 1), (8, 1)])],
        lines=[(name, [(0, name, name, 1025)])],
        relocations=[(name, [(0, 1, name, 0), (8, 1, name, 5)])],
    )
    ext = ask(BtfExt.from_bytes, mutate(sound, changes), btf)
    if ext is not None:
        for info in ext.lines.values():
            ask(lines_of, info, btf)


def test_anonymous_structs_that_double_at_each_level_are_refused():
    levels = 60
    types = [
        BtfStruct("", 0, (Member("", level + 2, 0), Member("", level + 2, 0)))
        for level in range(levels)
    ]
    btf = Btf.from_bytes(encode(*types, BtfStruct("", 0)))
    for layout in (layout_of, leaves_of):
        assert ask(layout, btf, 1) is None


def test_a_row_of_twenty_thousand_types_is_refused_without_following_it():
    count = 20_000
    for kind in (Const, Pointer):
        btf = Btf.from_bytes(encode(*(kind(type_id + 2) for type_id in range(count)), Const(0)))
        for question in (btf.resolve, btf.size_of, btf.align_of, btf.describe):
            ask(question, 1)
    tags = (DeclTag("a", type_id + 2) for type_id in range(count))
    btf = Btf.from_bytes(encode(*tags, Function("f", count + 2), FunctionPrototype(0)))
    assert ask(btf.size_of, 1) is None
    assert len(btf.describe(1)) < 1000
