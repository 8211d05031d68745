"""A record of a C struct becomes an instance of a class made from BTF."""

import math
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
from tests.support.c_structs import INTEGERS, CTypes

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


# Any struct, against a reader that knows nothing of plans -----------------------------------------

numbers = st.sampled_from([name for name in INTEGERS if name not in ("bool", "char")])


@st.composite
def members(draw, depth=2):
    """A member as ``(kind, ...)``: what it is, apart from its name and place."""
    kinds = ["number", "text", "array", "bits", "double"]
    kind = draw(st.sampled_from([*kinds, "struct", "union", "structs"] if depth else kinds))
    match kind:
        case "number":
            return kind, draw(numbers)
        case "text":
            return kind, draw(st.integers(0, 70))
        case "array":
            return kind, draw(numbers), draw(st.integers(1, 5))
        case "bits":
            return kind, draw(st.lists(st.tuples(st.integers(1, 32), st.booleans()), min_size=1))
        case "double":
            return (kind,)
    return kind, draw(st.lists(members(depth=depth - 1), max_size=4)), draw(st.integers(0, 2))


def build(types, kind, members, gap):
    """The BTF id of a struct or union of these members, its size, and a reader of its values."""
    at, placed, readers, largest = 0, [], [], 0
    for index, member in enumerate(members):
        start = 0 if kind == "union" else at + gap
        name = f"m{index}"
        made, size, reads = build_member(types, name, member)
        placed += [(each, type_id, start * 8 + bit, *width) for each, type_id, bit, *width in made]
        readers += [(each, start, read) for each, read in reads]
        at, largest = start + size, max(largest, start + size)
    size = largest + gap
    members_of = [Member(name, type_id, bit, *width) for name, type_id, bit, *width in placed]
    make = types.union if kind == "union" else types.struct
    type_id = make("made", size, *[(m.name, m.type, m.bit_offset, m.bit_size) for m in members_of])

    def read(data, byteorder):
        return {name: each(data[start:], byteorder) for name, start, each in readers}

    return type_id, size, read


def build_member(types, name, member):
    match member:
        case "number", c_name:
            integer = INTEGERS[c_name]

            def read(data, byteorder):
                return int.from_bytes(data[: integer.size], byteorder, signed=integer.signed)

            return [(name, types.named(c_name), 0)], integer.size, [(name, read)]
        case "text", length:

            def read(data, byteorder):
                return data[:length].partition(b"\0")[0].decode(errors="backslashreplace")

            array = types.array(types.named("char"), length)
            # Between other members an array of no length is an empty one.
            return (
                [(name, array, 0), ("", types.named("u8"), 8 * length)],
                length + 1,
                [(name, read)],
            )
        case "array", c_name, length:
            integer = INTEGERS[c_name]

            def read(data, byteorder):
                parts = [data[i * integer.size : (i + 1) * integer.size] for i in range(length)]
                return tuple(int.from_bytes(p, byteorder, signed=integer.signed) for p in parts)

            return (
                [(name, types.array(types.named(c_name), length), 0)],
                integer.size * length,
                [(name, read)],
            )
        case "double", *_:

            def read(data, byteorder):
                return struct.unpack({"little": "<d", "big": ">d"}[byteorder], data[:8])[0]

            return [(name, types.named("double"), 0)], 8, [(name, read)]
        case "bits", fields:
            made, reads, bit = [], [], 0
            size = (sum(width for width, _ in fields) + 7) // 8
            for index, (width, signed) in enumerate(fields):
                each = f"{name}_{index}"
                made.append((each, types.named("s32" if signed else "u32"), bit, width))
                reads.append((each, bits_reader(bit, width, signed, size)))
                bit += width
            return made, size, reads
        case "structs", inner, gap:
            type_id, size, read_one = build(types, "struct", inner, gap)

            def read(data, byteorder):
                count = 3 if size else 0
                return tuple(read_one(data[i * size :], byteorder) for i in range(count))

            return [(name, types.array(type_id, 3), 0)], 3 * size, [(name, read)]
        case kind, inner, gap:
            type_id, size, read = build(types, kind, inner, gap)
            return [(name, type_id, 0)], size, [(name, read)]


def bits_reader(bit, width, signed, size):
    def read(data, byteorder):
        whole = int.from_bytes(data[:size], byteorder)
        below = bit if byteorder == "little" else 8 * size - bit - width
        value = whole >> below & ((1 << width) - 1)
        return value - (1 << width) if signed and value >> (width - 1) else value

    return read


def plain(value):
    """A decoded value as dicts and tuples; NaN, which equals nothing, as text."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    return "nan" if isinstance(value, float) and math.isnan(value) else value


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
