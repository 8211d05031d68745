"""Shapes of the types that BTF describes."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from bpfstream.btf import types
from bpfstream.btf.layout import layout_of
from bpfstream.btf.reader import Btf
from bpfstream.errors import BtfError
from bpfstream.records.classes import make_enum, make_struct
from bpfstream.records.naming import python_name
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
    least_size,
)

MAXIMUM_DEPTH = 32
"""Structs and arrays within each other: as many as the kernel takes (``MAX_RESOLVE_DEPTH``)."""

_shapes: WeakKeyDictionary[Btf, dict[int, Shape]] = WeakKeyDictionary()


def shape_of(btf: Btf, type_id: int) -> Shape:
    """The shape of a type, made once for each BTF: a struct has one class however often it is used.

    Raises:
        BtfError: There is no such type, it has no size (void, functions, what is only declared),
            or it contradicts itself: it contains itself, or a member lies outside of its struct.
    """
    return _Shapes(btf).shape(type_id)


class _Shapes:
    """Makes the shapes of one BTF. The cache holds no reference to the BTF that it hangs on."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._known = _shapes.setdefault(btf, {})
        self._open: list[int] = []

    def shape(self, type_id: int, context: str = "") -> Shape:
        """The shape of a type; `context` names what has no name of its own."""
        type_id = self._btf.resolve(type_id)
        known = self._known.get(type_id)
        if known is not None:
            return known
        if type_id in self._open or len(self._open) >= MAXIMUM_DEPTH:
            raise BtfError(
                f"{self._btf.describe(type_id)} contains itself, or is nested too deep",
                section=".BTF",
                offset=self._btf.offset_of(type_id),
            )
        self._open.append(type_id)
        try:
            shape = self._make(type_id, context)
        finally:
            self._open.pop()
        self._known[type_id] = shape
        return shape

    def _make(self, type_id: int, context: str) -> Shape:
        c_type = self._btf.describe(type_id)
        match self._btf.type(type_id):
            case types.Int(size=size) as integer:
                if not 1 <= size <= 16:
                    raise self._error(type_id, f"an integer of {size} bytes")
                if integer.boolean:
                    return Boolean(c_type, size)
                return Integer(c_type, size, integer.signed)
            case types.Pointer():
                return Integer(c_type, self._btf.pointer_size)
            case types.Float(size=size):
                return Floating(c_type, size) if size in (2, 4, 8) else Opaque(c_type, size)
            case types.Enum() | types.Enum64() as c_enum:
                return self._enumeration(c_type, c_enum, context)
            case types.Array(element=element, length=length):
                return self._array(c_type, element, length, context)
            case types.Struct() | types.Union() as struct:
                return self._record(type_id, c_type, struct.name or context or "anonymous")
            case _:
                self._btf.size_of(type_id)  # says why it has none
                raise self._error(type_id, f"{c_type} has no values")

    def _enumeration(self, c_type: str, c_enum: types.Enum | types.Enum64, context: str) -> Shape:
        if not c_enum.enumerators or c_enum.size not in (1, 2, 4, 8):
            return Integer(c_type, c_enum.size, c_enum.signed)
        values = [(enumerator.name, enumerator.value) for enumerator in c_enum.enumerators]
        name = c_enum.name or context or "enumeration"
        return Enumeration(c_type, c_enum.size, c_enum.signed, make_enum(name, values))

    def _array(self, c_type: str, element_id: int, length: int, context: str) -> Shape:
        element = self.shape(element_id, context)
        if self._is_char(element_id):
            return Text(c_type, length)
        return Sequence(c_type, element, length if element.size else 0)

    def _is_char(self, type_id: int) -> bool:
        # Clang marks char as signed only, so its name has to tell; u8 is "unsigned char".
        element = self._btf.type(self._btf.resolve(type_id))
        return (
            isinstance(element, types.Int)
            and element.size == 1
            and (element.name == "char" or element.char)
        )

    def _record(self, type_id: int, c_type: str, name: str) -> Record:
        layout = layout_of(self._btf, type_id)
        fields: dict[str, Field] = {}
        for part in layout.fields:
            python = python_name(part.name, fields)
            shape = self.shape(part.type_id, f"{name}_{part.name}")
            fields[python] = Field(
                python, part.name, part.offset, shape, part.bitfield, part.is_flexible
            )
        made = tuple(fields.values())
        struct = make_struct(name, made)
        least = layout.size if layout.is_union else least_size(made, layout.size)
        return Record(c_type, layout.size, made, struct, layout.is_union, least)

    def _error(self, type_id: int, message: str) -> BtfError:
        return BtfError(
            f"{self._btf.describe(type_id)}: {message}",
            section=".BTF",
            offset=self._btf.offset_of(type_id),
        )
