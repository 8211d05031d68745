"""Where the parts of a struct lie in memory: what a decoder has to know, checked once.

A layout has one field for each named member. Members of anonymous structs and unions count as
members of what they are in, as in C. A member that is a struct itself stays one field, and so does
an array: `layout_of` its element goes on from there. `leaves_of` goes into nested structs itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Literal

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.btf.types import Array, Enum, Enum64, Int, Member, Struct, Union
from bpfstream.errors import BtfError

if TYPE_CHECKING:
    from bpfstream.btf.reader import Btf

MAXIMUM_FIELDS = 1 << 16
"""Members looked at in one layout; the largest struct of a kernel has some hundreds."""

MAXIMUM_NESTING = 64
"""Structs within structs, and dimensions of an array."""


class Bitfield(msgspec.Struct, frozen=True, gc=False):
    """How a bitfield comes out of the bytes that hold it.

    Attributes:
        offset: Bytes from the start of the struct to the first that holds bits of it.
        size: Bytes that hold bits of it.
        shift: Bits below it in the number that those bytes are.
        bits: Its width.
        signed: Its highest bit is a sign.
        byteorder: Of those bytes.
    """

    offset: int
    size: int
    shift: int
    bits: int
    signed: bool
    byteorder: Literal["little", "big"]

    def extract(self, buffer: memoryview | bytes | bytearray, start: int = 0) -> int:
        """The value in the struct that begins at `buffer[start]`."""
        first = start + self.offset
        value = int.from_bytes(buffer[first : first + self.size], self.byteorder) >> self.shift
        value &= (1 << self.bits) - 1
        if self.signed and value >> (self.bits - 1):
            value -= 1 << self.bits
        return value

    def insert(self, buffer: memoryview | bytearray, value: int, start: int = 0) -> None:
        """Store a value, cut to the width, in the struct that begins at `buffer[start]`."""
        first = start + self.offset
        mask = ((1 << self.bits) - 1) << self.shift
        whole = int.from_bytes(buffer[first : first + self.size], self.byteorder) & ~mask
        whole |= value << self.shift & mask
        buffer[first : first + self.size] = whole.to_bytes(self.size, self.byteorder)


class Field(msgspec.Struct, frozen=True, gc=False):
    """A named part of a struct.

    Attributes:
        path: Names from the outermost struct: ``("name",)``; longer only for leaves.
        type_id: The member's type as declared.
        element_id: What it is made of: the type below typedefs, qualifiers and array dimensions.
        offset: Bytes from the start of the outermost struct.
        size: Bytes of the whole; 0 for a flexible array.
        dimensions: Array lengths, outermost first; empty for what is no array. A flexible array
            has length 0 in front.
        bitfield: How to take it out, for a bitfield.
    """

    path: tuple[str, ...]
    type_id: int
    element_id: int
    offset: int
    size: int
    dimensions: tuple[int, ...] = ()
    bitfield: Bitfield | None = None

    @property
    def name(self) -> str:
        """The member's own name."""
        return self.path[-1]

    @property
    def is_flexible(self) -> bool:
        """An array with no length of its own: it goes on to the end of the record."""
        return bool(self.dimensions) and self.dimensions[0] == 0

    @property
    def length(self) -> int:
        """Elements in all, over all dimensions; 1 for what is no array."""
        return prod(self.dimensions)


class Layout(msgspec.Struct, frozen=True, gc=False):
    """A struct or union taken apart.

    Attributes:
        type_id: The struct, below typedefs and qualifiers.
        name: Its name, empty for an anonymous one.
        size: Bytes, padding included and flexible arrays not.
        is_union: All fields begin at the start. Fields of an anonymous union inside of a struct
            overlap too: their offsets show it.
        fields: In the order of declaration.
    """

    type_id: int
    name: str
    size: int
    is_union: bool
    fields: tuple[Field, ...]


def layout_of(btf: Btf, type_id: int) -> Layout:
    """Take a struct or union apart, one level deep.

    Args:
        btf: Where the type is.
        type_id: A struct or union, or typedefs and qualifiers of one.

    Raises:
        BtfError: It is no struct or union, or a member does not fit: it ends outside, has no size,
            begins inside a byte without being a bitfield, or nests without end.
    """
    type_id = btf.resolve(type_id)
    composite = _composite(btf, type_id)
    return Layout(
        type_id,
        composite.name,
        composite.size,
        isinstance(composite, Union),
        tuple(_Walk(btf, type_id, into_structs=False).fields()),
    )


def leaves_of(btf: Btf, type_id: int) -> tuple[Field, ...]:
    """The scalars, and arrays, that a struct or union is made of, nested ones included.

    A leaf's path has the names of the structs that it is nested in. An array is one leaf, whatever
    it is an array of.

    Raises:
        BtfError: As for `layout_of`.
    """
    return tuple(_Walk(btf, btf.resolve(type_id), into_structs=True).fields())


def _composite(btf: Btf, type_id: int) -> Struct | Union:
    composite = btf.type(type_id)
    if isinstance(composite, Struct | Union):
        return composite
    raise BtfError(f"{btf.describe(type_id)} is no struct or union")


class _Walk:
    """A walk over the members of one outermost struct, bounded in steps and depth."""

    def __init__(self, btf: Btf, type_id: int, *, into_structs: bool) -> None:
        self.btf = btf
        self.type_id = type_id
        self.into_structs = into_structs
        self.size = _composite(btf, type_id).size
        self.steps = 0

    def error(self, member: Member, problem: str) -> BtfError:
        where = self.btf.describe(self.type_id)
        return BtfError(
            f"{where}: member {member.name or '(anonymous)'!r} {problem}",
            offset=self.btf.offset_of(self.type_id),
        )

    def fields(self) -> Iterator[Field]:
        return self.composite(self.type_id, 0, (), MAXIMUM_NESTING)

    def composite(
        self, type_id: int, base: int, path: tuple[str, ...], depth: int
    ) -> Iterator[Field]:
        """Fields of the struct `type_id` that begins `base` bits into the outermost one."""
        for member in _composite(self.btf, type_id).members:
            self.steps += 1
            if depth == 0 or self.steps > MAXIMUM_FIELDS:
                raise self.error(member, "nests too deep, or there are too many members")
            inner = self.btf.resolve(member.type)
            is_composite = self.btf.kind(inner) in (Kind.STRUCT, Kind.UNION)
            if is_composite and (self.into_structs or not member.name):
                begin = base + member.bit_offset
                if begin % 8 or begin // 8 + self.btf.size_of(inner) > self.size:
                    raise self.error(member, f"at bit {begin} ends outside")
                names = (*path, member.name) if member.name else path
                yield from self.composite(inner, begin, names, depth - 1)
            elif member.name:
                yield self.field(member, inner, base + member.bit_offset, path)

    def field(self, member: Member, inner: int, begin: int, path: tuple[str, ...]) -> Field:
        dimensions, element = self.array(member, inner)
        path = (*path, member.name)
        bits, first = _old_bitfield(self.btf, element) if not dimensions else (0, 0)
        bits, begin = (member.bit_size, begin) if member.bit_size else (bits, begin + first)
        if bits:
            bitfield = self.bitfield(member, element, begin, bits)
            return Field(path, member.type, element, bitfield.offset, bitfield.size, (), bitfield)
        if begin % 8:
            raise self.error(member, f"begins at bit {begin}, inside of a byte")
        offset, size = begin // 8, self.btf.size_of(member.type)
        if offset + size > self.size:
            raise self.error(member, f"at byte {offset} with {size} bytes ends outside")
        return Field(path, member.type, element, offset, size, dimensions)

    def array(self, member: Member, type_id: int) -> tuple[tuple[int, ...], int]:
        """The dimensions of an array, and the type of its elements."""
        dimensions: list[int] = []
        while isinstance(array := self.btf.type(type_id), Array):
            dimensions.append(array.length)
            if len(dimensions) > MAXIMUM_NESTING:
                raise self.error(member, "has too many dimensions")
            type_id = self.btf.resolve(array.element)
        return tuple(dimensions), type_id

    def bitfield(self, member: Member, element: int, begin: int, bits: int) -> Bitfield:
        # BTF counts bits in memory order: from a byte's lowest bit on in little endian, from its
        # highest on in big endian.
        element_type = self.btf.type(element)
        if not isinstance(element_type, Int | Enum | Enum64):
            raise self.error(member, f"is a bitfield of {self.btf.describe(element)}")
        offset, size = begin // 8, (begin + bits + 7) // 8 - begin // 8
        if bits > 8 * element_type.size or offset + size > self.size:
            raise self.error(member, f"of {bits} bits at bit {begin} ends outside")
        below = begin % 8
        if self.btf.byteorder == "big":
            below = 8 * size - bits - below
        return Bitfield(offset, size, below, bits, element_type.signed, self.btf.byteorder)


def _old_bitfield(btf: Btf, type_id: int) -> tuple[int, int]:
    """Width and first bit of a bitfield as compilers before 2019 wrote it: in its INT type."""
    integer = btf.type(type_id)
    if isinstance(integer, Int) and (integer.offset or integer.bits != 8 * integer.size):
        return integer.bits, integer.offset
    return 0, 0
