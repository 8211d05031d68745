"""Codecs: the keys and values of maps, and variables, as Python values.

Maps give and take many elements at once. A run of elements lies in one buffer, `stride` bytes from
each to the next.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from bpfstream._native import COMPILED, hot
from bpfstream.btf.reader import Btf
from bpfstream.errors import DecodeError
from bpfstream.records.decoder import decoder
from bpfstream.records.encoder import encode
from bpfstream.records.from_btf import shape_of
from bpfstream.records.shapes import ByteOrder, Integer, Shape

_Format: TypeAlias = Literal["b", "B", "h", "H", "i", "I", "q", "Q"]

_FORMATS: dict[tuple[int, bool], _Format] = {
    (1, True): "b",
    (1, False): "B",
    (2, True): "h",
    (2, False): "H",
    (4, True): "i",
    (4, False): "I",
    (8, True): "q",
    (8, False): "Q",
}
"""How `struct` and `memoryview` call integers, by size in bytes and whether they are signed."""


class Codec:
    """Turns values of one C type into bytes and back.

    Integers and pointers are `int`, enums members of an IntEnum (or `int` without one), char arrays
    `str`, other arrays tuples, structs and unions instances of Struct classes made for them.

    Attributes:
        shape: How the type lies in memory.
        size: Bytes of a value.
    """

    def __init__(self, shape: Shape, byteorder: ByteOrder, *, native: bool = COMPILED) -> None:
        """The codec of values that lie in memory as `shape` says; runs by the compiled twin."""
        self.shape = shape
        self.size = shape.size
        self._byteorder: ByteOrder = byteorder
        self._decode = decoder(shape, byteorder)
        self._integers: _Integers | None = None
        if isinstance(shape, Integer) and byteorder == sys.byteorder:
            form = _FORMATS.get((shape.size, shape.signed))
            if form is not None:
                self._integers = _Integers(form, native)

    def encode(self, value: Any, /) -> bytes:
        """The bytes of a value; for a struct, a mapping of its fields serves too.

        Raises:
            SchemaError: The value does not fit; the error's `field` says where.
        """
        if self._integers is not None and type(value) is int:
            try:
                return self._integers.pack(value)
            except struct.error:
                pass  # out of range: the error below says of what
        return encode(self.shape, value, self._byteorder)

    def decode(self, data: bytes | memoryview, /) -> Any:
        """The value that `data` holds.

        Raises:
            DecodeError: There are not `size` bytes.
        """
        if len(data) != self.size:
            raise DecodeError(
                f"{self.size} bytes are wanted", type_name=self.shape.c_type, record=bytes(data)
            )
        return self._decode(memoryview(data), 0, self.size)

    def encode_run(self, values: Sequence[Any], stride: int, /) -> bytes:
        """A run of these values, with zeros between them.

        Raises:
            SchemaError: A value does not fit; the error's `field` says where in it.
        """
        run = None if self._integers is None else self._integers.join(values, stride)
        if run is None:
            run = b"".join([self.encode(value).ljust(stride, b"\0") for value in values])
        return run

    def decode_run(self, buffer: memoryview, stride: int, count: int, /) -> list[Any]:
        """The values of a run that fills `buffer`, which is not referred to afterwards."""
        if self._integers is not None:
            return self._integers.split(buffer, stride, count)
        decode, size = self._decode, self.size
        return [decode(buffer, at, size) for at in range(0, count * stride, stride)]


class _Integers:
    """Runs of integers."""

    def __init__(self, form: _Format, native: bool) -> None:
        self._format = form
        self.pack = struct.Struct(f"={form}").pack
        self._size = struct.calcsize(f"={form}")
        self._signed = form.islower()
        self._native = native

    def split(self, buffer: memoryview, stride: int, count: int) -> list[int]:
        if self._native:
            return hot.split_integers(buffer, self._size, stride, count, self._signed)
        numbers: list[int] = buffer[: count * stride].cast(self._format).tolist()
        return numbers[:: stride // self._size]

    def join(self, values: Sequence[Any], stride: int) -> bytes | None:
        """None when one is no integer, or too large."""
        if self._native:
            return hot.join_integers(tuple(values), self._size, stride, self._signed)
        if not all(isinstance(value, int) for value in values):
            return None
        pack = struct.Struct(f"={self._format}{stride - self._size}x").pack
        try:
            return b"".join([pack(value) for value in values])
        except struct.error:
            return None


def codec(btf: Btf, type_id: int, *, native: bool = COMPILED) -> Codec:
    """The codec of a type that BTF describes; `native`: runs of it by the compiled twin.

    Raises:
        BtfError: There is no such type, or it has no values (void, functions, a declaration).
        SchemaError: It is too large to be decoded as a whole.
    """
    return Codec(shape_of(btf, type_id), btf.byteorder, native=native)
