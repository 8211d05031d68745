"""The records of a ring become a list of events: the same from whole runs as from each record.

Whatever the fast ways do, in Python and in the compiled twin, is held to `RecordType.decode`.
"""

import copy
import enum
import gc
import pickle
import struct
import sys
import tracemalloc
import weakref
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream._native import COMPILED
from bpfstream.abi.btf import Kind
from bpfstream.errors import DecodeError
from bpfstream.records import (
    F32,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Chars,
    decoder_for,
    record_type,
    record_type_of_class,
)
from bpfstream.records.record_decoder import record_decoder
from bpfstream.spec import ObjectSpec
from tests.support.any_struct import build, members
from tests.support.c_structs import CTypes

HEADER = 8


class Span(msgspec.Struct):
    begin: Annotated[int, U32]
    end: Annotated[int, U32]


class Colour(enum.IntEnum):
    RED = 1
    GREEN = 2
    FAR = 1 << 40


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Event(msgspec.Struct):
    """One of everything that a class can say."""

    pid: Annotated[int, U32]
    colour: Annotated[Colour | int, U64]
    access: Annotated[Access | int, U8]
    ok: bool
    delta: Annotated[int, I64]
    load: Annotated[float, F32]
    comm: Annotated[str, Chars(16)]
    path: Annotated[str, Chars(80)]
    key: Annotated[bytes, Bytes(3)]
    numbers: Annotated[tuple[int, ...], Array(U16, 3)]
    span: Span
    spans: Annotated[tuple[Span, ...], Array(Span, 2)]


def parts_of(records, *, stride=None, junk=b"\xaa"):
    """A buffer of records of one size with headers between them, and the run that they are."""
    size = len(records[0])
    stride = stride or size + HEADER
    data = junk * HEADER + b"".join(each.ljust(stride, junk) for each in records)
    return [(memoryview(data), [(HEADER, size, stride, len(records))])]


def decoder_of(kind, native):
    return record_decoder(kind.shape, kind.byteorder, native=native)


def one_by_one(kind, parts):
    return [
        kind.decode(buffer, offset + index * stride, length)
        for buffer, runs in parts
        for offset, length, stride, count in runs
        for index in range(count)
    ]


def exact(value):
    """A value and the types of all that is in it; floats by their bits, enum members themselves."""
    if isinstance(value, msgspec.Struct):
        return type(value), [exact(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, tuple):
        return tuple, [exact(each) for each in value]
    if isinstance(value, float):
        return float, struct.pack("=d", value)
    return type(value), value


def event_records(count):
    size = record_type_of_class(Event).size
    return [bytes((7 * index + 3 * at) % 256 for at in range(size)) for index in range(count)]


# The same values ----------------------------------------------------------------------------------


@given(
    st.lists(members(), min_size=1, max_size=6),
    st.integers(0, 2),
    st.sampled_from(["little", "big"]),
    st.integers(1, 4),
    st.integers(0, 9),
    st.data(),
)
def test_any_records_of_any_struct(native, chosen, gap, byteorder, count, more, draw):
    types = CTypes()
    type_id, size, _ = build(types, "struct", [*chosen, ("number", "u32")], gap)
    length = size + more
    records = [draw.draw(st.binary(min_size=length, max_size=length)) for _ in range(count)]
    kind = record_type(types.btf(byteorder), type_id)
    parts = parts_of(records)
    decoded, found = decoder_of(kind, native).decode(parts)
    assert found == count
    assert exact(tuple(decoded)) == exact(tuple(one_by_one(kind, parts)))


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_a_class_of_the_user_with_fields_of_all_kinds(native, byteorder):
    kind = record_type_of_class(Event, byteorder=byteorder)
    parts = parts_of(event_records(300))
    decoded, _ = decoder_of(kind, native).decode(parts)
    assert exact(tuple(decoded)) == exact(tuple(one_by_one(kind, parts)))


def test_a_struct_that_clang_made(native):
    spec = ObjectSpec.from_file("tests/programs/types.bpf.o")
    kind = record_type(spec.btf, spec.btf.find("everything", Kind.STRUCT))
    records = [bytes((index + at) % 256 for at in range(kind.size + 8)) for index in range(5)]
    decoded, _ = decoder_of(kind, native).decode(parts_of(records))
    assert exact(tuple(decoded)) == exact(tuple(one_by_one(kind, parts_of(records))))


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=40))
def test_text_that_was_seen_before_is_still_the_text_of_its_own_record(native, texts):
    class Named(msgspec.Struct):
        comm: Annotated[str, Chars(16)]

    decoder = decoder_of(record_type_of_class(Named), native)
    for _ in range(2):
        made = [each.comm for text in texts for each in decoder.decode(parts_of([text]))[0]]
        assert made == [
            text.partition(b"\0")[0].decode(errors="backslashreplace") for text in texts
        ]


class Numbers(msgspec.Struct):
    a: Annotated[int, U32]
    b: Annotated[int, I32]
    c: Annotated[int, U64]
    d: Annotated[int, I64]


def rows_and_records(numbers):
    rows = [
        Numbers(each % 2**32, (each + 2**31) % 2**32 - 2**31, each % 2**64, each)
        for each in numbers
    ]
    return rows, [struct.pack("=IiQq", *msgspec.structs.astuple(row)) for row in rows]


@given(st.lists(st.sampled_from([0, 256, 257, 1 << 10, -257, -1, (1 << 63) - 1]), min_size=1))
def test_numbers_that_were_seen_before_are_still_those_of_their_own_record(native, numbers):
    decoder = decoder_of(record_type_of_class(Numbers), native)
    rows, records = rows_and_records(numbers)
    for _ in range(2):
        assert decoder.decode(parts_of(records))[0] == rows


def test_numbers_that_never_come_again_are_right_too(native):
    decoder = decoder_of(record_type_of_class(Numbers), native)
    rows, records = rows_and_records(range(-10_000, 10_000))
    assert decoder.decode(parts_of(records))[0] == rows


def test_enum_members_are_the_members_and_flags_are_put_together(native):
    class Small(msgspec.Struct):
        colour: Annotated[Colour | int, U64]
        access: Annotated[Access | int, U64]

    decoder = decoder_of(record_type_of_class(Small), native)
    records = [struct.pack("=QQ", *each) for each in [(1, 1), (1 << 40, 3), (9, 0), (1 << 63, 8)]]
    made, _ = decoder.decode(parts_of(records))
    assert [each.colour for each in made] == [Colour.RED, Colour.FAR, 9, 1 << 63]
    assert made[0].colour is Colour.RED
    assert made[1].access is Access.READ | Access.WRITE
    assert type(made[2].colour) is int


# Records of other sizes ---------------------------------------------------------------------------


class Tail(msgspec.Struct):
    pid: Annotated[int, U32]
    args: Annotated[str, Chars(8)]


class Rest(msgspec.Struct):
    pid: Annotated[int, U32]
    words: Annotated[tuple[int, ...], Array(U16)]


@pytest.mark.parametrize("struct_type", [Tail, Rest])
def test_a_record_may_end_in_its_last_array(native, struct_type):
    kind = record_type_of_class(struct_type)
    decoder = decoder_of(kind, native)
    for length in range(4, 16):
        parts = parts_of([bytes(range(1, length + 1)), bytes(range(2, length + 2))])
        assert decoder.decode(parts) == (one_by_one(kind, parts), 2)


def test_the_last_record_may_end_where_the_buffer_ends(native):
    kind = record_type_of_class(Span)
    data = memoryview(struct.pack("=8xII8xII", 1, 2, 3, 4))
    decoded, _ = decoder_of(kind, native).decode([(data, [(8, 8, 16, 2)])])
    assert decoded == [Span(1, 2), Span(3, 4)]


def test_runs_and_buffers_follow_each_other_in_order(native):
    kind = record_type_of_class(Span)
    first, second = (memoryview(struct.pack("=8I", *range(at, at + 8))) for at in (0, 100))
    parts = [(first, [(0, 8, 8, 2), (24, 8, 8, 1)]), (second, [(8, 8, 8, 2)])]
    decoded, count = decoder_of(kind, native).decode(parts)
    assert [each.begin for each in decoded] == [0, 2, 6, 102, 104]
    assert count == 5


def test_no_records_are_no_events(native):
    decoder = decoder_of(record_type_of_class(Span), native)
    assert decoder.decode([]) == ([], 0)
    assert decoder.join([]) == []
    assert decoder.join([[1], [2, 3]]) == [1, 2, 3]


@pytest.mark.skipif(not COMPILED, reason="needs the compiled module: slices of Python are bounded")
def test_a_run_outside_of_its_buffer_is_refused():
    decoder = decoder_of(record_type_of_class(Span), native=True)
    largest = sys.maxsize
    for run in [(-8, 8, 8, 1), (8, 8, 8, 2), (0, 8, largest, largest), (largest, 8, 8, 1)]:
        with pytest.raises(ValueError, match="outside"):
            decoder.decode([(memoryview(bytes(16)), [run])])


# Records that are bad -----------------------------------------------------------------------------


class Even(msgspec.Struct):
    number: Annotated[int, U32]

    def __post_init__(self):
        if self.number % 2:
            raise ValueError("odd")


class Pair(msgspec.Struct):
    even: Even


@pytest.mark.parametrize("struct_type", [Even, Pair])
def test_records_before_a_bad_one_come_first_and_then_its_error(native, struct_type):
    kind = record_type_of_class(struct_type)
    decoder = decoder_of(kind, native)
    parts = parts_of([struct.pack("=I", number) for number in (0, 2, 4, 5, 6)])
    decoded, count = decoder.decode(parts)
    assert count == len(decoded) == 3
    assert decoded == one_by_one(kind, parts_of([struct.pack("=I", each) for each in (0, 2, 4)]))
    with pytest.raises(DecodeError, match="refused by its class: odd") as raised:
        decoder.decode(parts_of([struct.pack("=I", 5)]))
    assert raised.value.record == struct.pack("=I", 5)


def test_a_short_record_ends_the_batch(native):
    decoder = decoder_of(record_type_of_class(Span), native)
    data = memoryview(bytes(32))
    assert decoder.decode([(data, [(0, 8, 8, 2), (16, 7, 8, 1), (24, 8, 8, 1)])])[1] == 2
    with pytest.raises(DecodeError, match="too short for 8 bytes"):
        decoder.decode([(data, [(16, 7, 8, 1)])])


def test_any_other_exception_of_a_class_passes_through(native):
    class Broken(msgspec.Struct):
        number: Annotated[int, U32]

        def __post_init__(self):
            raise RuntimeError("broken")

    decoder = decoder_of(record_type_of_class(Broken), native)
    with pytest.raises(RuntimeError, match="broken"):
        decoder.decode(parts_of([bytes(4)] * 2))


# Several structs on one ring ----------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=12)), min_size=1, max_size=8),
    st.sampled_from(["little", "big"]),
)
def test_each_record_becomes_what_its_tag_says_until_one_is_bad(native, chosen, byteorder):
    types = CTypes()
    u16, u64 = types.named("s16"), types.named("u64")
    one = types.struct("one", 4, ("tag", u16, 0), ("value", u16, 2))
    two = types.struct("two", 10, ("tag", u16, 0), ("value", u64, 2))
    odd = types.struct("odd", 4, ("tag", u16, 0), ("value", types.named("s128"), 2 * 8, 16))
    btf = types.btf(byteorder)
    kinds = {1: record_type(btf, one), 2: record_type(btf, two), -3: record_type(btf, odd)}
    decoder = decoder_for(kinds, "tag", native=native)
    tags = [0, 1, 2, -3, 1]
    records = [tags[tag].to_bytes(2, byteorder, signed=True) + rest for tag, rest in chosen]
    expected = []
    for index, record in enumerate(records):
        tag = tags[chosen[index][0]]
        if tag not in kinds or len(record) < kinds[tag].size:
            break
        expected.append(kinds[tag].decode(memoryview(record), 0, len(record)))
    parts = [(memoryview(record), [(0, len(record), 16, 1)]) for record in records]
    if not expected:
        with pytest.raises(DecodeError):
            decoder.decode(parts)
    else:
        decoded, count = decoder.decode(parts)
        assert count == len(expected)
        assert exact(tuple(decoded)) == exact(tuple(expected))


# The events are ordinary objects ------------------------------------------------------------------


class Frozen(msgspec.Struct, frozen=True, gc=False):
    pid: Annotated[int, U32]
    comm: Annotated[str, Chars(16)]


class WeaklyReferenced(msgspec.Struct, weakref=True):
    pid: Annotated[int, U32]


class WithDict(msgspec.Struct, dict=True):
    pid: Annotated[int, U32]


class HashCached(msgspec.Struct, frozen=True, cache_hash=True):
    pid: Annotated[int, U32]


class ByName(msgspec.Struct, kw_only=True):
    pid: Annotated[int, U32]
    tid: Annotated[int, U32] = 5


class Inherited(Frozen, frozen=True):
    cpu: Annotated[int, U32]


@pytest.mark.parametrize(
    "struct_type",
    [Event, Span, Frozen, WeaklyReferenced, WithDict, HashCached, ByName, Inherited, Tail],
)
def test_an_event_is_as_if_its_class_had_been_called(native, struct_type):
    kind = record_type_of_class(struct_type)
    records = [bytes((at + index) % 127 for at in range(kind.size)) for index in range(3)]
    decoded, _ = decoder_of(kind, native).decode(parts_of(records))
    for made in decoded:
        called = struct_type(**msgspec.structs.asdict(made))
        assert made == called
        assert repr(made) == repr(called)
        assert copy.copy(made) == made
        assert copy.deepcopy(made) == made
        assert pickle.loads(pickle.dumps(made)) == made
        first = made.__struct_fields__[0]
        assert getattr(msgspec.structs.replace(made, **{first: 77}), first) == 77
        if made.__struct_config__.frozen:
            assert hash(made) == hash(called)
        else:
            setattr(made, first, 78)
            assert getattr(made, first) == 78
        assert msgspec.json.decode(msgspec.json.encode(made))[first] == getattr(made, first)


def test_events_can_be_weakly_referenced_and_given_attributes_where_their_class_says_so(native):
    (made,), _ = decoder_of(record_type_of_class(WeaklyReferenced), native).decode(
        parts_of([bytes(4)])
    )
    reference = weakref.ref(made)
    assert reference() is made
    del made
    assert reference() is None
    (made,), _ = decoder_of(record_type_of_class(WithDict), native).decode(parts_of([bytes(4)]))
    made.note = "seen"
    assert made.note == "seen"


def test_a_cycle_through_an_event_is_collected(native):
    class Marker:
        pass

    kind = record_type_of_class(Event)
    (made,), _ = decoder_of(kind, native).decode(parts_of(event_records(1)))
    marker = Marker()
    marker.event, made.span.begin = made, marker  # the outer event holds the inner one
    reference = weakref.ref(marker)
    del made, marker
    gc.collect()
    assert reference() is None


def test_nothing_is_left_behind_and_nothing_is_taken_too_often(native):
    kind = record_type_of_class(Event)
    decoder = decoder_of(kind, native)
    parts = parts_of(event_records(50))
    shared = [Event, Span, Colour, Colour.RED, Access.READ, decoder]

    def references():
        gc.collect()
        return [sys.getrefcount(each) for each in shared]

    decoder.decode(parts)
    before = references()
    for _ in range(20):
        decoder.decode(parts)
    assert [after - was for after, was in zip(references(), before, strict=True)] == [0] * 6


def test_memory_stays_flat_over_many_batches(native):
    decoder = decoder_of(record_type_of_class(Event), native)
    refused = decoder_of(record_type_of_class(Even), native)
    parts, bad = parts_of(event_records(50)), parts_of([b"\2\0\0\0", b"\1\0\0\0"])

    def batches(count):
        for _ in range(count):
            decoder.decode(parts)
            refused.decode(bad)
        gc.collect()

    tracemalloc.start()
    try:
        batches(5)
        before, _ = tracemalloc.get_traced_memory()
        batches(100)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4096
