"""What the compiled twin has to know of a shape to decode it: the description of a plan.

A description is made of tuples (kind, offset, size, detail), one a value; an offset is that from
the start of the struct that a value is in. hot.pyi says which kinds there are.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from bpfstream.records.converters import EnumTable
from bpfstream.records.shapes import (
    Boolean,
    Enumeration,
    Field,
    Floating,
    Integer,
    Opaque,
    Record,
    Sequence,
    Shape,
    Text,
)

Node: TypeAlias = tuple[str, int, int, Any]
"""Kind, offset, size, and what depends on the kind."""

Layout: TypeAlias = tuple[Node, int, tuple[int, ...]]
"""A record: its node, the bytes that it has at least, and whether it may end in each field: 0 for
no, 1 when the field may be cut short, 2 when it takes all that is left."""

_WORD = 8
"""Bytes that a bitfield or a tag can be cut out of."""


class _InexpressibleError(Exception):
    """A plan has no node for a shape."""


def describe(shape: Shape) -> Layout | None:
    """The description of values of a shape; None when no plan can decode them."""
    try:
        root = _node(shape, 0)
    except _InexpressibleError:
        return None
    if not isinstance(shape, Record):
        return root, shape.size, ()
    tail = tail_of(shape)
    tails = (0 if field not in tail else 2 if field.flexible else 1 for field in shape.fields)
    return root, shape.least, tuple(tails)


def describe_tag(field: Field) -> Node | None:
    """The description of the integer that tells records apart."""
    try:
        kind, offset, size, detail = _field(field)
    except _InexpressibleError:
        return None
    if size > _WORD:
        return None
    match kind, detail:
        case "number", (is_signed, shift, width, _):
            return kind, offset, size, (is_signed, shift, width, None)
        case "boolean", (shift, width):
            return "number", offset, size, (False, shift, width, None)
    return None


def tail_of(record: Record) -> tuple[Field, ...]:
    """The fields of a record that it may end in; see `Record.least`."""
    if record.is_union:
        return ()
    return tuple(
        field
        for field in record.fields
        if field.offset >= record.least and isinstance(field.shape, Text | Opaque | Sequence)
    )


def _node(shape: Shape, offset: int) -> Node:
    size = shape.size
    match shape:
        case Integer(signed=is_signed):
            return "number", offset, size, (is_signed, 0, 8 * size, None)
        case Enumeration(signed=is_signed):
            return "number", offset, size, (is_signed, 0, 8 * size, EnumTable(shape.enum))
        case Boolean():
            return "boolean", offset, size, (0, 8 * size)
        case Floating():
            return "float", offset, size, None
        case Text():
            return "text", offset, size, None
        case Opaque():
            return "bytes", offset, size, None
        case Sequence(element=element, length=length):
            return "array", offset, size, (length if size else 0, _node(element, 0))
        case Record():
            return "struct", offset, size, _struct(shape)


def _field(field: Field) -> Node:
    bits = field.bits
    if bits is None:
        return _node(field.shape, field.offset)
    if bits.size > _WORD:
        raise _InexpressibleError
    if isinstance(field.shape, Boolean):
        return "boolean", bits.offset, bits.size, (bits.shift, bits.bits)
    members = EnumTable(field.shape.enum) if isinstance(field.shape, Enumeration) else None
    return "number", bits.offset, bits.size, (bits.signed, bits.shift, bits.bits, members)


def _struct(record: Record) -> Any:
    """The class, the names of its fields, how many it takes by place, whether it is plain."""
    struct = record.struct
    names = tuple(field.name for field in record.fields)
    # __match_args__ has the fields that are not keyword-only, which msgspec puts first.
    positional = min(len(struct.__match_args__), len(names))
    fields = tuple(_field(field) for field in record.fields)
    return struct, names, positional, _is_plain(struct, names), fields


def _is_plain(struct: type[msgspec.Struct], names: tuple[str, ...]) -> bool:
    """Whether to make an instance is to set its fields, and nothing else.

    msgspec lets no class have an ``__init__`` or ``__new__`` of its own.
    """
    return (
        type(struct) is type(msgspec.Struct)
        and not hasattr(struct, "__post_init__")
        and struct.__struct_fields__ == names
    )
