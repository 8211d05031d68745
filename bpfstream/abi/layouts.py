"""A notation for the kernel's C structs of fixed-width fields.

Offsets are not written down but follow from C's rules: a field begins at a multiple of its own
width. The kernel makes that hold on every architecture by aligning its 64-bit fields to 8 bytes
(``__aligned_u64`` in include/uapi/linux/types.h), on i386 too.
"""

from __future__ import annotations

import struct
from typing import Any

_FORMATS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "s16": "h", "s32": "i", "s64": "q"}


def _parse_field(kind: str) -> tuple[struct.Struct, int]:
    """The codec of a field's type and its alignment in bytes."""
    if kind.startswith("char["):
        return struct.Struct(f"={int(kind[5:-1])}s"), 1
    codec = struct.Struct("=" + _FORMATS[kind])
    return codec, codec.size


class Layout:
    """A struct as the kernel lays it out, packed and unpacked by the names of its fields.

    ``Layout("u32 map_fd; u64 key, value")`` has `map_fd` at 0, `key` at 8 and `value` at 16. Types
    are u8 to u64, s16 to s64 and char[N] (bytes, filled up with NUL). Byte order is the machine's.

    Attributes:
        size: The struct's size in bytes, a multiple of 8 as in ``union bpf_attr`` and its kin.
    """

    def __init__(self, text: str) -> None:
        self._fields: dict[str, tuple[struct.Struct, int]] = {}
        end = 0
        for declaration in filter(None, map(str.strip, text.split(";"))):
            kind, names = declaration.split(None, 1)
            codec, alignment = _parse_field(kind)
            for name in names.split(","):
                offset = -(-end // alignment) * alignment
                self._fields[name.strip()] = codec, offset
                end = offset + codec.size
        self.size = -(-end // 8) * 8

    @property
    def names(self) -> tuple[str, ...]:
        """The fields in order."""
        return tuple(self._fields)

    def place(self, name: str) -> tuple[int, int]:
        """Offset and size of a field, in bytes."""
        codec, offset = self._fields[name]
        return offset, codec.size

    def pack(self, **values: int | bytes) -> bytearray:
        """A new buffer of the struct with these fields set; all else, padding too, is zero.

        Raises:
            struct.error: A value does not fit its field.
            KeyError: There is no field of that name.
        """
        buffer = bytearray(self.size)
        for name, value in values.items():
            codec, offset = self._fields[name]
            codec.pack_into(buffer, offset, value)
        return buffer

    def unpack(self, buffer: bytes | bytearray | memoryview) -> dict[str, Any]:
        """All fields of a buffer of at least `size` bytes: ints, and bytes for char arrays."""
        return {
            name: codec.unpack_from(buffer, offset)[0]
            for name, (codec, offset) in self._fields.items()
        }

    def read(self, buffer: bytes | bytearray | memoryview, name: str) -> Any:
        """One field of a buffer."""
        codec, offset = self._fields[name]
        return codec.unpack_from(buffer, offset)[0]
