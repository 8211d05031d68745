"""Checking a user's Struct class against the C struct that it stands for, field by field."""

from __future__ import annotations

import enum
import keyword
import types
import typing
from typing import Any

import msgspec

from bpfstream.errors import SchemaError
from bpfstream.records.shapes import (
    Boolean,
    Enumeration,
    Floating,
    Integer,
    Opaque,
    Record,
    Sequence,
    Shape,
    Text,
)

_Numbers = Integer | Boolean | Enumeration
_Arrays = Sequence | Text | Opaque


def struct_fields(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """A class's fields with their annotations, in the order of its arguments.

    Raises:
        SchemaError: An annotation names what is not there.
    """
    try:
        return msgspec.structs.fields(struct)
    except (NameError, TypeError) as error:
        raise SchemaError(f"the annotations of {struct.__name__} can't be read: {error}") from error


def bare(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and ``NewType``; of ``Enum | int`` the enum."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            break
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        enums = [each for each in typing.get_args(annotation) if each is not int]
        if len(enums) == 1 and isinstance(enums[0], type) and issubclass(enums[0], enum.Enum):
            return enums[0]
    return annotation


def c_type_of(annotation: Any) -> Shape | None:
    """The C type that an annotation says: ``Annotated[int, U32]``."""
    if typing.get_origin(annotation) is typing.Annotated:
        for extra in typing.get_args(annotation)[1:]:
            if isinstance(extra, Shape):
                return extra
    return None


def bind(record: Record, struct: type[msgspec.Struct], path: str = "") -> Record:
    """The same C struct, read as the user's class; members that the class leaves out are skipped.

    Raises:
        SchemaError: `struct` is no Struct class; a field of it is not in the C struct, or can't be
            read from what is there. The message says what either says.
    """
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        raise SchemaError(f"{struct!r} is not a msgspec.Struct class")
    path = path or struct.__name__
    by_c_name = {field.c_name: field for field in record.fields}
    fields = []
    for own in struct_fields(struct):
        name, where = own.name, f"{path}.{own.name}"
        names = (own.encode_name, name, name.rstrip("_"))
        field = next((by_c_name[each] for each in names if each in by_c_name), None)
        if field is None:
            raise SchemaError(
                f"{where}: {record.c_type} has no such field",
                field=name,
                hint=f"it has {', '.join(by_c_name) or 'none'}",
            )
        if not name.isidentifier() or keyword.iskeyword(name):
            raise SchemaError(f"{where}: not a name that Python can say", field=name)
        shape = fit(own.type, field.shape, where)
        fields.append(msgspec.structs.replace(field, name=name, shape=shape))
    return msgspec.structs.replace(record, fields=tuple(fields), struct=struct)


def fit(annotation: Any, shape: Shape, path: str) -> Shape:
    """The shape that reads what is at `shape` as the annotated Python type.

    Raises:
        SchemaError: It can't be read so.
    """
    marker = c_type_of(annotation)
    if marker is not None and not _same_memory(marker, shape):
        raise _differs(path, shape, f"the class says {marker.c_type}")
    wanted = bare(annotation)
    if typing.get_origin(wanted) is tuple or wanted is tuple:
        return _fit_tuple(wanted, shape, path)
    if wanted is Any or wanted is object:
        return shape
    if isinstance(wanted, type):
        fitted = _fit_class(wanted, shape, path)
        if fitted is not None:
            return fitted
    raise _differs(path, shape, f"the class says {_text(annotation)}")


def _fit_class(wanted: type, shape: Shape, path: str) -> Shape | None:
    """As `fit`, for a plain class; None when the two have nothing to do with each other."""
    if issubclass(wanted, enum.Enum):
        return _fit_enum(wanted, shape, path) if isinstance(shape, _Numbers) else None
    if issubclass(wanted, msgspec.Struct):
        return bind(shape, wanted, path) if isinstance(shape, Record) else None
    if isinstance(shape, _Numbers):
        if wanted is bool:
            return Boolean(shape.c_type, shape.size)
        if wanted is int:
            return Integer(shape.c_type, shape.size, getattr(shape, "signed", False))
        return None
    if isinstance(shape, Floating):
        return shape if wanted is float else None
    if wanted is bytes:
        return Opaque(shape.c_type, shape.size)
    if wanted is str and (isinstance(shape, Text) or _is_bytes(shape)):
        return Text(shape.c_type, shape.size)
    return None


def _fit_enum(wanted: type[enum.Enum], shape: _Numbers, path: str) -> Shape:
    values = {member.value for member in wanted.__members__.values()}
    if not all(isinstance(value, int) for value in values):
        raise _differs(path, shape, f"{wanted.__name__} has values that are no int")
    # Compilers mark enums with negative values unsigned at times; the user's word counts.
    is_signed = getattr(shape, "signed", False) or min(values, default=0) < 0
    width = 8 * shape.size
    low, high = (-(1 << (width - 1)), 1 << (width - 1)) if is_signed else (0, 1 << width)
    outside = [value for value in sorted(values) if not low <= value < high]
    if outside:
        raise _differs(path, shape, f"{wanted.__name__} has the value {outside[0]}")
    if isinstance(shape, Enumeration):
        for name, member in shape.enum.__members__.items():
            own = wanted.__members__.get(name)
            if own is not None and (own.value - member.value) % (1 << width):
                raise _differs(
                    path, shape, f"{name} is {member.value} in C and {own.value} in the class"
                )
    return Enumeration(shape.c_type, shape.size, is_signed, wanted)


def _fit_tuple(wanted: Any, shape: Shape, path: str) -> Shape:
    if isinstance(shape, Text | Opaque):
        shape = Sequence(shape.c_type, Integer("char", 1), shape.size)
    if not isinstance(shape, Sequence):
        raise _differs(path, shape, f"the class says {_text(wanted)}")
    arguments = typing.get_args(wanted)
    if not arguments:
        return shape
    if arguments[-1] is not Ellipsis and (
        len(arguments) != shape.length or len(set(arguments)) != 1
    ):
        raise _differs(path, shape, f"the class says {_text(wanted)}")
    element = fit(arguments[0], shape.element, f"{path}[]")
    return Sequence(shape.c_type, element, shape.length)


def _same_memory(marker: Shape, shape: Shape) -> bool:
    """Whether a C type that the class says is what BTF says, as far as reading it goes."""
    if isinstance(marker, Record) or isinstance(shape, Record):
        return marker.size == shape.size
    if isinstance(marker, _Arrays) and isinstance(shape, _Arrays):
        elements = [
            each.element if isinstance(each, Sequence) else Integer("char", 1)
            for each in (marker, shape)
        ]
        # Without a length of its own the class takes whatever length there is.
        return marker.size in (0, shape.size) and elements[0].size == elements[1].size
    if isinstance(marker, Floating) or isinstance(shape, Floating):
        return type(marker) is type(shape) and marker.size == shape.size
    if isinstance(marker, Integer) and isinstance(shape, Integer):
        return marker.size == shape.size and marker.signed == shape.signed
    return (
        isinstance(shape, _Numbers) and isinstance(marker, _Numbers) and (marker.size == shape.size)
    )


def _is_bytes(shape: Shape) -> bool:
    return isinstance(shape, Opaque) or (
        isinstance(shape, Sequence)
        and isinstance(shape.element, Integer)
        and shape.element.size == 1
    )


def _text(annotation: Any) -> str:
    return (
        annotation.__name__
        if isinstance(annotation, type) and not (typing.get_args(annotation))
        else repr(annotation)
    )


def _differs(path: str, shape: Shape, but: str) -> SchemaError:
    return SchemaError(f"{path}: C says {shape.c_type}, but {but}", field=path.partition(".")[2])
