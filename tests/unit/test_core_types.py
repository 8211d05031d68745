"""When a type of the target exists for a program, and when it matches the program's declaration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bpfstream.abi.btf import CoreRelocationKind as Kind
from bpfstream.btf.types import (
    Array,
    Const,
    Enum64,
    Enumerator,
    Forward,
    FunctionPrototype,
    Int,
    Member,
    Parameter,
    Pointer,
    Struct,
    Typedef,
    Union,
)
from bpfstream.errors import LinkingError
from bpfstream.linker import Target, link
from tests.support.linking import EXIT, INT, U32, U64, Types, core, move, object_of, program

Maker = Callable[[Types], int]


def asked(kind: Kind, ours: Maker, theirs: Maker) -> bool:
    """The answer for a typedef of the one type on either side: typedefs are found by name."""
    local, target = Types(), Types()
    root = local.add(Typedef("root", ours(local)))
    target.add(Typedef("root", theirs(target)))
    spec = object_of(program(move(1) + EXIT), btf=local.btf(), relocations=[core(root, "0", kind)])
    return bool(link(spec, Target(btf=target.btf())).programs["probe"].code.immediate(0))


def prototype(*parameters: Maker, returns: Maker = lambda types: 0) -> Maker:
    return lambda types: types.add(
        FunctionPrototype(returns(types), tuple(Parameter("p", each(types)) for each in parameters))
    )


def struct(name: str, /, **members: Maker) -> Maker:
    return lambda types: types.struct(
        name, *((each, make(types), 8 * i) for i, (each, make) in enumerate(members.items()))
    )


def pointer(to: Maker) -> Maker:
    return lambda types: types.add(Pointer(to(types)))


def array(length: int, of: Maker) -> Maker:
    return lambda types: types.add(Array(of(types), types.add(U32), length))


def forward(name: str, is_union: bool = False) -> Maker:
    return lambda types: types.add(Forward(name, is_union))


def integer(types: Types) -> int:
    return types.add(INT)


def unsigned(types: Types) -> int:
    return types.add(U32)


def wide_integer(types: Types) -> int:
    return types.add(U64)


def union(types: Types) -> int:
    return types.add(Union("s", 8, (Member("a", types.add(INT), 0),)))


def enum(*names: str, name: str = "e") -> Maker:
    return lambda types: types.enum(name, **dict.fromkeys(names, 1))


def wide_enum(*names: str, size: int = 8) -> Maker:
    return lambda types: types.add(
        Enum64("e", size, enumerators=tuple(Enumerator(each, 1) for each in names))
    )


SAME_KIND = [
    ("integers of any size", integer, wide_integer),
    ("structs, whatever their members", struct("s", a=integer), struct("t", b=wide_integer)),
    ("enums of either width", enum("A"), wide_enum("B")),
    ("arrays of any length", array(3, integer), array(4, wide_integer)),
    ("pointers to the same kind", pointer(struct("s")), pointer(struct("t"))),
    ("forwards", forward("s"), forward("s", is_union=True)),
    ("prototypes", prototype(integer, returns=integer), prototype(unsigned, returns=unsigned)),
    ("void", lambda types: 0, lambda types: 0),
    ("qualified types", lambda types: types.add(Const(integer(types))), integer),
]
OTHER_KIND = [
    ("struct and union", struct("s"), union),
    ("struct and forward", struct("s"), forward("s")),
    ("pointers to other kinds", pointer(integer), pointer(struct("s"))),
    ("numbers of parameters", prototype(integer), prototype(integer, integer)),
    ("kinds of parameters", prototype(integer), prototype(pointer(integer))),
    ("returned kinds", prototype(returns=integer), prototype()),
    ("old bitfields", integer, lambda types: types.add(Int("int", 4, 3, offset=2))),
]


@pytest.mark.parametrize(
    ("ours", "theirs"), [c[1:] for c in SAME_KIND], ids=[c[0] for c in SAME_KIND]
)
def test_a_type_of_the_same_kind_exists(ours, theirs):
    assert asked(Kind.TYPE_EXISTS, ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"), [c[1:] for c in OTHER_KIND], ids=[c[0] for c in OTHER_KIND]
)
def test_a_type_of_another_kind_does_not(ours, theirs):
    assert not asked(Kind.TYPE_EXISTS, ours, theirs)
    assert not asked(Kind.TYPE_MATCHES, ours, theirs)


MATCHING = [
    ("more members", struct("s", a=integer), struct("s", b=integer, a=integer)),
    ("flavours at every level", struct("s___x", a=struct("t___y")), struct("s", a=struct("t"))),
    ("void", lambda types: 0, lambda types: 0),
    ("integers", integer, integer),
    ("arrays of one length", array(3, integer), array(3, integer)),
    ("prototypes", prototype(integer, returns=integer), prototype(integer, returns=integer)),
    ("more enumerators", enum("A___x"), enum("B", "A")),
    ("an enum of 64 bits of the same size", enum("A"), wide_enum("A", size=4)),
    ("a pointer to a struct, members aside",
     pointer(struct("s", a=integer)), pointer(struct("s", b=integer))),
    ("a pointer to what the target only declares", pointer(struct("s")), pointer(forward("s"))),
    ("a pointer to what the program only declares", pointer(forward("s")), pointer(struct("s"))),
    ("a pointer to a union only declared", pointer(forward("s", is_union=True)), pointer(union)),
    ("forwards", forward("s"), forward("s")),
]  # fmt: skip
DIFFERING = [
    ("a missing member", struct("s", a=integer), struct("s", b=integer)),
    ("more members than there are", struct("s", a=integer, b=integer), struct("s", a=integer)),
    ("a member of another type", struct("s", a=integer), struct("s", a=wide_integer)),
    ("a member inside an anonymous struct",
     struct("s", a=integer), struct("s", **{"": struct("", a=integer)})),
    ("names", struct("s"), struct("t")),
    ("a name missing in the target", struct("s"), struct("")),
    ("sizes", integer, wide_integer),
    ("signs", integer, unsigned),
    ("lengths of arrays", array(3, integer), array(4, integer)),
    ("a missing enumerator", enum("A", "B"), enum("A", "C")),
    ("sizes of enums", enum("A"), wide_enum("A")),
    ("pointers to other structs", pointer(struct("s")), pointer(struct("t"))),
    ("a pointer to a union declared as a struct", pointer(forward("s")), pointer(union)),
    ("forwards of struct and union", forward("s"), forward("s", is_union=True)),
    ("a struct that is only declared", struct("s"), forward("s")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs"), [c[1:] for c in MATCHING], ids=[c[0] for c in MATCHING]
)
def test_types_that_match(ours, theirs):
    assert asked(Kind.TYPE_MATCHES, ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"), [c[1:] for c in DIFFERING], ids=[c[0] for c in DIFFERING]
)
def test_types_that_do_not_match(ours, theirs):
    assert not asked(Kind.TYPE_MATCHES, ours, theirs)


def nested(depth: int) -> Maker:
    def make(types: Types) -> int:
        inner = types.struct("s0", ("a", types.add(INT), 0))
        for level in range(1, depth):
            inner = types.struct(f"s{level}", ("a", inner, 0), ("b", inner, 8))
        return inner

    return make


def test_types_that_nest_too_deep_are_an_error():
    assert asked(Kind.TYPE_MATCHES, nested(10), nested(10))
    with pytest.raises(LinkingError, match="nests deeper"):
        asked(Kind.TYPE_MATCHES, nested(40), nested(40))


def test_types_are_not_compared_twice():
    """2**30 ways from the outermost struct to the innermost."""
    assert asked(Kind.TYPE_MATCHES, nested(31), nested(31))


def test_structs_that_hold_pointers_to_themselves_match():
    def linked_list(types: Types) -> int:
        builder = types  # the struct's id is the pointer's plus one
        to_itself = builder.add(Pointer(2))
        return builder.add(Struct("node", 8, (Member("next", to_itself, 0),)))

    assert asked(Kind.TYPE_MATCHES, linked_list, linked_list)
