"""BTF as C: a header with all its types, or some, that compiles and lays them out the same.

A type is written after those that it contains. What is only pointed to is declared first, where it
is a struct or union, and defined wherever its turn comes. Anonymous structs, unions and enums are
written where they are used. Names that BTF has twice, for types that differ, get a suffix from the
second on: ``name___2``, which CO-RE takes for a flavour of the same type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING

from bpfstream.abi.btf import Kind
from bpfstream.btf.c_layout import placed_members
from bpfstream.btf.types import (
    Array,
    Const,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Forward,
    FunctionPrototype,
    Int,
    Pointer,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Variable,
    Void,
    Volatile,
)
from bpfstream.errors import BtfError

if TYPE_CHECKING:
    from bpfstream.btf.reader import Btf

_DEFINED = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.TYPEDEF)

_BUILTIN_TYPEDEF = "__builtin_va_list"
"""A typedef that compilers know, of a struct that they do not name."""

_NESTING = 256
"""Types within types, and typedefs of typedefs, before that is taken for a circle."""


def c_header(btf: Btf, type_ids: Iterable[int] | None = None) -> str:
    """The types as C text.

    Args:
        btf: Where they are. Types of its base that are needed are written too.
        type_ids: The types that are wanted; whatever they need comes with them. By default all
            named structs, unions, enums and typedefs, and anonymous enums.

    Raises:
        BtfError: A type does not exist, contradicts itself or contains itself.
    """
    writer = _Writer(btf)
    for type_id in type_ids if type_ids is not None else _all(btf):
        writer.need(type_id, complete=True)
    return "\n".join([_HEAD, *writer.chunks, _TAIL])


_HEAD = """\
#ifndef __BPFSTREAM_TYPES_H__
#define __BPFSTREAM_TYPES_H__

#if defined(__bpf__) && !defined(BPF_NO_PRESERVE_ACCESS_INDEX)
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif
"""

_TAIL = """
#if defined(__bpf__) && !defined(BPF_NO_PRESERVE_ACCESS_INDEX)
#pragma clang attribute pop
#endif

#endif"""


def _all(btf: Btf) -> Iterator[int]:
    first = 1 if btf.base is None else btf.first_id
    for type_id in range(first, btf.end_id):
        kind = btf.kind(type_id)
        if kind in _DEFINED and (btf.name(type_id) or kind in (Kind.ENUM, Kind.ENUM64)):
            yield type_id


class _Writer:
    """Writes definitions in an order in which a compiler takes them."""

    def __init__(self, btf: Btf) -> None:
        self.chunks: list[str] = []
        self._btf = btf
        self._names: dict[int, str] = {}
        self._tags: dict[str, int] = {}
        self._ordinary: dict[str, int] = {}
        self._declared: set[str] = set()
        self._defined: set[int] = set()
        self._open: set[int] = set()
        self._paddings = count()

    # Order

    def need(self, type_id: int, *, complete: bool, depth: int = _NESTING) -> None:
        """Write what has to stand before a use of the type.

        Args:
            type_id: The type.
            complete: Its size matters; behind a pointer it does not.
            depth: Types that may be nested further.
        """
        if depth == 0:
            raise self._circle(type_id)
        below = depth - 1
        match self._btf.type(type_id):
            case Struct() | Union() as composite:
                if composite.name and not complete:
                    self._declare_tag(type_id)
                else:
                    self._define(type_id, below)
            case Enum() | Enum64():
                self._define(type_id, below)
            case Forward():
                self._declare_tag(type_id)
            case Typedef(type=target):
                self._define(type_id, below)
                if complete:
                    self.need(target, complete=True, depth=below)
            case Pointer(type=target):
                self.need(target, complete=False, depth=below)
            case Array(element=element):
                self.need(element, complete=True, depth=below)
            case FunctionPrototype(return_type=result, parameters=parameters):
                for inner in (result, *(parameter.type for parameter in parameters)):
                    self.need(inner, complete=False, depth=below)
            case (
                Const(type=target)
                | Volatile(type=target)
                | Restrict(type=target)
                | TypeTag(type=target)
                | Variable(type=target)
                | DeclTag(type=target)
            ):
                self.need(target, complete=complete, depth=below)

    def _define(self, type_id: int, depth: int) -> None:
        if type_id in self._defined:
            return
        if type_id in self._open:
            raise self._circle(type_id)
        self._open.add(type_id)
        type_ = self._btf.type(type_id)
        match type_:
            case Struct(members=members) | Union(members=members):
                for member in members:
                    self.need(member.type, complete=True, depth=depth)
                if type_.name:
                    self.chunks.append(f"{self._body(type_id, 0)};\n")
            case Typedef(name=name, type=target):
                self.need(target, complete=False, depth=depth)
                if name != _BUILTIN_TYPEDEF:
                    declared = self.declare(target, self._name(type_id, name, self._ordinary))
                    self.chunks.append(f"typedef {declared};\n")
            case Enum(name=name) | Enum64(name=name):
                if name or not self._is_used_inline(type_id):
                    self.chunks.append(f"{self._body(type_id, 0)};\n")
        self._open.discard(type_id)
        self._defined.add(type_id)

    def _is_used_inline(self, type_id: int) -> bool:
        """Whether an anonymous enum is being written as a part of something else."""
        return len(self._open) > 1 or (self._open - {type_id}) != set()

    def _declare_tag(self, type_id: int) -> None:
        tag = self._tag(type_id)
        if type_id not in self._defined and tag not in self._declared:
            self.chunks.append(f"{tag};\n")
        self._declared.add(tag)

    def _circle(self, type_id: int) -> BtfError:
        return BtfError(
            f"{self._btf.describe(type_id)} contains itself, or nests too deep",
            offset=self._btf.offset_of(type_id),
        )

    # Names

    def _name(self, type_id: int, name: str, taken: dict[str, int]) -> str:
        known = self._names.get(type_id)
        if known is None:
            known = self._names[type_id] = _unique(name, taken)
        return known

    def _tag(self, type_id: int) -> str:
        """``struct name``, or without a name only what it is."""
        type_ = self._btf.type(type_id)
        match type_:
            case Struct() | Union():
                word = "struct" if isinstance(type_, Struct) else "union"
            case Forward(is_union=is_union):
                # A declaration without a definition means whichever type bears the name.
                return f"{'union' if is_union else 'struct'} {type_.name}"
            case Enum() | Enum64():
                word = "enum"
            case _:
                raise BtfError(f"{self._btf.describe(type_id)} has no tag")
        return f"{word} {self._name(type_id, type_.name, self._tags)}" if type_.name else word

    # Text

    def declare(self, type_id: int, declarator: str, indent: int = 0) -> str:
        """`declarator` declared to be of the type: its name, stars and brackets so far."""
        match self._btf.type(type_id):
            case Void():
                return _join("void", declarator)
            case Int(name=name) | Float(name=name):
                return _join(name, declarator)
            case Typedef(name=name):
                return _join(self._names.get(type_id, name), declarator)
            case Struct(name=name) | Union(name=name) | Enum(name=name) | Enum64(name=name):
                text = self._tag(type_id) if name else self._body(type_id, indent)
                return _join(text, declarator)
            case Forward():
                return _join(self._tag(type_id), declarator)
            case Pointer(type=target):
                return self.declare(target, f"*{declarator}", indent)
            case Array(element=element, length=length):
                return self.declare(element, f"{_grouped(declarator)}[{length}]", indent)
            case Const(type=target):
                return self._qualify(target, "const", declarator, indent)
            case Volatile(type=target):
                return self._qualify(target, "volatile", declarator, indent)
            case Restrict(type=target):
                return self._qualify(target, "restrict", declarator, indent)
            case TypeTag(type=target):
                return self.declare(target, declarator, indent)
            case FunctionPrototype(return_type=result, parameters=parameters):
                arguments = ", ".join(
                    self.declare(each.type, each.name) if each.type or each.name else "..."
                    for each in parameters
                )
                return self.declare(
                    result, f"{_grouped(declarator)}({arguments or 'void'})", indent
                )
        raise BtfError(
            f"{self._btf.describe(type_id)} is no type of a value",
            offset=self._btf.offset_of(type_id),
        )

    def _qualify(self, target: int, qualifier: str, declarator: str, indent: int) -> str:
        """A qualifier stands before what it qualifies, but after the star of a pointer."""
        if self._is_pointer(target):
            return self.declare(target, _join(qualifier, declarator), indent)
        text = self.declare(target, declarator, indent)
        # of an array that is const, as are its elements
        return text if text.startswith(f"{qualifier} ") else f"{qualifier} {text}"

    def _is_pointer(self, type_id: int) -> bool:
        """Below qualifiers and tags; a typedef of a pointer is a name like any other."""
        for _ in range(_NESTING):
            match self._btf.type(type_id):
                case Const(type=target) | Volatile(type=target) | Restrict(type=target):
                    type_id = target
                case TypeTag(type=target):
                    type_id = target
                case type_:
                    return isinstance(type_, Pointer)
        raise self._circle(type_id)

    def _body(self, type_id: int, indent: int) -> str:
        """A struct, union or enum with what it has."""
        type_ = self._btf.type(type_id)
        attributes = ""
        if isinstance(type_, Enum | Enum64) and not type_.enumerators:
            return self._tag(type_id)  # declared and not defined, which C allows for pointers to it
        match type_:
            case Struct() | Union():
                members, packed = placed_members(self._btf, type_id, self._paddings)
                attributes = " __attribute__((packed))" if packed else ""
                lines = [
                    f"{each.padding}"
                    if each.member is None
                    else self.declare(each.member.type, each.member.name, indent + 1)
                    + (f" : {each.bits}" if each.bits else "")
                    for each in members
                ]
                ends = [f"{line};" for line in lines]
            case Enum() | Enum64():
                ends = [
                    f"{_unique(each.name, self._ordinary)} = {_constant(type_, each.value)},"
                    for each in type_.enumerators
                ]
                attributes = _mode(type_)
        tabs = "\t" * indent
        inside = "".join(f"{tabs}\t{line}\n" for line in ends)
        return f"{self._tag(type_id)} {{\n{inside}{tabs}}}{attributes}"


def _mode(type_: Enum | Enum64) -> str:
    """What gives an enum the size that it has."""
    modes = {1: "byte", 2: "HI", 8: "DI"}
    mode = modes.get(type_.size, "")
    return f" __attribute__((mode({mode})))" if mode else ""


def _constant(type_: Enum | Enum64, value: int) -> str:
    """An enumerator's value, of a type that has room for it."""
    if isinstance(type_, Enum64):
        if value == -(1 << 63):
            return f"{value + 1}LL - 1"
        return f"{value}LL" if type_.signed else f"{value}ULL"
    return f"{value}U" if value >= 1 << 31 else str(value)


def _unique(name: str, taken: dict[str, int]) -> str:
    times = taken[name] = taken.get(name, 0) + 1
    return name if times == 1 else f"{name}___{times}"


def _grouped(declarator: str) -> str:
    """Brackets bind tighter than a star: a pointer to an array or a function needs parentheses."""
    return f"({declarator})" if declarator.startswith("*") else declarator


def _join(name: str, declarator: str) -> str:
    separator = "" if not declarator or declarator.startswith("[") else " "
    return f"{name}{separator}{declarator}"
