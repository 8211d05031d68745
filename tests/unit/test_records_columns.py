"""The records of a ring become columns: numpy arrays and Arrow batches of the same values."""

import enum
import importlib
import json
import math
import struct
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import DecodeError, MissingPackageError, SchemaError
from bpfstream.records import (
    F64,
    I16,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Chars,
    record_type,
    record_type_of_class,
)
from bpfstream.records.columns import Columns
from tests.support.any_struct import build, members, plain
from tests.support.c_structs import CTypes

numpy = pytest.importorskip("numpy", reason="needs numpy")
pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")

HEADER = 8


class Colour(enum.IntEnum):
    RED = 1
    GREEN = 2


class Point(msgspec.Struct):
    x: Annotated[int, I16]
    y: Annotated[int, I16]


class Event(msgspec.Struct):
    pid: Annotated[int, U32]
    colour: Annotated[Colour | int, U8]
    ok: bool
    at: Point
    load: Annotated[float, F64]
    comm: Annotated[str, Chars(8)]
    key: Annotated[bytes, Bytes(4)]
    matrix: Annotated[tuple[tuple[int, ...], ...], Array(Array(U16, 2), 2)]
    points: Annotated[tuple[Point, ...], Array(Point, 2)]


EVENT = record_type_of_class(Event)
RECORDS = [
    struct.pack("=IB?hhxxxxxxd8s4s4H4hxxxx", pid, pid % 3, pid % 2, -pid, pid, pid / 4,
                b"task-%d" % pid, b"\1\0\0\0", 1, 2, 3, pid, 5, 6, 7, -pid)
    for pid in range(20)
]  # fmt: skip


def parts_of(records):
    """The records in a buffer with headers between them, a run for each that has its own size."""
    data, runs = b"", []
    for record in records:
        runs.append((len(data) + HEADER, len(record), len(record) + HEADER, 1))
        data += bytes(HEADER) + record
    if len({len(record) for record in records}) == 1:
        runs = [(*runs[0][:3], len(records))]
    return [(memoryview(data), runs)]


def array_of(kind, records, native):
    batch, count = Columns(kind, native=native).numpy_decoder().decode(parts_of(records))
    assert count == len(batch)
    return batch


def arrow_of(kind, records, native):
    batch, count = Columns(kind, native=native).arrow_decoder().decode(parts_of(records))
    batch.validate(full=True)
    assert count == batch.num_rows
    return batch


def events_of(kind, records):
    return [kind.decode(memoryview(record), 0, len(record)) for record in records]


def test_a_numpy_batch_is_a_structured_array_with_the_fields_of_the_event(native):
    assert len(RECORDS[0]) == EVENT.size
    batch = array_of(EVENT, RECORDS, native)
    assert batch.dtype.names == Event.__struct_fields__
    for row, event in zip(batch, events_of(EVENT, RECORDS), strict=True):
        assert (row["pid"], row["colour"], row["ok"]) == (event.pid, event.colour, event.ok)
        assert (row["at"]["x"], row["at"]["y"]) == (event.at.x, event.at.y)
        assert row["load"] == event.load
        assert row["comm"].decode() == event.comm
        assert row["key"].tobytes() == event.key
        assert tuple(map(tuple, row["matrix"])) == event.matrix
        assert [tuple(each) for each in row["points"]] == [(p.x, p.y) for p in event.points]
    assert batch["pid"].sum() == sum(range(20))


def rows_of(batch):
    """The rows of an Arrow batch, as `plain` has events."""

    def simple(value):
        if isinstance(value, dict):
            return {name: simple(each) for name, each in value.items()}
        if isinstance(value, list):
            return tuple(map(simple, value))
        return "nan" if isinstance(value, float) and math.isnan(value) else value

    return [simple(row) for row in batch.to_pylist()]


def test_an_arrow_batch_has_the_same_columns(native):
    batch = arrow_of(EVENT, RECORDS, native)
    assert rows_of(batch) == [plain(event) for event in events_of(EVENT, RECORDS)]
    schema = batch.schema
    assert schema.field("pid").type == pyarrow.uint32()
    assert schema.field("comm").type == pyarrow.utf8()
    assert schema.field("key").type == pyarrow.binary(4)
    assert schema.field("at").type == pyarrow.struct([("x", "int16"), ("y", "int16")])
    assert schema.field("matrix").type == pyarrow.list_(pyarrow.list_(pyarrow.uint16(), 2), 2)
    assert json.loads(schema.field("colour").metadata[b"enum"]) == {"RED": 1, "GREEN": 2}


# Any struct ---------------------------------------------------------------------------------------


def without_wide(value, column):
    """An event's value as Arrow has it: numbers of 16 bytes are bytes, empty arrays left out."""
    if isinstance(value, dict):
        return {
            name: without_wide(each, column[name]) for name, each in value.items() if name in column
        }
    if isinstance(value, tuple):
        return tuple(without_wide(*each) for each in zip(value, column, strict=True))
    return column if isinstance(column, bytes) and len(column) == 16 else value


@given(
    st.lists(members(), min_size=1, max_size=6),
    st.integers(0, 2),
    st.sampled_from(["little", "big"]),
    st.integers(1, 3),
    st.data(),
)
def test_any_records_of_any_struct(native, chosen, gap, byteorder, count, draw):
    types = CTypes()
    type_id, size, _ = build(types, "struct", [*chosen, ("number", "u32")], gap)
    records = [draw.draw(st.binary(min_size=size, max_size=size)) for _ in range(count)]
    kind = record_type(types.btf(byteorder), type_id)
    rows = rows_of(arrow_of(kind, records, native))
    events = [plain(event) for event in events_of(kind, records)]
    assert rows == [without_wide(*each) for each in zip(events, rows, strict=True)]
    last = kind.fields[-1]
    assert array_of(kind, records, native)[last].tolist() == [each[last] for each in events]


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_bitfields_are_columns_of_their_own_with_their_path_as_name(native, byteorder):
    types = CTypes()
    s32, u32 = types.named("s32"), types.named("u32")
    flags = types.struct("flags", 4, ("low", u32, 0, 3), ("signed", s32, 3, 5), ("x", u32, 8, 24))
    event = types.struct("event", 16, ("a", u32, 0), ("flags", types.array(flags, 2), 4),
                         ("b", u32, 96, 17))  # fmt: skip
    kind = record_type(types.btf(byteorder), event)
    records = [bytes((37 * index + 11 * at) % 256 for at in range(16)) for index in range(9)]
    batch = array_of(kind, records, native)
    events = events_of(kind, records)
    assert batch["b"].tolist() == [each.b for each in events]
    assert batch["b"].dtype == numpy.uint32
    assert batch["flags.signed"].dtype == numpy.int8
    for name in ("low", "signed", "x"):
        expected = [[getattr(flag, name) for flag in each.flags] for each in events]
        assert batch[f"flags.{name}"].tolist() == expected


def test_any_byte_but_zero_is_true(native):
    class Flags(msgspec.Struct):
        one: bool
        wide: Annotated[bool, U32]

    kind = record_type_of_class(Flags)
    records = [struct.pack("=Bxxxi", *each) for each in [(0, 0), (1, 256), (2, -1), (255, 1)]]
    batch = array_of(kind, records, native)
    for name in ("one", "wide"):
        assert batch[name].view(numpy.uint8).tolist() == [0, 1, 1, 1]


def test_text_that_is_no_utf8_reads_as_in_events(native):
    class Named(msgspec.Struct):
        comm: Annotated[str, Chars(8)]

    kind = record_type_of_class(Named)
    texts = [b"bash\0xyz", b"z\xc3\xbcrich\0", b"a\xff\0\0\0\0\0\0", b"12345678", bytes(8)]
    batch = arrow_of(kind, texts, native)
    assert batch["comm"].to_pylist() == ["bash", "zürich", "a\\xff", "12345678", ""]


# Chosen fields ------------------------------------------------------------------------------------


@given(
    st.lists(members(), min_size=1, max_size=6),
    st.sampled_from(["little", "big"]),
    st.integers(0, 40),
    st.data(),
)
def test_chosen_fields_are_the_same_as_among_all(native, members_, byteorder, longer, draw):
    types = CTypes()
    type_id, size, _ = build(types, "struct", [("number", "u8"), *members_, ("number", "u16")], 1)
    kind = record_type(types.btf(byteorder), type_id)
    records = [draw.draw(st.binary(min_size=size, max_size=size)) + bytes(longer)] * 2
    everything = Columns(kind, native=native).arrow_decoder().decode(parts_of(records))[0]
    names = draw.draw(st.sets(st.sampled_from(everything.schema.names), min_size=1))
    chosen = Columns(kind, only=names, native=native).arrow_decoder().decode(parts_of(records))[0]
    assert set(chosen.schema.names) == names
    for name in names:
        # as text, where not a number is not a number
        assert repr(chosen[name].to_pylist()) == repr(everything[name].to_pylist())


def test_of_chosen_fields_only_what_lies_between_them_is_copied(native):
    batch, _ = (
        Columns(EVENT, only=["colour", "at"], native=native)
        .numpy_decoder()
        .decode(parts_of(RECORDS))
    )
    assert batch.dtype.names == ("colour", "at")
    assert batch.dtype.itemsize == 6  # of bytes 4 to 9
    assert batch["colour"].tolist() == [pid % 3 for pid in range(20)]
    assert batch["at"]["y"].tolist() == list(range(20))


def test_chosen_fields_that_a_short_record_lacks_are_zero(native):
    kind = record_type_of_class(Tail)
    parts = parts_of([struct.pack("=I", 7) + text for text in (b"", b"abc")])
    batch, _ = Columns(kind, only=["args"], native=native).numpy_decoder().decode(parts)
    assert batch["args"].tolist() == [b"", b"abc"]


@pytest.mark.parametrize("names", [["pid", "nothing"], []])
def test_fields_that_are_not_there_cant_be_chosen(names):
    with pytest.raises(SchemaError, match=r"nothing|no columns") as raised:
        Columns(EVENT, only=names).numpy_decoder()
    assert "pid, colour, ok" in raised.value.hint


# Records of other sizes ---------------------------------------------------------------------------


class Tail(msgspec.Struct):
    pid: Annotated[int, U32]
    args: Annotated[str, Chars(8)]


def test_a_record_that_ends_in_its_last_array_is_filled_up(native):
    kind = record_type_of_class(Tail)
    records = [struct.pack("=I", pid) + b"abcdefghij"[:pid] for pid in range(10)]
    batch = array_of(kind, records, native)
    assert batch["pid"].tolist() == list(range(10))
    assert batch["args"].tolist() == [b"abcdefgh"[:pid] for pid in range(10)]


def test_the_batch_ends_before_a_record_that_is_too_short(native):
    decoder = Columns(EVENT, native=native).numpy_decoder()
    batch, count = decoder.decode(parts_of([*RECORDS[:2], b"short", RECORDS[2]]))
    assert count == len(batch) == 2
    for columns in (decoder, Columns(EVENT, native=native).arrow_decoder()):
        with pytest.raises(DecodeError, match="struct Event: too short") as raised:
            columns.decode(parts_of([b"short", RECORDS[0]]))
        assert raised.value.record == b"short"


def test_an_array_without_a_length_is_left_out(native):
    class Rest(msgspec.Struct):
        pid: Annotated[int, U32]
        rest: Annotated[str, Chars()]

    kind = record_type_of_class(Rest)
    records = [b"\1\0\0\0", b"\2\0\0\0abc"]
    assert array_of(kind, records, native).dtype.names == ("pid",)
    assert arrow_of(kind, records, native).to_pylist() == [{"pid": 1}, {"pid": 2}]


def test_an_arrow_batch_has_no_more_than_arrow_can_count(native, monkeypatch):
    monkeypatch.setattr("bpfstream.records.arrow.MAXIMUM_BYTES", 3 * EVENT.size)
    batch, count = Columns(EVENT, native=native).arrow_decoder().decode(parts_of(RECORDS))
    assert batch.num_rows == count == 3


# Batches ------------------------------------------------------------------------------------------


def test_arrays_of_several_rings_are_joined(native):
    decoder = Columns(EVENT, native=native).numpy_decoder()
    batches = [decoder.decode(parts_of(part))[0] for part in (RECORDS[:3], RECORDS[3:])]
    joined = decoder.join(batches)
    assert joined.dtype == batches[0].dtype
    assert joined["pid"].tolist() == list(range(20))
    assert decoder.join(batches[:1]) is batches[0]
    assert len(decoder.join([])) == 0


def test_arrow_batches_of_several_rings_are_joined(native):
    decoder = Columns(EVENT, native=native).arrow_decoder()
    batches = [decoder.decode(parts_of(part))[0] for part in (RECORDS[:3], RECORDS[3:])]
    joined = decoder.join(batches)
    assert joined.schema.equals(batches[0].schema, check_metadata=True)
    assert joined["pid"].to_pylist() == list(range(20))
    assert decoder.join(batches[:1]) is batches[0]
    assert decoder.join([]).num_rows == 0


def test_a_batch_stays_as_it_is_while_anybody_looks_at_it(native):
    class Wide(msgspec.Struct):
        number: Annotated[int, U64]
        rest: Annotated[bytes, Bytes(1016)]

    decoder = Columns(record_type_of_class(Wide), native=native).numpy_decoder()

    def batch(number):
        return decoder.decode(parts_of([struct.pack("=Q", number) + bytes(1016)] * 100))[0]

    kept = {number: batch(number)["number"] for number in range(8)}
    for number in range(8, 40):
        batch(number)
        if number % 4 == 0:
            kept[number] = batch(number)[50:]["number"][::2]
    for number, values in kept.items():
        assert set(values.tolist()) == {number}


def test_memory_of_a_batch_that_nobody_looks_at_is_used_again(native):
    decoder = Columns(EVENT, native=native).numpy_decoder()
    parts = parts_of(RECORDS * 100)
    places = {decoder.decode(parts)[0].__array_interface__["data"][0] for _ in range(10)}
    assert len(places) == 1


# What can't be columns ----------------------------------------------------------------------------


def test_columns_are_of_one_struct():
    with pytest.raises(SchemaError, match="columns are of one struct, and the ring carries struct"):
        Columns([EVENT, record_type_of_class(Tail)])
    assert Columns([EVENT]).record_type is EVENT


def test_a_struct_without_fields_has_no_columns():
    types = CTypes()
    empty = types.struct("empty", 8)
    kind = record_type(types.btf(), empty)
    with pytest.raises(SchemaError, match="nothing that a column could hold"):
        Columns(kind).numpy_decoder()


@pytest.mark.parametrize(("package", "wanted"), [("numpy", "numpy"), ("pyarrow", "arrow")])
def test_a_package_that_is_missing_is_named_and_so_is_what_brings_it(monkeypatch, package, wanted):
    real = importlib.import_module

    def without(name, *more):
        if name == package:
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingPackageError, match=r"bpfstream\[columns\]") as raised:
        getattr(Columns(EVENT), f"{wanted}_decoder")()
    assert raised.value.package == package
