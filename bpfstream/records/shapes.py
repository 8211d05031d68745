"""Shapes: how a C value is laid out in memory, and as which Python value it is read.

BTF and annotated classes are both turned into shapes; decoders and encoders are made from shapes
alone. `c_type` is the type in the words of C, for messages. Sizes and offsets are in bytes.
"""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec

from bpfstream.btf.layout import Bitfield

ByteOrder = Literal["little", "big"]


class Integer(msgspec.Struct, frozen=True):
    """An integer or a pointer, of any size up to 16; an `int`."""

    c_type: str
    size: int
    signed: bool = False


class Boolean(msgspec.Struct, frozen=True):
    """Whether an integer is not zero; a `bool`."""

    c_type: str
    size: int = 1


class Floating(msgspec.Struct, frozen=True):
    """An IEEE number of 2, 4 or 8 bytes; a `float`."""

    c_type: str
    size: int


class Enumeration(msgspec.Struct, frozen=True):
    """An integer whose values have names: a member of `enum`, or an `int` that has no name."""

    c_type: str
    size: int
    signed: bool
    enum: type[enum.Enum]


class Text(msgspec.Struct, frozen=True):
    r"""Characters up to the first NUL, or to the end; a `str`.

    What is not UTF-8 becomes ``\xNN``, so that any text can be printed and written as JSON; `bytes`
    keep what was there.
    """

    c_type: str
    size: int


class Opaque(msgspec.Struct, frozen=True):
    """Memory as it is; `bytes`."""

    c_type: str
    size: int


class Sequence(msgspec.Struct, frozen=True):
    """An array; a `tuple`."""

    c_type: str
    element: Shape
    length: int

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return self.length * self.element.size


class Field(msgspec.Struct, frozen=True):
    """A field of a record.

    Attributes:
        name: In Python, and unique in the record.
        c_name: In C.
        offset: Bytes from the record's start; of a bitfield, to its first byte.
        shape: What is there.
        bits: For a bitfield, how to take it out.
        flexible: An array whose length is what the record has left.
    """

    name: str
    c_name: str
    offset: int
    shape: Shape
    bits: Bitfield | None = None
    flexible: bool = False


class Record(msgspec.Struct, frozen=True):
    """A struct, or a union, whose fields overlap; an instance of `struct`.

    Attributes:
        fields: In the order of the arguments of `struct`.
        struct: The class of the Python value.
        is_union: All fields are read from, and written to, the same bytes.
        least: Bytes that a record has at least. It may end within an array of bytes, or a flexible
            array, that is the last field: programs send strings only as far as they are filled.
    """

    c_type: str
    size: int
    fields: tuple[Field, ...]
    struct: type[msgspec.Struct]
    is_union: bool = False
    least: int = 0


Shape = Integer | Boolean | Floating | Enumeration | Text | Opaque | Sequence | Record


def python_type(shape: Shape) -> Any:
    """The annotation of a field of this shape."""
    match shape:
        case Integer():
            return int
        case Boolean():
            return bool
        case Floating():
            return float
        case Enumeration():
            return shape.enum | int
        case Text():
            return str
        case Opaque():
            return bytes
        case Sequence():
            return tuple.__class_getitem__((python_type(shape.element), ...))
        case Record():
            return shape.struct


def least_size(fields: tuple[Field, ...], size: int) -> int:
    """Bytes that a record of a struct has at least, see `Record.least`."""
    if not fields:
        return size
    start = max(field.offset for field in fields)
    last = [field for field in fields if field.offset == start]
    before = [field for field in fields if field.offset < start]
    if all(_may_be_cut(field) for field in last) and all(
        field.bits is not None or field.offset + field.shape.size <= start for field in before
    ):
        return start
    return size


def _may_be_cut(field: Field) -> bool:
    match field.shape:
        case Text() | Opaque() | Sequence(element=Integer(size=1)):
            return True
    return field.flexible
