"""Runs of keys and values: both twins make the same of them, and see to their bounds."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream._native import COMPILED, hot
from bpfstream.errors import SchemaError
from bpfstream.maps.map import RawCodec
from bpfstream.records import codec
from tests.support.c_structs import CTypes

NAMES = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"]
SIZES = dict(zip(NAMES, (1, 1, 2, 2, 4, 4, 8, 8), strict=True))
numbers = st.one_of(st.integers(-300, 300), st.integers(-(1 << 65), 1 << 65), st.booleans())
runs = st.lists(st.one_of(numbers, st.sampled_from(["one", 0.5, None])), max_size=6)
compiled = pytest.mark.skipif(not COMPILED, reason="needs the compiled module")


def integer_codec(name, native):
    types = CTypes()
    type_id = types.named(name)
    return codec(types.btf(sys.byteorder), type_id, native=native)


@pytest.mark.parametrize("padded", [False, True])
@given(name=st.sampled_from(NAMES), values=runs)
def test_integers_are_encoded_as_each_for_itself(native, padded, name, values):
    integers, stride = integer_codec(name, native), 8 if padded else SIZES[name]
    expected = bytes_or_refusal(lambda: each_encoded(integers, values, stride))
    assert bytes_or_refusal(lambda: integers.encode_run(values, stride)) == expected
    if isinstance(expected, bytes):
        assert integers.decode_run(memoryview(expected), stride, len(values)) == values


def each_encoded(integers, values, stride):
    return b"".join(integers.encode(value).ljust(stride, b"\0") for value in values)


def bytes_or_refusal(encode):
    """What `encode` gives, or the words in which it refuses."""
    try:
        return encode()
    except SchemaError as error:
        return str(error)


@given(name=st.sampled_from(NAMES), data=st.binary(max_size=64))
def test_any_bytes_are_integers(native, name, data):
    integers, size = integer_codec(name, native), SIZES[name]
    count = len(data) // 8
    for stride in (8, size):
        elements = [data[at : at + size] for at in range(0, count * stride, stride)]
        expected = [integers.decode(element) for element in elements]
        assert integers.decode_run(memoryview(data), stride, count) == expected


@given(values=st.lists(st.binary(min_size=3, max_size=3), max_size=5))
def test_bytes_come_back_as_they_were(native, values):
    raw = RawCodec(3, native=native)
    for stride in (3, 8):
        run = raw.encode_run(values, stride)
        assert len(run) == stride * len(values)
        assert raw.decode_run(memoryview(run), stride, len(values)) == values


@pytest.mark.parametrize("value", [b"", b"ab", b"abcd"])
def test_bytes_of_another_size_are_refused(native, value):
    raw = RawCodec(3, native=native)
    with pytest.raises(SchemaError, match="3 are wanted"):
        raw.encode_run([b"abc", value], 3)
    with pytest.raises(SchemaError, match="3 are wanted"):
        raw.encode(value)


def test_structs_come_in_runs_too(native):
    types = CTypes()
    u32 = types.named("u32")
    pair = types.struct("pair", 8, ("a", u32, 0), ("b", u32, 4))
    pairs = codec(types.btf(sys.byteorder), pair, native=native)
    run = pairs.encode_run([{"a": 1, "b": 2}, {"a": 3}], 16)
    assert run == struct.pack("=2I8x2I8x", 1, 2, 3, 0)
    decoded = pairs.decode_run(memoryview(run), 16, 2)
    assert [(each.a, each.b) for each in decoded] == [(1, 2), (3, 0)]


@compiled
@pytest.mark.parametrize(
    ("size", "stride", "count"),
    [(4, 4, 3), (8, 8, 2), (4, 8, 3), (4, 2, 1), (4, 4, -1), (4, sys.maxsize, 2), (16, 16, 1)],
)
def test_a_run_outside_of_its_buffer_is_refused(size, stride, count):
    with pytest.raises(ValueError, match=r"outside|no integers"):
        hot.split_integers(bytes(11), size, stride, count, False)
    if size <= stride:
        with pytest.raises(ValueError, match="outside"):
            hot.split_bytes(bytes(11), size, stride, count)


@compiled
@pytest.mark.parametrize(("size", "stride"), [(4, 2), (4, sys.maxsize), (-1, 4)])
def test_a_run_that_no_memory_holds_is_refused(size, stride):
    with pytest.raises(ValueError, match=r"no run|no integers"):
        hot.join_integers((1, 2), size, stride, False)
    with pytest.raises(ValueError, match="no run"):
        hot.join_bytes((b"abcd", b"abcd"), size, stride)
