"""How the records of a ring lie in a numpy array: its dtype, and what has to be computed.

An array's element is the C struct as it is in memory, so that filling it is one copy a record. Of
chosen fields it has the bytes from the first of them to the last. What numpy has no dtype for
(bitfields, numbers of 3 bytes) is computed into columns behind the struct.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from bpfstream.errors import SchemaError
from bpfstream.records.shapes import (
    Boolean,
    ByteOrder,
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

if TYPE_CHECKING:
    import numpy as np

    Raw: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.uint8]]

MAXIMUM_COLUMNS = 16384
"""Scalars of one record, arrays counted as one; as many as an event may have values."""

_WORD = 8
"""Bytes of the largest integer that numpy has."""


class Place(msgspec.Struct, frozen=True):
    """Where something lies in a record, as often as it is there.

    Attributes:
        path: Names from the record down, joined by dots.
        offset: Bytes from the record's start to the first.
        dimensions: Lengths of the arrays of structs that it is in, outermost first.
        strides: Bytes from one element of these arrays to the next.
    """

    path: str = ""
    offset: int = 0
    dimensions: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def at(self, name: str, offset: int) -> Place:
        """The place of a field."""
        path = f"{self.path}.{name}" if self.path else name
        return msgspec.structs.replace(self, path=path, offset=self.offset + offset)

    def elements(self, length: int, size: int) -> Place:
        """The place of the elements of an array."""
        return msgspec.structs.replace(
            self, dimensions=(*self.dimensions, length), strides=(*self.strides, size)
        )


class Computed(msgspec.Struct, frozen=True):
    """A column that is made of some bits of the struct.

    Attributes:
        source: Where the bytes are that hold the bits.
        size: How many bytes these are.
        shift: Bits below the column's in the number that the bytes are.
        bits: How many are the column's.
        dtype: Of a value, in the words of numpy.
        target: Where the values go.
    """

    source: Place
    size: int
    shift: int
    bits: int
    dtype: str
    target: Place


class ColumnLayout:
    """The layout of the arrays for one record type.

    Attributes:
        dtype: Of the elements: bytes of the C struct, and the computed columns behind them.
        start: Of which byte of the C struct on an element has it.
        size: How many bytes of it an element has.
        computed: What is computed, by its path.
    """

    def __init__(
        self, shape: Record, byteorder: ByteOrder, only: Collection[str] | None = None
    ) -> None:
        import numpy

        self.start, self.size = 0, shape.size
        if only is not None:
            shape = chosen(shape, only)
            self.start, self.size = _span(shape)
        self.computed: dict[str, Computed] = {}
        self._end = self.size
        self._byteorder = byteorder
        self._order = "<" if byteorder == "little" else ">"
        self._columns = 0
        self._booleans: list[Computed] = []
        names, formats, offsets = self._fields(shape, Place(offset=-self.start), overlaid=False)
        for name, column in self.computed.items():
            names.append(name)
            formats.append((column.dtype, column.target.dimensions))
            offsets.append(column.target.offset)
        if not names:
            raise SchemaError(f"{shape.c_type} has nothing that a column could hold")
        self.dtype: np.dtype[np.void] = numpy.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self._end}
        )

    def compute(self, raw: Raw) -> None:
        """Fill in what is computed of an array, seen as rows of bytes."""
        for column in (*self.computed.values(), *self._booleans):
            target = self._view(raw, column.target, column.dtype)
            target[...] = self._values(raw, column)

    def _values(self, raw: Raw, column: Computed) -> Any:
        import numpy

        source = self._view(raw, column.source, numpy.uint8, column.size)
        if column.dtype == "?" and column.bits == 8 * column.size:
            return source.any(axis=-1)
        number = numpy.zeros(source.shape[:-1], numpy.uint64)
        for index in range(column.size):
            from_low = index if self._byteorder == "little" else column.size - 1 - index
            byte = source[..., index].astype(numpy.uint64)
            move = 8 * from_low - column.shift
            number |= byte << numpy.uint64(move) if move >= 0 else byte >> numpy.uint64(-move)
        unused = 64 - column.bits
        number <<= numpy.uint64(unused)
        if column.dtype.startswith("i"):
            return number.view(numpy.int64) >> numpy.int64(unused)
        return number >> numpy.uint64(unused)

    def _view(self, raw: Raw, place: Place, dtype: Any, *inner: int) -> Any:
        """What is at a place in all rows; `inner` for several values one behind the other."""
        import numpy

        shape = (len(raw), *place.dimensions, *inner)
        strides = (raw.shape[1], *place.strides, *(1 for _ in inner))
        return numpy.ndarray(shape, dtype, raw, place.offset, strides)

    # The dtype

    def _fields(
        self, record: Record, place: Place, *, overlaid: bool
    ) -> tuple[list[str], list[Any], list[int]]:
        names, formats, offsets = list[str](), list[Any](), list[int]()
        for field in record.fields:
            shared = overlaid or _overlaps(field, record)
            dtype = self._field(field, place.at(field.name, field.offset), overlaid=shared)
            if dtype is not None:
                names.append(field.name)
                formats.append(dtype)
                offsets.append(field.offset + (place.offset if not place.path else 0))
        return names, formats, offsets

    def _field(self, field: Field, place: Place, *, overlaid: bool) -> Any:
        """The dtype of a field; None when it is computed, or left out."""
        bits = field.bits
        if bits is None:
            return self._shape(field.shape, place, overlaid=overlaid)
        base = msgspec.structs.replace(place, offset=place.offset - field.offset + bits.offset)
        kind = "?" if isinstance(field.shape, Boolean) else "i" if bits.signed else "u"
        if bits.bits <= 8 * _WORD:
            self._add(base, bits.size, bits.shift, bits.bits, kind)
        return None

    def _shape(self, shape: Shape, place: Place, *, overlaid: bool) -> Any:
        self._columns += 1
        if self._columns > MAXIMUM_COLUMNS:
            raise SchemaError(f"{place.path} is beyond {MAXIMUM_COLUMNS} columns")
        if shape.size == 0:
            return None
        match shape:
            case Record(size=size):
                names, formats, offsets = self._fields(
                    shape, place, overlaid=overlaid or shape.is_union
                )
                layout = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
                return layout if names else None
            case Sequence(element=element, length=length):
                inner = self._shape(
                    element, place.elements(length, element.size), overlaid=overlaid
                )
                return None if inner is None else (inner, (length,))
            case Text(size=size):
                return f"S{size}"
            case Opaque(size=size):
                return f"V{size}"
            case Floating(size=size):
                return f"{self._order}f{size}"
            case Boolean(size=size):
                if size == 1 and not overlaid:
                    # For numpy a bool is 0 or 1; C programs may be told so of any byte.
                    self._booleans.append(Computed(place, 1, 0, 8, "?", place))
                    return "?"
                self._add(place, size, 0, 8 * size, "?")
            case Integer(size=size, signed=signed) | Enumeration(size=size, signed=signed):
                sign = "i" if signed else "u"
                if size in (1, 2, 4, 8):
                    return f"{self._order}{sign}{size}"
                if size > _WORD:
                    return f"V{size}"
                self._add(place, size, 0, 8 * size, sign)
        return None

    def _add(self, source: Place, size: int, shift: int, bits: int, kind: str) -> None:
        """Another computed column; `kind` is numpy's letter for what it holds."""
        width = 1 if kind == "?" else next(each for each in (1, 2, 4, 8) if 8 * each >= bits)
        strides = list[int]()
        total = width
        for length in reversed(source.dimensions):
            strides.insert(0, total)
            total *= length
        target = Place(source.path, self._end, source.dimensions, tuple(strides))
        dtype = kind if kind == "?" else f"{kind}{width}"
        self.computed[source.path] = Computed(source, size, shift, bits, dtype, target)
        self._end += total


def chosen(shape: Record, names: Collection[str]) -> Record:
    """A struct of which only some fields are left.

    Raises:
        SchemaError: It has no field of a name, or none are chosen.
    """
    fields = tuple(field for field in shape.fields if field.name in names)
    missing = sorted(set(names) - {field.name for field in fields})
    if missing or not fields:
        raise SchemaError(
            f"{shape.c_type} has no field {missing[0]!r}" if missing else "no columns are chosen",
            hint=f"its fields are {', '.join(field.name for field in shape.fields)}",
        )
    return msgspec.structs.replace(shape, fields=fields)


def _span(shape: Record) -> tuple[int, int]:
    """Where the fields begin, and how many bytes it is to the end of the last."""
    places = [
        (field.bits.offset, field.bits.size)
        if field.bits is not None
        else (field.offset, field.shape.size)
        for field in shape.fields
    ]
    start = min(offset for offset, _ in places)
    return start, max(offset + size for offset, size in places) - start


def _overlaps(field: Field, record: Record) -> bool:
    """Whether another field lies in the bytes of this one, as members of a union do."""
    start, end = field.offset, field.offset + field.shape.size
    return any(
        other is not field
        and (
            start < other.bits.offset + other.bits.size and other.bits.offset < end
            if other.bits is not None
            else start < other.offset + other.shape.size and other.offset < end
        )
        for other in record.fields
    )
