"""What is written as BTF is read back the same, and an edited copy keeps its ids and strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    DataSection,
    DataSectionEntry,
    Enum,
    Enumerator,
    Int,
    Member,
    Pointer,
    Struct,
    Typedef,
    Variable,
    Void,
)
from bpfstream.errors import BtfError
from tests.support.btf_graphs import byteorders, encode, graphs

INT = Int("int", 4, 32, signed=True)


def own_types(btf):
    return [btf.type(type_id) for type_id in range(btf.first_id, btf.end_id)]


@given(graphs(), byteorders)
def test_any_types_survive_in_either_byte_order(types, byteorder):
    btf = Btf.from_bytes(encode(*types, byteorder=byteorder))
    assert btf.byteorder == byteorder
    assert own_types(btf) == types


@given(graphs(), st.data(), byteorders)
def test_split_btf_goes_on_where_its_base_ends(base_types, data, byteorder):
    base = Btf.from_bytes(encode(*base_types, byteorder=byteorder))
    types = data.draw(graphs(first_id=base.end_id))
    builder = BtfBuilder(base=base)
    for type_ in types:
        builder.add(type_)
    split = Btf.from_bytes(builder.to_bytes(), base=base)
    assert (split.first_id, split.byteorder) == (base.end_id, byteorder)
    assert own_types(split) == types
    for type_id in range(1, base.end_id):
        assert split.type(type_id) == base.type(type_id)


@given(graphs(), byteorders, byteorders)
def test_a_copy_that_is_not_edited_differs_at_most_in_byte_order(types, byteorder, other):
    data = encode(*types, byteorder=byteorder)
    copy = BtfBuilder(Btf.from_bytes(data))
    assert copy.to_bytes() == data
    assert BtfBuilder(Btf.from_bytes(copy.to_bytes(other))).to_bytes(byteorder) == data


@given(graphs(max_size=8), st.data(), byteorders)
def test_edits_change_what_they_name_and_nothing_else(types, data, byteorder):
    source = Btf.from_bytes(encode(*types, byteorder=byteorder))
    builder = BtfBuilder(source)
    expected = list(types)
    if types:
        for index in data.draw(st.lists(st.integers(0, len(types) - 1), max_size=3)):
            expected[index] = Typedef("replaced", 1)
            builder.replace(index + 1, expected[index])
    added = Struct("added", 8, (Member("self", len(types) + 1, 0),))
    assert builder.add(added) == len(types) + 1
    expected.append(added)

    edited = Btf.from_bytes(builder.to_bytes())
    assert edited.byteorder == byteorder
    assert own_types(edited) == expected
    strings = source.strings.raw()
    assert edited.strings.raw()[: len(strings)] == strings


def test_a_string_is_stored_once():
    builder = BtfBuilder(Btf.from_bytes(encode(INT)))
    before = builder.to_bytes()
    builder.add(Typedef("int", 1))
    builder.add(Typedef("s32", 1))
    builder.add(Struct("s32", 4))
    assert builder.to_bytes().count(b"int\0") == before.count(b"int\0") == 1
    assert builder.to_bytes().count(b"s32\0") == 1


def test_split_btf_uses_the_strings_of_its_base():
    base = Btf.from_bytes(encode(INT))
    builder = BtfBuilder(base=base)
    builder.add(Typedef("int", 1))
    assert b"int" not in builder.to_bytes()


def test_a_data_section_gets_its_offsets():
    source = Btf.from_bytes(
        encode(INT, Variable("x", 1), DataSection(".bss", 0, (DataSectionEntry(2, 0, 4),)))
    )
    builder = BtfBuilder(source)
    complete = DataSection(".bss", 16, (DataSectionEntry(2, 12, 4),))
    builder.replace(3, complete)
    assert builder.type(3) == complete
    assert Btf.from_bytes(builder.to_bytes()).type(3) == complete


def test_a_builder_answers_for_its_types():
    builder = BtfBuilder()
    assert builder.type(0) == Void()
    pointer = builder.add(Pointer(2))
    builder.add(Struct("later", 4))
    assert builder.describe(pointer) == "struct later *"
    with pytest.raises(BtfError, match="no type 3"):
        builder.type(3)


@pytest.mark.parametrize(
    "unfit",
    [
        Void(),
        Typedef("a\0b", 0),
        Typedef("\ud800", 0),
        Typedef("a", -1),
        Struct("a", 1 << 32),
        Struct("a", 8, (Member("b", 0, 1 << 24, 1),)),
        Struct("a", 8, (Member("b", 0, 0, 256),)),
        Int("a", 4, 256),
        Enum("a", 4, signed=False, enumerators=(Enumerator("b", -1),)),
        Enum("a", 4, signed=True, enumerators=(Enumerator("b", 1 << 31),)),
    ],
)
def test_what_does_not_fit_its_field_is_refused_at_once(unfit):
    with pytest.raises(BtfError):
        BtfBuilder().add(unfit)


def test_a_reference_to_nothing_is_refused_at_the_end():
    builder = BtfBuilder()
    builder.add(Pointer(2))
    with pytest.raises(BtfError, match="type 1 refers to type 2"):
        builder.to_bytes()


def test_types_of_the_base_can_not_be_replaced():
    builder = BtfBuilder(base=Btf.from_bytes(encode(INT)))
    with pytest.raises(BtfError, match="no type 1 to replace"):
        builder.replace(1, INT)
