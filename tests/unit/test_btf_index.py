"""The index of a BTF: both twins find the same in any words, sensible or not."""

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream._native import COMPILED, hot
from bpfstream.abi.btf import KIND_SHIFT, Kind
from bpfstream.btf.index import NameIndex, locate_types
from bpfstream.btf.strings import StringTable, _find_flavours
from bpfstream.errors import BtfError

both_twins = pytest.mark.skipif(not COMPILED, reason="needs the compiled module")

infos = st.builds(
    lambda kind, vlen: kind << KIND_SHIFT | vlen,
    st.integers(0, 127),
    st.one_of(st.integers(0, 4), st.integers(0, 0xFFFFFF)),
)
sound_records = st.lists(
    st.tuples(st.sampled_from([Kind.PTR, Kind.STRUCT, Kind.INT, Kind.ENUM]), st.integers(0, 3))
).map(
    lambda rows: [
        word
        for kind, vlen in rows
        for word in (
            7,
            kind << KIND_SHIFT | vlen,
            0,
            *bytes({Kind.STRUCT: 3 * vlen, Kind.INT: 1, Kind.ENUM: 2 * vlen}.get(kind, 0)),
        )
    ]
)
words = st.one_of(
    st.lists(st.one_of(infos, st.integers(0, 0xFFFFFFFF)), max_size=40), sound_records
).map(lambda each: array("I", each))
trailers = st.dictionaries(st.integers(20, 127), st.tuples(st.integers(0, 63), st.integers(0, 63)))


def located(words, more_kinds, native):
    """Where the types begin, or the refusal in its words."""
    try:
        return locate_types(words, more_kinds, 24, native=native)
    except BtfError as error:
        return str(error), error.offset


@both_twins
@given(words, trailers)
def test_types_lie_at_the_same_places_or_are_refused_in_the_same_words(words, more_kinds):
    pure, compiled = (located(words, more_kinds, native) for native in (False, True))
    assert compiled == pure


@both_twins
@given(words)
def test_words_may_come_in_any_buffer(words):
    odd = memoryview(b"x" + words.tobytes())[1:]
    forms = (words, memoryview(words), words.tobytes(), odd)
    table = array("I", [0, 0] * 128)
    assert len({hot.locate_types(form, table) for form in forms}) == 1


def test_a_record_that_claims_more_than_memory_can_hold_is_cut_off(native):
    huge = array("I", [0, Kind.STRUCT << KIND_SHIFT | 0xFFFFFF, 0])
    with pytest.raises(BtfError, match="cut off") as caught:
        locate_types(huge, {}, 24, native=native)
    assert caught.value.offset == 24


texts = st.binary(max_size=30).map(lambda text: b"\0" + text + b"\0")


@both_twins
@given(texts, st.lists(st.integers(0, 40), max_size=12), st.lists(st.integers(0, 32), max_size=12))
def test_the_same_types_bear_a_name(text, offsets, places):
    strings = StringTable(text, 0, len(text))
    words = array("I", [word for offset in offsets for word in (offset, Kind.PTR << KIND_SHIFT, 0)])
    starts = array("I", range(0, len(words), 3))
    pure, compiled = (NameIndex(words, starts, strings, native=native) for native in (False, True))
    names = {strings.get(place) for place in places if place < len(text)}
    for name in names:
        assert compiled.named(name) == pure.named(name)
        assert compiled.essentially_named(name) == pure.essentially_named(name)
    every = array("I", offsets)
    assert strings.has_inside(every, native=True) == strings.has_inside(every, native=False)


@both_twins
@given(st.lists(st.sampled_from([b"_", b"__", b"___", b"a", b"\0"]), max_size=12), st.data())
def test_flavours_are_found_at_the_same_places(parts, data):
    text = b"".join(parts)
    end = data.draw(st.integers(0, len(text)))
    start = data.draw(st.integers(0, end))
    assert hot.find_flavours(text, start, end) == _find_flavours(text, start, end)


@both_twins
def test_places_outside_of_the_words_are_refused():
    words = array("I", [1, 2, 3])
    assert hot.pick_words(words, array("I", [2, 0])) == struct.pack("=2I", 3, 1)
    with pytest.raises(IndexError):
        hot.pick_words(words, array("I", [3]))
    for start, end in ((-1, 2), (2, 1), (0, 9)):
        with pytest.raises(ValueError, match="outside"):
            hot.any_inside(b"\0a\0", start, end, 0, words)
        with pytest.raises(ValueError, match="outside"):
            hot.find_flavours(b"\0a\0", start, end)


@both_twins
def test_a_table_of_trailers_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="128 pairs"):
        hot.locate_types(b"", bytes(8))
