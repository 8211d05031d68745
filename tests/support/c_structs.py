"""BTF of C structs, written shortly: for tests of what reads their values."""

from __future__ import annotations

from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    Array,
    Enum,
    Enumerator,
    Float,
    Int,
    Member,
    Pointer,
    Struct,
    Type,
    Typedef,
    Union,
)

INTEGERS = {
    "char": Int("char", 1, 8, signed=True),  # as clang describes it
    "u8": Int("unsigned char", 1, 8),
    "s8": Int("signed char", 1, 8, signed=True),
    "u16": Int("unsigned short", 2, 16),
    "s16": Int("short", 2, 16, signed=True),
    "u32": Int("unsigned int", 4, 32),
    "s32": Int("int", 4, 32, signed=True),
    "u64": Int("unsigned long long", 8, 64),
    "s64": Int("long long", 8, 64, signed=True),
    "u128": Int("unsigned __int128", 16, 128),
    "s128": Int("__int128", 16, 128, signed=True),
    "bool": Int("_Bool", 1, 8, boolean=True),
}


class CTypes:
    """Collects types; every method gives the id of one.

    Types named twice are made twice, which BTF allows.
    """

    def __init__(self) -> None:
        self._builder = BtfBuilder()

    def add(self, type_: Type) -> int:
        return self._builder.add(type_)

    def named(self, name: str) -> int:
        """An integer, ``"float"``, ``"double"``, or ``"void *"``."""
        if name == "void *":
            return self.add(Pointer(0))
        if name in ("float", "double"):
            return self.add(Float(name, {"float": 4, "double": 8}[name]))
        return self.add(INTEGERS[name])

    def array(self, element: int, *lengths: int) -> int:
        """An array; lengths from the outermost dimension on."""
        for length in reversed(lengths):
            element = self.add(Array(element, element, length))
        return element

    def typedef(self, name: str, target: int) -> int:
        return self.add(Typedef(name, target))

    def enum(self, name: str, /, *, size: int = 4, signed: bool = False, **values: int) -> int:
        enumerators = tuple(Enumerator(each, value) for each, value in values.items())
        return self.add(Enum(name, size, signed, enumerators))

    def struct(self, name: str, size: int, *members: tuple[str | int, ...]) -> int:
        """A struct of ``(name, type, byte)``; a bitfield says ``(name, type, bit, width)``."""
        return self.add(Struct(name, size, _members(members)))

    def union(self, name: str, size: int, *members: tuple[str | int, ...]) -> int:
        return self.add(Union(name, size, _members(members)))

    def btf(self, byteorder: str = "little") -> Btf:
        return Btf.from_bytes(self._builder.to_bytes(byteorder))


def _members(members: tuple[tuple[str | int, ...], ...]) -> tuple[Member, ...]:
    return tuple(
        Member(member[0], member[1], 8 * member[2])
        if len(member) == 3
        else Member(member[0], member[1], member[2], member[3])
        for member in members
    )
