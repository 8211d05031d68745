"""Several structs on one ring are told apart by a field that all of them have."""

import struct

import msgspec
import pytest

from bpfstream.errors import DecodeError, SchemaError
from bpfstream.records import decoder_for, record_type
from tests.support.c_structs import CTypes


class Opened(msgspec.Struct, tag=1, tag_field="event"):
    fd: int


class Closed(msgspec.Struct, tag="CLOSED", tag_field="event"):
    fd: int
    result: int


def two_types(first=Opened, second=Closed, *, second_tag_at=0):
    types = CTypes()
    s32 = types.named("s32")
    kind = types.enum("kind", OPENED=1, CLOSED=2)
    opened = types.struct("opened", 8, ("kind", kind, 0), ("fd", s32, 4))
    closed = types.struct(
        "closed", 12, ("kind", kind, second_tag_at), ("fd", s32, 4), ("result", s32, 8)
    )
    btf = types.btf()
    return [
        record_type(btf, opened, struct=first),
        record_type(btf, closed, struct=second),
    ]


def decode(decoder, record):
    records, _ = decoder.decode([(memoryview(record), [(0, len(record), len(record), 1)])])
    return records[0]


def test_each_record_becomes_the_class_that_its_tag_says():
    decoder = decoder_for(two_types(), "kind")
    assert decode(decoder, struct.pack("<Ii", 1, 3)) == Opened(3)
    assert decode(decoder, struct.pack("<Iii", 2, 3, -5)) == Closed(3, -5)


def test_a_tag_that_no_class_has_is_a_decode_error_that_names_those_there_are():
    with pytest.raises(DecodeError, match="tag 9 is none of 1, 2") as raised:
        decode(decoder_for(two_types(), "kind"), struct.pack("<Ii", 9, 3))
    assert raised.value.record == struct.pack("<Ii", 9, 3)


def test_a_record_too_short_for_its_tag_or_its_struct_is_a_decode_error():
    decoder = decoder_for(two_types(), "kind")
    for record in (b"\1\0", struct.pack("<Ii", 2, 3)):
        with pytest.raises(DecodeError):
            decode(decoder, record)


def test_a_single_type_needs_no_tag():
    only = two_types()[0]
    assert decoder_for([only]) is only.decoder


@pytest.mark.parametrize(
    ("types", "tag", "says"),
    [
        ([], None, "at least one"),
        (two_types(), None, "can't be told apart"),
        (two_types(), "type", "struct opened has no field 'type'"),
        (two_types(Opened, Opened), "kind", "two structs of a ring have the tag 1"),
        (two_types(second_tag_at=4), "kind", "at different places"),
        (two_types(None, None), "kind", "does not say its 'kind'"),
    ],
)
def test_types_that_can_t_be_told_apart_are_refused(types, tag, says):
    with pytest.raises(SchemaError, match=says):
        decoder_for(types, tag)
