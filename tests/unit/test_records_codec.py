"""Keys and values of maps go from Python to bytes and back; what does not fit is refused."""

import struct
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import BtfError, DecodeError, SchemaError
from bpfstream.records import codec
from tests.support.c_structs import INTEGERS, CTypes

byteorders = st.sampled_from(["little", "big"])


def key_codec(byteorder="little"):
    types = CTypes()
    u32 = types.named("u32")
    address = types.union(
        "address", 4, ("word", u32, 0), ("bytes", types.array(types.named("u8"), 4), 0)
    )
    key = types.struct(
        "key",
        40,
        ("pid", u32, 0),
        ("kind", types.enum("kind", OPEN=1), 4),
        ("comm", types.array(types.named("char"), 8), 8),
        ("ports", types.array(types.named("u16"), 2), 16),
        ("address", address, 20),
        ("low", u32, 192, 4),
        ("high", types.named("s32"), 196, 28),
        ("load", types.named("double"), 32),
    )
    return codec(types.btf(byteorder), key)


WHOLE = {
    "pid": 7,
    "kind": 1,
    "comm": "bash",
    "ports": (80, 443),
    "address": {"word": 5},
    "low": 3,
    "high": -2,
    "load": 0.5,
}


def test_a_struct_is_written_from_a_mapping_and_read_as_its_class():
    key = key_codec()
    data = key.encode(WHOLE)
    assert data[:28] == struct.pack(
        "<II8sHHII", 7, 1, b"bash", 80, 443, 5, (-2 << 4 | 3) & 0xFFFFFFFF
    )
    made = key.decode(data)
    assert (made.comm, made.kind.name, made.address.bytes) == ("bash", "OPEN", (5, 0, 0, 0))
    assert (made.low, made.high) == (3, -2)


def test_what_was_read_can_be_written_back_changed():
    key = key_codec()
    made = key.decode(key.encode(WHOLE))
    assert key.encode(made) == key.encode(WHOLE)
    changed = msgspec.structs.replace(made, pid=8)
    assert key.encode(changed) == key.encode(WHOLE | {"pid": 8})


def test_fields_that_a_mapping_leaves_out_are_zero():
    assert key_codec().encode({}) == bytes(40)


def test_any_object_with_the_fields_serves():
    whole = SimpleNamespace(**WHOLE)
    assert key_codec().encode(whole) == key_codec().encode(WHOLE)
    with pytest.raises(SchemaError, match="lacks this field"):
        key_codec().encode(SimpleNamespace(pid=7))


def test_bytes_of_the_exact_size_serve_for_anything():
    key = key_codec()
    assert key.encode(bytes(range(40))) == bytes(range(40))
    assert key.encode(WHOLE | {"address": b"\1\2\3\4"})[20:24] == b"\1\2\3\4"
    with pytest.raises(SchemaError, match="39 bytes where 40 are wanted"):
        key.encode(bytes(39))


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"pid": -1}, "pid", "-1 does not fit unsigned int: not in 0 to 4294967295"),
        ({"pid": 1 << 32}, "pid", "does not fit"),
        ({"pid": "7"}, "pid", "an int is wanted"),
        ({"pid": 7.0}, "pid", "an int is wanted"),
        ({"kind": 1 << 32}, "kind", "does not fit enum kind"),
        ({"comm": "ninebytes"}, "comm", "9 bytes where 8 have room"),
        ({"comm": 7}, "comm", "a str is wanted"),
        ({"ports": (1,)}, "ports", "a tuple of 2 is wanted"),
        ({"ports": (1, 65536)}, "ports[1]", "does not fit"),
        ({"address": {"words": 1}}, "address", "has no field 'words'"),
        ({"address": 5}, "address.word", "lacks this field"),
        ({"low": 16}, "low", "not in 0 to 15"),
        ({"high": 1 << 27}, "high", "not in"),
        ({"load": "heavy"}, "load", "does not fit double"),
        ({"nice": 1}, "", "has no field 'nice'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(change, field, says):
    with pytest.raises(SchemaError) as raised:
        key_codec().encode(WHOLE | change)
    assert says in str(raised.value)
    assert raised.value.field == field


def test_data_of_another_size_is_an_error():
    with pytest.raises(DecodeError, match="40 bytes are wanted"):
        key_codec().decode(bytes(39))


def test_void_has_no_values():
    with pytest.raises(BtfError):
        codec(CTypes().btf(), 0)


@given(st.sampled_from(list(INTEGERS)), byteorders, st.data())
def test_integers_make_the_round_trip(name, byteorder, draw):
    integer = INTEGERS[name]
    types = CTypes()
    type_id = types.named(name)
    number = codec(types.btf(byteorder), type_id)
    bits = 1 if name == "bool" else 8 * integer.size
    low = -(1 << (bits - 1)) if integer.signed else 0
    value = draw.draw(st.integers(low, low + (1 << bits) - 1))
    data = number.encode(value)
    assert data == value.to_bytes(integer.size, byteorder, signed=integer.signed)
    assert number.decode(data) == value


@given(st.binary(min_size=40, max_size=40), byteorders)
def test_whatever_bytes_are_read_the_numbers_are_written_back_the_same(data, byteorder):
    key = key_codec(byteorder)
    made = key.decode(data)
    # Text that is no UTF-8, or that goes on behind a NUL, is not kept; nor are the bits of a NaN.
    written = key.encode(msgspec.structs.replace(made, comm=data[8:16], load=0.0))
    assert written[:28] == data[:28]  # what follows is padding
