"""When a type of the target may stand for a type of the object: three rules, of rising strictness.

* `fields_are_compatible`: may a field of the one type be read as the other?
* `TypeComparison.compatible`: is it the same kind of type, members aside?
* `TypeComparison.matches`: does the target's type have everything that the object's declares?

The rules are libbpf's to the letter (relo_core.c), since compilers and programs rely on them.
"""

from __future__ import annotations

from bpfstream.btf import Btf, essential_name
from bpfstream.btf.types import (
    Array,
    Enum,
    Enum64,
    Float,
    Forward,
    FunctionPrototype,
    Int,
    Pointer,
    Struct,
    Type,
    Union,
    Void,
)
from bpfstream.errors import LinkingError

_MAX_DEPTH = 32
"""How deep types may nest, and how many pointers and arrays may follow one another."""

_MAX_COMPARISONS = 500_000
"""Pairs of types that are compared for one object: ends the comparison of types that were built to
be compared forever. Large objects need some thousand."""


def _name_of(kind: Type) -> str:
    return getattr(kind, "name", "")


def _same_kind(local: Type, target: Type) -> bool:
    """The same kind of type, where both widths of enum are one kind."""
    if isinstance(local, Enum | Enum64):
        return isinstance(target, Enum | Enum64)
    return type(local) is type(target)


def _too_deep(btf: Btf, type_id: int) -> LinkingError:
    return LinkingError(f"{btf.describe(type_id)} nests deeper than {_MAX_DEPTH} levels")


def fields_are_compatible(local_btf: Btf, local_id: int, btf: Btf, target_id: int) -> bool:
    """Whether a member of type `target_id` may stand for one of type `local_id`.

    Integers of any size and sign stand for one another, as do all structs and unions, and pointers
    whatever they point to; enums only when they bear the same name, or none.
    """
    for _ in range(_MAX_DEPTH):
        local = local_btf.type(local_btf.resolve(local_id))
        target = btf.type(btf.resolve(target_id))
        if isinstance(local, Struct | Union) and isinstance(target, Struct | Union):
            return True
        if not _same_kind(local, target):
            return False
        match local, target:
            case (Pointer(), _) | (Float(), _):
                return True
            case Int(), Int():
                # Bit offsets inside an integer are how compilers once described bitfields.
                return local.offset == 0 and target.offset == 0
            case ((Enum() | Enum64() | Forward()), (Enum() | Enum64() | Forward())):
                ours, theirs = essential_name(local.name), essential_name(target.name)
                return not ours or not theirs or ours == theirs
            case Array(), Array():
                local_id, target_id = local.element, target.element
            case _:
                return False
    raise _too_deep(local_btf, local_id)


def _names_match(local: str, target: str) -> bool:
    if not target:
        return not local
    return essential_name(local) == essential_name(target)


class TypeComparison:
    """Compares types of one object with types of the target."""

    def __init__(self, local_btf: Btf, btf: Btf) -> None:
        self._local_btf = local_btf
        self._btf = btf
        self._comparisons = 0
        self._known_matches: dict[tuple[int, int, bool], bool] = {}

    def compatible(self, local_id: int, target_id: int) -> bool:
        """Whether a type of the target is of the same kind as one of the object, members aside.

        Names are for the caller to compare. Function prototypes are compared parameter by
        parameter.

        Raises:
            LinkingError: The types nest too deep to be compared.
        """
        if not _same_kind(self._local_btf.type(local_id), self._btf.type(target_id)):
            return False
        return self._compatible(local_id, target_id, _MAX_DEPTH)

    def matches(self, local_id: int, target_id: int) -> bool:
        """Whether the target's type has every member and enumerator of the object's type.

        Behind a pointer the kind and name of a struct suffice.

        Raises:
            LinkingError: The types nest too deep to be compared.
        """
        return self._matches(local_id, target_id, behind_pointer=False, depth=_MAX_DEPTH)

    def _enter(self, local_id: int, depth: int) -> None:
        self._comparisons += 1
        if depth <= 0 or self._comparisons > _MAX_COMPARISONS:
            raise _too_deep(self._local_btf, local_id)

    def _compatible(self, local_id: int, target_id: int, depth: int) -> bool:
        self._enter(local_id, depth)
        for _ in range(_MAX_DEPTH):
            local = self._local_btf.type(self._local_btf.resolve(local_id))
            target = self._btf.type(self._btf.resolve(target_id))
            if not _same_kind(local, target):
                return False
            match local, target:
                case ((Void() | Struct() | Union() | Enum() | Enum64() | Forward()), _):
                    return True
                case Int(), Int():
                    return local.offset == 0 and target.offset == 0
                case Pointer(), Pointer():
                    local_id, target_id = local.type, target.type
                case Array(), Array():
                    local_id, target_id = local.element, target.element
                case FunctionPrototype(), FunctionPrototype():
                    if len(local.parameters) != len(target.parameters):
                        return False
                    for ours, theirs in zip(local.parameters, target.parameters, strict=True):
                        if not self._compatible(ours.type, theirs.type, depth - 1):
                            return False
                    local_id, target_id = local.return_type, target.return_type
                case _:
                    return False
        raise _too_deep(self._local_btf, local_id)

    def _matches(self, local_id: int, target_id: int, *, behind_pointer: bool, depth: int) -> bool:
        key = (local_id, target_id, behind_pointer)
        if key not in self._known_matches:
            self._enter(local_id, depth)
            self._known_matches[key] = self._match(
                local_id, target_id, behind_pointer=behind_pointer, depth=depth
            )
        return self._known_matches[key]

    def _match(self, local_id: int, target_id: int, *, behind_pointer: bool, depth: int) -> bool:
        for _ in range(_MAX_DEPTH):
            local = self._local_btf.type(self._local_btf.resolve(local_id))
            target = self._btf.type(self._btf.resolve(target_id))
            if not _names_match(_name_of(local), _name_of(target)):
                return False
            match local, target:
                case Pointer(), Pointer():
                    behind_pointer = True
                    local_id, target_id = local.type, target.type
                case Array(), Array():
                    if local.length != target.length:
                        return False
                    local_id, target_id = local.element, target.element
                case FunctionPrototype(), FunctionPrototype():
                    if len(local.parameters) != len(target.parameters):
                        return False
                    for ours, theirs in zip(local.parameters, target.parameters, strict=True):
                        if not self._matches(
                            ours.type, theirs.type, behind_pointer=behind_pointer, depth=depth - 1
                        ):
                            return False
                    local_id, target_id = local.return_type, target.return_type
                case ((Struct() | Union()), (Struct() | Union())) if not behind_pointer:
                    return type(local) is type(target) and self._members_match(local, target, depth)
                case _:
                    return _leaves_match(local, target, behind_pointer=behind_pointer)
        raise _too_deep(self._local_btf, local_id)

    def _members_match(self, local: Struct | Union, target: Struct | Union, depth: int) -> bool:
        if len(local.members) > len(target.members):
            return False
        return all(
            any(
                _names_match(ours.name, theirs.name)
                and self._matches(ours.type, theirs.type, behind_pointer=False, depth=depth - 1)
                for theirs in target.members
            )
            for ours in local.members
        )


def _leaves_match(local: Type, target: Type, *, behind_pointer: bool) -> bool:
    """Whether types match of which nothing further is compared."""
    match local, target:
        case Void(), Void():
            return True
        case Int(), Int():
            return local.size == target.size and local.signed == target.signed
        case ((Enum() | Enum64()), (Enum() | Enum64())):
            return _enumerators_match(local, target)
        case Forward(), Forward():
            return local.is_union == target.is_union
        case Forward(), (Struct() | Union()):
            return behind_pointer and local.is_union == isinstance(target, Union)
        case ((Struct() | Union()), Forward()):
            return behind_pointer and target.is_union == isinstance(local, Union)
        case ((Struct() | Union()), (Struct() | Union())):
            return type(local) is type(target)
        case _:
            return False


def _enumerators_match(local: Enum | Enum64, target: Enum | Enum64) -> bool:
    if local.size != target.size or len(local.enumerators) > len(target.enumerators):
        return False
    names = {essential_name(enumerator.name) for enumerator in target.enumerators}
    return all(essential_name(enumerator.name) in names for enumerator in local.enumerators)
