"""BTF for older kernels: what they lack is put into words they know, in the same place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.btf import Btf
from bpfstream.btf.sanitizer import BtfFeature, sanitize
from bpfstream.btf.types import (
    Const,
    DataSection,
    DataSectionEntry,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Function,
    FunctionPrototype,
    Int,
    Member,
    Parameter,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Variable,
)
from tests.support.btf_graphs import EVERY_KIND, byteorders, encode, graphs

ABSENT_KINDS = {
    BtfFeature.FUNC: {Kind.FUNC, Kind.FUNC_PROTO},
    BtfFeature.DATASEC: {Kind.VAR, Kind.DATASEC},
    BtfFeature.FLOAT: {Kind.FLOAT},
    BtfFeature.DECL_TAG: {Kind.DECL_TAG},
    BtfFeature.TYPE_TAG: {Kind.TYPE_TAG},
    BtfFeature.ENUM64: {Kind.ENUM64},
}
features = st.sets(st.sampled_from(BtfFeature))


def sanitized(*types, missing):
    """The types after sanitizing, from id 1 on."""
    btf = Btf.from_bytes(sanitize(Btf.from_bytes(encode(*types)), missing))
    return [btf.type(type_id) for type_id in range(1, btf.end_id)]


@pytest.mark.parametrize(
    ("missing", "types", "rewritten"),
    [
        (BtfFeature.DATASEC, [Variable("v", 0, Linkage.GLOBAL)], [Int("v", 1, 8)]),
        (
            BtfFeature.DATASEC,
            [Variable("v", 0), DataSection("?.data.x", 8, (DataSectionEntry(1, 4, 4),))],
            [Int("v", 1, 8), Struct("__data_x", 8, (Member("v", 1, 32),))],
        ),
        (
            BtfFeature.QUESTION_MARK_DATASEC,
            [DataSection("?.data", 0), DataSection(".data", 0)],
            [DataSection("_.data", 0), DataSection(".data", 0)],
        ),
        (BtfFeature.DECL_TAG, [DeclTag("tag", 0, 1)], [Int("tag", 1, 8)]),
        (BtfFeature.TYPE_TAG, [TypeTag("user", 0)], [Const(0)]),
        (BtfFeature.FLOAT, [Float("double", 8)], [Struct("", 8)]),
        (
            BtfFeature.FUNC,
            [FunctionPrototype(0, (Parameter("a", 1), Parameter("b", 2))), Function("f", 1)],
            [Enum("", 4, enumerators=(Enumerator("a", 1), Enumerator("b", 2))), Typedef("f", 1)],
        ),
        (
            BtfFeature.FUNC_GLOBAL,
            [FunctionPrototype(0), Function("f", 1, Linkage.GLOBAL)],
            [FunctionPrototype(0), Function("f", 1, Linkage.STATIC)],
        ),
        (
            BtfFeature.ENUM64,
            [Enum("e", 4, signed=True, enumerators=(Enumerator("a", -1),))],
            [Enum("e", 4, enumerators=(Enumerator("a", 0xFFFFFFFF),))],
        ),
        (
            BtfFeature.ENUM64,
            [Enum64("e", 8, enumerators=(Enumerator("a", 1 << 40),)), Enum64("f", 8)],
            [
                Union("e", 8, (Member("a", 3, 0),)),
                Union("f", 8),
                Int("enum64_placeholder", 1, 8),
            ],
        ),
    ],
)
def test_each_rewrite(missing, types, rewritten):
    assert sanitized(*types, missing={missing}) == rewritten
    others = set(BtfFeature) - {missing}
    if missing in (BtfFeature.DATASEC, BtfFeature.FUNC):
        others -= {BtfFeature.QUESTION_MARK_DATASEC, BtfFeature.FUNC_GLOBAL}
    if missing in (BtfFeature.QUESTION_MARK_DATASEC, BtfFeature.FUNC_GLOBAL):
        others -= {BtfFeature.DATASEC, BtfFeature.FUNC}
    assert sanitized(*types, missing=others) == types


def test_a_kernel_that_lacks_nothing_gets_the_bytes_as_they_are():
    data = encode(*EVERY_KIND)
    assert sanitize(Btf.from_bytes(data), ()) == data


@given(graphs(), byteorders, features)
def test_what_is_missing_is_gone_and_the_rest_stays(types, byteorder, missing):
    source = Btf.from_bytes(encode(*types, byteorder=byteorder))
    result = Btf.from_bytes(sanitize(source, missing))
    assert result.byteorder == byteorder
    assert result.strings.raw().startswith(source.strings.raw())
    absent = set().union(*(ABSENT_KINDS.get(feature, ()) for feature in missing))
    for type_id in range(1, result.end_id):
        assert result.kind(type_id) not in absent
    for type_id, type_ in enumerate(types, 1):
        if not missing:
            assert result.type(type_id) == type_
        if result.kind(type_id) == source.kind(type_id):
            assert result.name(type_id).lstrip("_?") == source.name(type_id).lstrip("_?")


@given(graphs(), features)
def test_what_was_rewritten_needs_no_more_rewriting(types, missing):
    once = sanitize(Btf.from_bytes(encode(*types)), missing)
    assert sanitize(Btf.from_bytes(once), missing) == once


@given(graphs(), features)
def test_storage_keeps_its_size(types, missing):
    source = Btf.from_bytes(encode(*types))
    result = Btf.from_bytes(sanitize(source, missing))
    for type_id, type_ in enumerate(types, 1):
        if isinstance(type_, Struct | Union | Enum | Enum64 | Float | DataSection | Int):
            assert result.size_of(type_id) == source.size_of(type_id)
