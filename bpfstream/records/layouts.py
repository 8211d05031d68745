"""C types as annotations, for classes that stand for structs which no BTF describes.

    class Exec(msgspec.Struct):
        pid: Annotated[int, U32]
        comm: Annotated[str, Chars(16)]
        address: Annotated[tuple[int, ...], Array(U8, 16)]

Fields lie in the order of the class with the natural alignment of C on 64-bit machines: integers
and floats at a multiple of their size, arrays as their elements, structs as their widest field.
`bool` alone is C's ``bool``, and a nested Struct class needs no more than its own annotations; an
enum class needs the integer that holds it. What the class does not care about has to be there too,
as `Bytes` for instance: the offsets of later fields depend on it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bpfstream.errors import SchemaError
from bpfstream.records.schema import bare, c_type_of, fit, struct_fields
from bpfstream.records.shapes import (
    Boolean,
    Field,
    Floating,
    Integer,
    Opaque,
    Record,
    Sequence,
    Shape,
    Text,
    least_size,
)

U8, I8 = Integer("u8", 1), Integer("s8", 1, signed=True)
U16, I16 = Integer("u16", 2), Integer("s16", 2, signed=True)
U32, I32 = Integer("u32", 4), Integer("s32", 4, signed=True)
U64, I64 = Integer("u64", 8), Integer("s64", 8, signed=True)
F32, F64 = Floating("float", 4), Floating("double", 8)

_MAXIMUM_ALIGNMENT = 16


def Chars(size: int = 0) -> Text:  # noqa: N802
    """``char[size]``, read as `str` or `bytes`; without a size, all that the record has left."""
    return Text(f"char[{size or ''}]", size)


def Bytes(size: int = 0) -> Opaque:  # noqa: N802
    """`size` bytes as they are; without a size, all that the record has left."""
    return Opaque(f"u8[{size or ''}]", size)


def Array(element: Shape | type[msgspec.Struct], length: int = 0) -> Sequence:  # noqa: N802
    """`length` elements of a C type or a Struct class; without one, all that the record has left.

    Raises:
        SchemaError: A field of the Struct class has no C type.
    """
    shape = shape_of_class(element) if isinstance(element, type) else element
    return Sequence(f"{shape.c_type}[{length or ''}]", shape, length)


def shape_of_class(struct: type[msgspec.Struct]) -> Record:
    """The shape of a class from its annotations alone.

    Raises:
        SchemaError: A field has no C type, or one that its Python type can't be read from; or an
            array without a length is not the last field.
    """
    fields: list[Field] = []
    end = alignment = 0
    for own in struct_fields(struct):
        name = own.name
        if fields and fields[-1].flexible:
            raise _error(struct, fields[-1].name, "an array without a length is not the last field")
        shape = _shape_of_annotation(struct, name, own.type)
        needed = _alignment(shape)
        flexible = shape.size == 0 and not isinstance(shape, Record)
        offset = -(-end // needed) * needed
        end, alignment = offset + shape.size, max(alignment, needed)
        fitted = fit(own.type, shape, f"{struct.__name__}.{name}")
        fields.append(Field(name, name, offset, fitted, flexible=flexible))
    size = -(-end // alignment) * alignment if alignment else 0
    made = tuple(fields)
    return Record(f"struct {struct.__name__}", size, made, struct, least=least_size(made, size))


def _shape_of_annotation(struct: type[msgspec.Struct], name: str, annotation: Any) -> Shape:
    marker = c_type_of(annotation)
    if marker is not None:
        return marker
    plain = bare(annotation)
    if plain is bool:
        return Boolean("bool")
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return shape_of_class(plain)
    raise _error(struct, name, f"{annotation!r} does not say its C type")


def _error(struct: type[msgspec.Struct], name: str, message: str) -> SchemaError:
    return SchemaError(
        f"{struct.__name__}.{name}: {message}",
        field=name,
        hint="without BTF a field needs its C type: Annotated[int, U32], Annotated[str, Chars(16)]",
    )


def _alignment(shape: Shape) -> int:
    match shape:
        case Record(fields=fields):
            return max((_alignment(field.shape) for field in fields), default=1)
        case Sequence(element=element):
            return _alignment(element)
        case Text() | Opaque():
            return 1
        case _:
            return min(shape.size, _MAXIMUM_ALIGNMENT)
