"""Encoding: a Python value into the bytes of its C type, every part checked.

Values are what decoding gives; where a record is wanted, a mapping of field names serves too, and
anywhere bytes of the exact size.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

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

_FLOATS = {2: "e", 4: "f", 8: "d"}


def encode(shape: Shape, value: Any, byteorder: ByteOrder) -> bytes:
    """The bytes of a value; padding is zeros.

    A record may be an instance of its class or of another that has the same fields, or a mapping;
    fields that a mapping leaves out are zero. In a union, fields are written in their order, over
    each other: a mapping with the one that is meant says it best.

    Raises:
        SchemaError: A value has the wrong type, is out of range or too long; `field` says where.
    """
    buffer = bytearray(shape.size)
    _Encoder(buffer, byteorder).put(shape, value, 0, "")
    return bytes(buffer)


class _Encoder:
    """Writes values into one buffer; `path` is where in the value it is, for messages."""

    def __init__(self, buffer: bytearray, byteorder: ByteOrder) -> None:
        self._buffer = buffer
        self._byteorder = byteorder

    def put(self, shape: Shape, value: Any, offset: int, path: str) -> None:
        if isinstance(value, bytes | bytearray | memoryview) and not isinstance(shape, Text):
            self._put_bytes(shape, bytes(value), offset, path)
            return
        match shape:
            case Record():
                self._put_record(shape, value, offset, path)
            case Text():
                self._put_text(shape, value, offset, path)
            case Sequence():
                self._put_sequence(shape, value, offset, path)
            case Floating(size=size):
                self._put_float(shape, size, value, offset, path)
            case Opaque():
                _refuse(shape, value, path, "bytes are wanted")
            case Integer() | Boolean() | Enumeration():
                number = self._number(shape, value, path, 8 * shape.size, _is_signed(shape))
                self._store(number, offset, shape.size)

    def _put_bytes(self, shape: Shape, value: bytes, offset: int, path: str) -> None:
        if len(value) != shape.size:
            _refuse(shape, value, path, f"{len(value)} bytes where {shape.size} are wanted")
        self._buffer[offset : offset + shape.size] = value

    def _put_text(self, shape: Text, value: Any, offset: int, path: str) -> None:
        if not isinstance(value, str | bytes | bytearray):
            _refuse(shape, value, path, "a str is wanted")
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
        if len(raw) > shape.size:
            _refuse(shape, value, path, f"{len(raw)} bytes where {shape.size} have room")
        self._buffer[offset : offset + shape.size] = raw.ljust(shape.size, b"\0")

    def _put_sequence(self, shape: Sequence, value: Any, offset: int, path: str) -> None:
        if not isinstance(value, tuple | list) or len(value) != shape.length:
            _refuse(shape, value, path, f"a tuple of {shape.length} is wanted")
        for index, item in enumerate(value):
            at = offset + index * shape.element.size
            self.put(shape.element, item, at, f"{path}[{index}]")

    def _put_float(self, shape: Shape, size: int, value: Any, offset: int, path: str) -> None:
        order = "<" if self._byteorder == "little" else ">"
        try:
            struct.pack_into(f"{order}{_FLOATS[size]}", self._buffer, offset, value)
        except (struct.error, OverflowError) as error:
            _refuse(shape, value, path, str(error))

    def _put_record(self, shape: Record, value: Any, offset: int, path: str) -> None:
        names = {name for field in shape.fields for name in (field.name, field.c_name)}
        if isinstance(value, Mapping):
            for name in value:
                if name not in names:
                    _refuse(shape, value, path, f"it has no field {name!r}")
        for field in shape.fields:
            present, item = _item(value, field)
            where = f"{path}.{field.name}" if path else field.name
            if present:
                self._put_field(field, item, offset, where)
            elif not isinstance(value, Mapping):
                _refuse(shape, value, where, "the value lacks this field")

    def _put_field(self, field: Field, value: Any, offset: int, path: str) -> None:
        bits = field.bits
        if bits is None:
            self.put(field.shape, value, offset + field.offset, path)
            return
        number = self._number(field.shape, value, path, bits.bits, bits.signed)
        bits.insert(self._buffer, number, offset)

    def _number(self, shape: Shape, value: Any, path: str, width: int, is_signed: bool) -> int:
        """A value as an integer that `width` bits hold."""
        number = value.value if isinstance(value, enum.Enum) else value
        if not isinstance(number, int):
            _refuse(shape, value, path, "an int is wanted")
        # Both ways of seeing the same bits are taken for enums: compilers disagree on their sign.
        low = -(1 << (width - 1)) if is_signed or isinstance(shape, Enumeration) else 0
        high = (1 << (width - 1)) if is_signed else 1 << width
        if not low <= number < high:
            _refuse(shape, value, path, f"not in {low} to {high - 1}")
        return int(number)

    def _store(self, number: int, offset: int, size: int) -> None:
        raw = (number & ((1 << 8 * size) - 1)).to_bytes(size, self._byteorder)
        self._buffer[offset : offset + size] = raw


def _is_signed(shape: Shape) -> bool:
    return isinstance(shape, Integer | Enumeration) and shape.signed


def _item(value: Any, field: Field) -> tuple[bool, Any]:
    """Whether a record's value has a field, and what it is."""
    if isinstance(value, Mapping):
        for name in (field.name, field.c_name):
            if name in value:
                return True, value[name]
        return False, None
    return hasattr(value, field.name), getattr(value, field.name, None)


def _refuse(shape: Shape, value: Any, path: str, reason: str) -> NoReturn:
    text = repr(value)
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    where = f"{path}: " if path else ""
    raise SchemaError(f"{where}{shown} does not fit {shape.c_type}: {reason}", field=path)
