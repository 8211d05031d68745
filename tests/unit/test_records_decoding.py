"""A record of a C struct becomes an instance of a class made from BTF."""

import struct
from enum import IntEnum

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.abi.btf import Kind
from bpfstream.btf.types import Const, Forward, Member, Struct
from bpfstream.errors import BtfError, DecodeError, SchemaError
from bpfstream.records import record_type
from bpfstream.spec import ObjectSpec
from tests.support.any_struct import build, members, plain
from tests.support.c_structs import CTypes

TYPES = "tests/programs/types.bpf.o"


def decode(types, type_id, data, byteorder="little"):
    kind = record_type(types.btf(byteorder), type_id)
    return kind.decode(memoryview(data), 0, len(data))


def test_integers_floats_and_pointers():
    types = CTypes()
    event = types.struct(
        "event",
        32,
        ("pid", types.named("u32"), 0),
        ("delta", types.named("s16"), 4),
        ("ok", types.named("bool"), 6),
        ("load", types.named("double"), 8),
        ("address", types.named("void *"), 16),
        ("ratio", types.named("float"), 24),
    )
    data = struct.pack("<Ih?xdQf4x", 7, -2, True, 0.5, 0xFFFF888000000000, 0.25)
    made = decode(types, event, data)
    assert msgspec.structs.asdict(made) == {
        "pid": 7,
        "delta": -2,
        "ok": True,
        "load": 0.5,
        "address": 0xFFFF888000000000,
        "ratio": 0.25,
    }
    assert repr(made).startswith("event(pid=7, delta=-2, ok=True")


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_integers_of_128_bits(byteorder):
    types = CTypes()
    event = types.struct("event", 32, ("u", types.named("u128"), 0), ("s", types.named("s128"), 16))
    data = (1 << 100).to_bytes(16, byteorder) + (-5).to_bytes(16, byteorder, signed=True)
    made = decode(types, event, data, byteorder)
    assert (made.u, made.s) == (1 << 100, -5)
    assert msgspec.json.decode(msgspec.json.encode(made), type=dict)["s"] == -5


def test_text_ends_at_the_nul_and_stays_printable_whatever_it_holds():
    types = CTypes()
    event = types.struct("event", 16, ("comm", types.array(types.named("char"), 16), 0))
    assert decode(types, event, b"bash\0garbage\0\0\0\0").comm == "bash"
    assert decode(types, event, b"0123456789abcdef").comm == "0123456789abcdef"
    assert decode(types, event, "zürich".encode().ljust(16, b"\0")).comm == "zürich"
    broken = decode(types, event, b"a\xff\xfe".ljust(16, b"\0"))
    assert broken.comm == "a\\xff\\xfe"
    assert msgspec.json.encode(broken) == rb'{"comm":"a\\xff\\xfe"}'


def test_other_arrays_are_tuples():
    types = CTypes()
    event = types.struct(
        "event",
        30,
        ("address", types.array(types.named("u8"), 4), 0),
        ("matrix", types.array(types.named("u16"), 2, 3), 4),
        ("names", types.array(types.named("char"), 2, 4), 16),
        ("flags", types.array(types.named("bool"), 2), 24),
        ("none", types.array(types.struct("empty", 0), 3), 26),
        ("tail", types.named("u32"), 26),
    )
    data = (
        bytes([127, 0, 0, 1]) + struct.pack("<6H", *range(6)) + b"ab\0\0cd\0\0" + b"\1\0" + bytes(4)
    )
    made = decode(types, event, data)
    assert made.address == (127, 0, 0, 1)
    assert made.matrix == ((0, 1, 2), (3, 4, 5))
    assert made.names == ("ab", "cd")
    assert made.flags == (True, False)
    assert made.none == ()


def test_enums_are_members_and_unknown_values_stay_numbers():
    types = CTypes()
    colour = types.enum("colour", RED=1, GREEN=2)
    event = types.struct("event", 8, ("a", colour, 0), ("b", types.typedef("colour_t", colour), 4))
    made = decode(types, event, struct.pack("<II", 2, 77))
    assert isinstance(made.a, IntEnum)
    assert (made.a.name, type(made.a).__name__) == ("GREEN", "colour")
    assert made.b == 77
    assert msgspec.json.encode(made) == b'{"a":2,"b":77}'


def test_enumerators_that_python_reserves_get_an_underscore():
    types = CTypes()
    kind = types.enum("kind", **{"None": 0, "mro": 1, "_sunder_": 2, "__dunder__": 3, "name": 4})
    made = decode(types, types.struct("event", 4, ("kind", kind, 0)), struct.pack("<I", 0))
    assert [each.name for each in type(made.kind)] == [
        "None_", "mro_", "sunder_", "dunder_", "name"
    ]  # fmt: skip


def test_nested_structs_are_structs_and_anonymous_members_belong_to_the_whole():
    types = CTypes()
    u32 = types.named("u32")
    point = types.struct("point", 8, ("x", u32, 0), ("y", u32, 4))
    inner = types.struct("", 8, ("left", u32, 0), ("right", u32, 4))
    event = types.struct("event", 24, ("at", point, 0), ("", inner, 8), ("span", inner, 16))
    made = decode(types, event, struct.pack("<6I", *range(6)))
    assert (made.at.x, made.at.y, made.left, made.right) == (0, 1, 2, 3)
    assert (made.span.left, made.span.right) == (4, 5)
    assert type(made.at).__name__ == "point"
    assert type(made.span).__name__ == "event_span"


def test_every_member_of_a_union_is_decoded_from_the_same_bytes():
    types = CTypes()
    address = types.union(
        "address",
        16,
        ("v4", types.named("u32"), 0),
        ("v6", types.array(types.named("u8"), 16), 0),
        ("words", types.array(types.named("u64"), 2), 0),
    )
    made = decode(types, types.struct("event", 16, ("address", address, 0)), bytes(range(16)))
    assert made.address.v4 == 0x03020100
    assert made.address.v6 == tuple(range(16))
    assert made.address.words == (0x0706050403020100, 0x0F0E0D0C0B0A0908)


@pytest.mark.parametrize(("byteorder", "low"), [("little", 0b101), ("big", 0b110)])
def test_bitfields_count_from_the_end_that_the_byte_order_says(byteorder, low):
    types = CTypes()
    u32, s32 = types.named("u32"), types.named("s32")
    event = types.struct("event", 4, ("low", u32, 0, 3), ("mid", s32, 3, 2), ("high", u32, 5, 27))
    made = decode(types, event, bytes([0b110_11_101, 0, 0, 0]), byteorder)
    assert made.low == low
    assert made.mid == -1
    assert made.high == (0b110 if byteorder == "little" else 0b101 << 24)


def test_a_flexible_array_takes_what_the_record_has_left():
    types = CTypes()
    rest = types.array(types.named("u16"), 0)
    event = types.struct("event", 4, ("count", types.named("u32"), 0), ("rest", rest, 4))
    for count in range(4):
        numbers = tuple(range(count))
        data = struct.pack(f"<I{count}H", count, *numbers)
        assert decode(types, event, data).rest == numbers


def test_a_flexible_array_of_structs_and_one_of_characters():
    types = CTypes()
    u8 = types.named("u8")
    pair = types.struct("pair", 2, ("a", u8, 0), ("b", u8, 1))
    pairs = types.struct("pairs", 1, ("n", u8, 0), ("rest", types.array(pair, 0), 1))
    made = decode(types, pairs, bytes([2, 1, 2, 3, 4, 9]))
    assert [(each.a, each.b) for each in made.rest] == [(1, 2), (3, 4)]
    chars = types.array(types.named("char"), 0)
    text = types.struct("text", 8, ("n", types.named("u32"), 0), ("rest", chars, 4))
    assert decode(types, text, struct.pack("<I", 3) + b"/usr/bin\0xx").rest == "/usr/bin"


def test_a_last_array_of_bytes_may_be_cut_short():
    types = CTypes()
    args = types.array(types.named("char"), 64)
    event = types.struct("event", 68, ("pid", types.named("u32"), 0), ("args", args, 4))
    assert decode(types, event, struct.pack("<I", 7) + b"ls -l").args == "ls -l"
    assert decode(types, event, struct.pack("<I", 7)).args == ""
    assert decode(types, event, struct.pack("<I", 7) + b"x" * 64 + b"garbage").args == "x" * 64
    with pytest.raises(DecodeError):
        decode(types, event, b"abc")


def test_a_record_that_is_too_short_is_an_error_that_has_its_bytes():
    types = CTypes()
    event = types.struct("event", 8, ("a", types.named("u32"), 0), ("b", types.named("u32"), 4))
    with pytest.raises(DecodeError, match="struct event: too short for 8 bytes") as raised:
        decode(types, event, b"1234567")
    assert raised.value.record == b"1234567"
    assert raised.value.type_name == "struct event"


def test_a_record_may_be_longer_than_its_struct():
    types = CTypes()
    event = types.struct("event", 4, ("pid", types.named("u32"), 0))
    assert decode(types, event, struct.pack("<I", 7) + b"garbage").pid == 7


def test_names_that_python_reserves_keep_their_c_name_in_json():
    types = CTypes()
    u8 = types.named("u8")
    event = types.struct("from", 3, ("class", u8, 0), ("__data", u8, 1), ("a.b", u8, 2))
    made = decode(types, event, bytes([1, 2, 3]))
    assert (made.class_, made._data, made.a_b) == (1, 2, 3)
    assert msgspec.json.encode(made) == b'{"class":1,"__data":2,"a.b":3}'
    assert type(made).__name__ == "from_"


def test_a_type_has_one_class_however_often_it_is_asked_for():
    types = CTypes()
    event = types.struct("event", 4, ("pid", types.named("u32"), 0))
    constant = types.add(Const(event))
    btf = types.btf()
    assert record_type(btf, event) is record_type(btf, event)
    assert record_type(btf, constant).struct is record_type(btf, event).struct


def test_the_classes_are_frozen():
    types = CTypes()
    made = decode(types, types.struct("event", 4, ("pid", types.named("u32"), 0)), bytes(4))
    with pytest.raises(AttributeError):
        made.pid = 1


def test_arrays_that_multiply_their_members_without_end_are_an_error():
    types = CTypes()
    inner = types.struct("s0", 1, ("value", types.named("u8"), 0))
    for level in range(1, 15):
        array = types.array(inner, 1)
        inner = types.struct(f"s{level}", 1, ("a", array, 0), ("b", array, 0))
    with pytest.raises(SchemaError, match="more than"):
        record_type(types.btf(), inner)


def test_what_is_no_struct_has_no_record_type():
    types = CTypes()
    number = types.named("u32")
    with pytest.raises(SchemaError, match="unsigned int is no struct"):
        record_type(types.btf(), number)
    declared = types.add(Forward("task"))
    with pytest.raises(BtfError):
        record_type(types.btf(), declared)


def test_a_struct_that_contains_itself_is_an_error():
    types = CTypes()
    types.add(Struct("event", 8, (Member("self", 1, 0),)))
    with pytest.raises(BtfError, match="contains itself"):
        record_type(types.btf(), 1)
    types.add(Struct("a", 8, (Member("b", 3, 0),)))
    types.add(Struct("b", 8, (Member("a", 2, 0),)))
    with pytest.raises(BtfError, match="contains itself"):
        record_type(types.btf(), 3)


def test_a_struct_that_multiplies_its_members_without_end_is_an_error():
    types = CTypes()
    inner = types.struct("s0", 1, ("value", types.named("u8"), 0))
    for level in range(1, 25):
        inner = types.struct(f"s{level}", 1, ("a", inner, 0), ("b", inner, 0))
    with pytest.raises(SchemaError, match="more than"):
        record_type(types.btf(), inner)


def test_a_flexible_array_begins_where_the_padding_of_the_struct_begins():
    spec = ObjectSpec.from_file(TYPES)
    kind = record_type(spec.btf, spec.btf.find("everything", Kind.STRUCT))
    trailing = kind.layout.fields[-1]
    assert kind.size - trailing.offset == 4
    record = memoryview(bytes(kind.size + 4))
    assert kind.decode(record, 0, trailing.offset).trailing == ()
    made = kind.decode(record, 0, len(record))
    assert made.trailing == (0, 0, 0, 0)
    assert msgspec.json.decode(msgspec.json.encode(made))["matrix"] == [[0, 0, 0], [0, 0, 0]]


# Any struct ---------------------------------------------------------------------------------------


@given(
    st.lists(members(), min_size=1, max_size=6),
    st.integers(0, 2),
    st.sampled_from(["little", "big"]),
    st.data(),
)
def test_any_struct_in_either_byte_order(chosen, gap, byteorder, draw):
    types = CTypes()
    type_id, size, read = build(types, "struct", [*chosen, ("number", "u32")], gap)
    data = draw.draw(st.binary(min_size=size, max_size=size))
    before = draw.draw(st.binary(max_size=9))
    kind = record_type(types.btf(byteorder), type_id)
    made = kind.decode(memoryview(before + data + b"behind"), len(before), size)
    assert plain(made) == plain(read(data, byteorder))
    msgspec.json.encode(made)


@given(st.binary(max_size=64))
def test_any_record_is_decoded_or_an_error_of_ours(data):
    types = CTypes()
    event = types.struct(
        "event",
        24,
        ("kind", types.enum("kind", A=1), 0),
        ("comm", types.array(types.named("char"), 8), 4),
        ("rest", types.array(types.named("u32"), 0), 24),
    )
    if len(data) < 24:
        with pytest.raises(DecodeError):
            decode(types, event, data)
    else:
        assert len(decode(types, event, data).rest) == (len(data) - 24) // 4
