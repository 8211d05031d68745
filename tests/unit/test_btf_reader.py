"""BTF is read: headers, look-up by name, sizes, names in C, and what is refused."""

import mmap
import struct
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.btf import Btf, essential_name, index, strings
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    KIND_OF,
    Array,
    Const,
    DataSection,
    Enum,
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
    Typedef,
    TypeTag,
    Union,
    Variable,
    Void,
    Volatile,
)
from bpfstream.errors import BtfError
from tests.support.btf_graphs import byteorders, encode

INT = Int("int", 4, 32, signed=True)


def read(*types, byteorder="little", **options):
    return Btf.from_bytes(encode(*types, byteorder=byteorder), **options)


# Containers


def test_the_bytes_may_come_as_bytes_memoryview_or_mmap(native):
    data = encode(INT, Typedef("number", 1), byteorder="big")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
            for form in (data, memoryview(data), bytearray(data), mapping):
                btf = Btf.from_bytes(form, native=native)
                assert btf.find("number", Kind.TYPEDEF) == 2
                assert btf.name(2) == "number"
                assert bytes(btf.data) == data
                btf.data.release()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [24, 28, 32, 40])
def test_a_header_may_be_longer_than_is_known(order, size):
    data = encode(INT, byteorder="little" if order == "<" else "big")
    longer = data[:4] + struct.pack(order + "I", size) + data[8:24] + bytes(size - 24) + data[24:]
    assert Btf.from_bytes(longer).type(1) == INT


def with_layout(records, count):
    """BTF with a table of record sizes in which the last of `count` kinds is a word longer."""
    table = b"".join(
        bytes([4 * (kind in (1, 14, 17) or kind == count - 1), 0, 0, 0]) for kind in range(count)
    )
    names = b"\0int\0"
    header = struct.pack(
        "<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, len(records), len(records) + len(table), len(names),
        len(records), len(table),
    )  # fmt: skip
    return header + records + table + names


def test_a_kind_of_the_future_is_stepped_over_by_the_table_of_record_sizes(native):
    unknown = struct.pack("<4I", 0, 20 << 24, 0, 7)
    known = struct.pack("<4I", 1, Kind.INT << 24, 4, 32)
    btf = Btf.from_bytes(with_layout(unknown + known, count=21), native=native)
    assert btf.find("int", Kind.INT) == 2
    for ask in (btf.type, btf.kind):
        with pytest.raises(BtfError, match="kind 20 is not known") as caught:
            ask(1)
        assert caught.value.offset == 32
    with pytest.raises(BtfError, match="kind 20"):
        BtfBuilder(btf)


# Look-up


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("a____b", "a____b"),
        ("a_____b", "a_____b"),
        ("___a", "___a"),
        ("a___", "a___"),
        ("a___b_", "a"),
        ("a__b___c__d", "a__b"),
        ("", ""),
    ],
)
def test_the_flavour_rule(name, essential):
    assert essential_name(name) == essential


def test_types_are_found_by_name_and_kind_lowest_first(native):
    btf = read(INT, Struct("a", 4), Union("a", 4), Struct("a", 8), Struct("ba", 8), native=native)
    assert btf.find("a", Kind.STRUCT) == 2
    assert btf.find("a", Kind.UNION) == 3
    assert btf.find("ba", Kind.STRUCT) == 5
    for absent in ("b", "in", "nt", "", "a\0ba"):
        assert btf.find(absent, Kind.STRUCT) is None
        assert btf.candidates(absent, [Kind.STRUCT]) == []


def test_candidates_have_the_essential_name(native):
    btf = read(
        Struct("a___x", 4),
        Struct("a", 4),
        Forward("a"),
        Struct("a___y___z", 4),
        Struct("a___y", 4),
        Struct("ba___x", 4),
        Union("a", 1),
        Struct("a___", 1),
        native=native,
    )
    assert btf.candidates("a", {Kind.STRUCT}) == [1, 2, 5]
    assert btf.candidates("a", {Kind.UNION, Kind.FWD}) == [3, 7]
    assert btf.candidates("a___y", {Kind.STRUCT}) == [4]


def test_split_btf_finds_in_the_base_first_and_has_its_own_candidates(native):
    base = read(INT, Struct("a", 4), native=native)
    builder = BtfBuilder(base=base)
    builder.add(Struct("a", 8))
    builder.add(Struct("b", 8))
    builder.add(Struct("a___new", 8))
    split = Btf.from_bytes(builder.to_bytes(), base=base, native=native)
    assert split.find("a", Kind.STRUCT) == 2
    assert split.find("b", Kind.STRUCT) == 4
    assert split.candidates("a", [Kind.STRUCT]) == [3, 5]
    assert base.candidates("a", [Kind.STRUCT]) == [2]


@pytest.fixture(params=["every place", "first place", "a few at a time"])
def search(request, monkeypatch):
    """Both ways of searching strings and both of searching types, whatever the size."""
    if request.param == "first place":
        monkeypatch.setattr(strings, "EXHAUSTIVE_SEARCH_LIMIT", 0)
    if request.param == "a few at a time":
        monkeypatch.setattr(index, "_FEW", 1)


parts = st.sampled_from(["a", "b", "ab", "_", "___"])
flavoured_names = st.lists(parts, max_size=4).map("".join)
named_types = st.builds(
    lambda kind, name: kind(name, 4), st.sampled_from([Struct, Union]), flavoured_names
)


@pytest.mark.usefixtures("search")
@given(types=st.lists(named_types, max_size=20), byteorder=byteorders)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_way_of_searching_agrees_with_looking_at_every_name(native, types, byteorder):
    btf = read(*types, byteorder=byteorder, native=native)
    named = [(type_id, type_.name, KIND_OF[type(type_)]) for type_id, type_ in enumerate(types, 1)]
    for wanted in {name for _, name, _ in named} | {essential_name(name) for _, name, _ in named}:
        for kind in (Kind.STRUCT, Kind.UNION):
            of_kind = [(type_id, name) for type_id, name, each in named if each == kind and wanted]
            exact = [type_id for type_id, name in of_kind if name == wanted]
            essential = [type_id for type_id, name in of_kind if essential_name(name) == wanted]
            assert btf.find(wanted, kind) == (exact[0] if exact else None)
            assert btf.candidates(wanted, [kind]) == essential


@pytest.mark.usefixtures("search")
def test_a_name_may_be_the_end_of_a_longer_one(native):
    data = bytearray(encode(Struct("sock", 4), Typedef("xsock", 1), Struct("xsock___y", 4)))
    btf = Btf.from_bytes(bytes(data))
    inside, flavoured = btf.strings.offset_of("xsock") + 1, btf.strings.offset_of("xsock___y") + 1
    for type_id, offset in ((1, inside), (3, flavoured)):
        struct.pack_into("<I", data, btf.offset_of(type_id), offset)
    whole = bytes(data).replace(b"\0sock\0", b"\0kcos\0")
    shared = Btf.from_bytes(whole, native=native)
    assert (shared.name(1), shared.name(3)) == ("sock", "sock___y")
    assert shared.find("sock", Kind.STRUCT) == 1
    assert shared.candidates("sock", [Kind.STRUCT]) == [1, 3]


def test_names_that_are_not_utf8_can_be_shown_and_found(native):
    data = encode(Struct("odd", 4)).replace(b"odd", b"o\xff\xfe")
    btf = Btf.from_bytes(data, native=native)
    assert btf.name(1) == "o\udcff\udcfe"
    assert btf.find(btf.name(1), Kind.STRUCT) == 1


# Following types


def test_void():
    btf = read()
    assert (btf.type(0), btf.kind(0), btf.name(0), btf.end_id) == (Void(), Kind.VOID, "", 1)
    assert btf.describe(0) == "void"
    with pytest.raises(BtfError, match="void has no size"):
        btf.size_of(0)


def test_sizes_and_alignments():
    btf = read(
        INT,  # 1
        Pointer(1),
        Array(1, 1, 10),
        Array(3, 1, 3),  # 4
        Typedef("t", 4),
        Const(5),
        Struct("s", 16, (Member("a", 1, 0), Member("p", 2, 64))),  # 7
        Struct("packed", 12, (Member("a", 1, 0), Member("p", 2, 32))),
        Float("double", 8),
        Enum("e", 1),  # 10
        Int("__int128", 16, 128),
        Variable("v", 7),
        DataSection(".data", 24),
        Array(1, 1, 0),
        Union("u", 8, (Member("a", 1, 0), Member("d", 9, 0))),  # 15
        Struct("tail_packed", 9, (Member("p", 2, 0), Member("e", 10, 64))),
    )
    sizes = [btf.size_of(type_id) for type_id in range(1, btf.end_id)]
    assert sizes == [4, 8, 40, 120, 120, 120, 16, 12, 8, 1, 16, 16, 24, 0, 8, 9]
    aligned = [*range(1, 13), 14, 15, 16]
    alignments = [btf.align_of(type_id) for type_id in aligned]
    assert alignments == [4, 8, 4, 4, 4, 4, 8, 1, 8, 1, 8, 8, 4, 8, 1]


def test_resolve_peels_typedefs_qualifiers_and_tags():
    btf = read(INT, Const(1), Volatile(2), Restrict(3), Typedef("t", 4), TypeTag("user", 5))
    assert {btf.resolve(type_id) for type_id in range(1, 7)} == {1}
    assert read(Pointer(0)).resolve(1) == 1
    assert read(Const(0)).resolve(1) == 0


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("int", [INT]),
        ("struct sock", [Struct("sock", 4)]),
        ("struct sock", [Forward("sock")]),
        ("union u", [Forward("u", is_union=True)]),
        ("union (anonymous)", [Union("", 4)]),
        ("enum state", [Enum("state", 4)]),
        ("void *", [Pointer(0)]),
        ("const void *", [Pointer(2), Const(0)]),
        ("void *const", [Const(2), Pointer(0)]),
        ("struct sock **", [Pointer(2), Pointer(3), Struct("sock", 4)]),
        ("char[16]", [Array(2, 2, 16), Int("char", 1, 8)]),
        ("int[3][4]", [Array(2, 3, 3), Array(3, 3, 4), INT]),
        ("int[]", [Array(2, 2, 0), INT]),
        ("int (*)[4]", [Pointer(2), Array(3, 3, 4), INT]),
        ("int *[4]", [Array(2, 3, 4), Pointer(3), INT]),
        ("u32 *", [Pointer(2), Typedef("u32", 3), INT]),
        ("int (*)(void *, ...)",
         [Pointer(2), FunctionPrototype(3, (Parameter("", 4), Parameter("", 0))), INT, Pointer(0)]),
        ("int main(void)", [Function("main", 2), FunctionPrototype(3), INT]),
        ("void f(int a)", [Function("f", 2), FunctionPrototype(0, (Parameter("a", 3),)), INT]),
        ("int counter", [Variable("counter", 2, Linkage.GLOBAL), INT]),
        ("section .data", [DataSection(".data", 0)]),
    ],
)  # fmt: skip
def test_types_in_the_words_of_c(text, types):
    assert read(*types).describe(1) == text


# What is refused


@pytest.mark.parametrize(
    ("change", "offset"),
    [
        (lambda data: b"", 0),
        (lambda data: b"\x7fELF" + data[4:], 0),
        (lambda data: data[:20], 0),
        (lambda data: data[:2] + b"\x02" + data[3:], 2),
        (lambda data: data[:3] + b"\x01" + data[4:], 3),
        (lambda data: data[:4] + struct.pack("<I", 20) + data[8:], 4),
        (lambda data: data[:4] + struct.pack("<I", 1 << 31) + data[8:], 4),
        (lambda data: data[:8] + struct.pack("<I", 2) + data[12:], 8),
        (lambda data: data[:12] + struct.pack("<I", 1 << 30) + data[16:], 8),
        (lambda data: data[:16] + struct.pack("<I", 0) + data[20:], 8),
        (lambda data: data[:20] + struct.pack("<I", 0xFFFFFFFF) + data[24:], 16),
        (lambda data: data[:-1] + b"x", 45),
        (lambda data: data[:40] + b"x" + data[41:], 40),
        (lambda data: data[:31] + b"\x7f" + data[32:], 24),
        (lambda data: data[:28] + struct.pack("<I", 4 << 24 | 9) + data[32:], 24),
    ],
)
def test_broken_containers_are_refused_with_the_offset(native, change, offset):
    data = encode(INT)
    assert len(data) == 24 + 16 + 5
    with pytest.raises(BtfError) as caught:
        Btf.from_bytes(change(data), native=native)
    assert caught.value.section == ".BTF"
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("types", "offset_in_record", "value"),
    [
        ([Typedef("t", 0)], 0, 1 << 20),  # name outside of the strings
        ([Pointer(0)], 8, 2),  # type id out of range
        ([Pointer(0)], 4, Kind.PTR << 24 | 1),  # elements where there are none
        ([Function("f", 0)], 4, Kind.FUNC << 24 | 3),  # linkage
        ([Variable("v", 0)], 12, 3),
        ([INT], 12, 1 << 31 | 32),  # encoding
        ([INT], 12, 64),  # more bits than bytes
        ([Enum("e", 4)], 8, 3),
        ([Float("f", 4)], 8, 3),
        ([Struct("s", 4, (Member("m", 1, 0),))], 12, 1 << 20),
        ([Struct("s", 4, (Member("m", 1, 0),))], 16, 2),
    ],
)
def test_broken_types_are_refused_when_they_are_asked_for(types, offset_in_record, value):
    data = bytearray(encode(*types))
    struct.pack_into("<I", data, 24 + offset_in_record, value)
    btf = Btf.from_bytes(bytes(data))
    with pytest.raises(BtfError, match="type 1") as caught:
        btf.type(1)
    assert caught.value.offset == 24


@pytest.mark.parametrize("type_id", [-1, 2, 1 << 40])
def test_unknown_ids_are_refused(type_id):
    btf = read(INT)
    for ask in (btf.type, btf.kind, btf.name, btf.size_of, btf.resolve, btf.describe):
        with pytest.raises(BtfError, match=f"no type {type_id}"):
            ask(type_id)


@pytest.mark.parametrize("offset", [-1, 5, 1 << 40])
def test_string_offsets_outside_are_refused(offset):
    with pytest.raises(BtfError, match="string offset"):
        read(INT).string(offset)


def test_circles_are_refused():
    btf = read(Typedef("a", 2), Const(1), Array(3, 3, 2), Struct("s", 4, (Member("s", 4, 0),)))
    for ask in (btf.resolve, btf.size_of, btf.align_of):
        with pytest.raises(BtfError, match="circle"):
            ask(1)
    for ask in (btf.size_of, btf.align_of):
        with pytest.raises(BtfError, match="circle"):
            ask(3)
    with pytest.raises(BtfError, match="circle"):
        btf.align_of(4)
    assert "..." in btf.describe(3)


def test_what_has_no_size_says_so():
    btf = read(Forward("sock"), Const(1), FunctionPrototype(0))
    with pytest.raises(BtfError, match="struct sock has no size"):
        btf.size_of(2)
    with pytest.raises(BtfError, match=r"void \(void\) has no alignment"):
        btf.align_of(3)


def test_nesting_that_doubles_at_each_level_costs_no_more_than_its_levels():
    levels = 100
    types = [
        Struct(f"s{level}", 0, (Member("a", level + 2, 0), Member("b", level + 2, 0)))
        for level in range(levels)
    ]
    assert read(*types, INT).align_of(1) == 4
    arrays = [Array(level + 2, levels + 1, 0xFFFFFFFF) for level in range(levels)]
    assert read(*arrays, INT).size_of(1) == 4 * 0xFFFFFFFF**levels
    prototypes = [
        FunctionPrototype(level + 2, (Parameter("", level + 2),) * 1000) for level in range(levels)
    ]
    assert len(read(*prototypes, INT).describe(1)) < 100_000


@given(st.integers(0, 200))
def test_long_rows_of_types_are_followed_or_refused(length):
    btf = read(INT, *(Typedef("t", type_id) for type_id in range(1, length + 1)))
    try:
        assert btf.resolve(length + 1) == 1
    except BtfError:
        assert length >= 100
