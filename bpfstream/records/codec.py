"""Codecs: the keys and values of maps, and variables, as Python values."""

from __future__ import annotations

from typing import Any

from bpfstream.btf.reader import Btf
from bpfstream.errors import DecodeError
from bpfstream.records.decoder import decoder
from bpfstream.records.encoder import encode
from bpfstream.records.from_btf import shape_of
from bpfstream.records.shapes import ByteOrder, Shape


class Codec:
    """Turns values of one C type into bytes and back.

    Integers and pointers are `int`, enums members of an IntEnum (or `int` without one), char arrays
    `str`, other arrays tuples, structs and unions instances of Struct classes made for them.

    Attributes:
        shape: How the type lies in memory.
        size: Bytes of a value.
    """

    def __init__(self, shape: Shape, byteorder: ByteOrder) -> None:
        self.shape = shape
        self.size = shape.size
        self._byteorder: ByteOrder = byteorder
        self._decode = decoder(shape, byteorder)

    def encode(self, value: Any, /) -> bytes:
        """The bytes of a value; for a struct, a mapping of its fields serves too.

        Raises:
            SchemaError: The value does not fit; the error's `field` says where.
        """
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


def codec(btf: Btf, type_id: int) -> Codec:
    """The codec of a type that BTF describes.

    Raises:
        BtfError: There is no such type, or it has no values (void, functions, a declaration).
        SchemaError: It is too large to be decoded as a whole.
    """
    return Codec(shape_of(btf, type_id), btf.byteorder)
