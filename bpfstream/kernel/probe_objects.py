"""The smallest programs and BTF that a question to the kernel needs."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable

from bpfstream.abi.btf import Kind
from bpfstream.abi.instructions import Opcode, WideLoadSource

_MOVE_REGISTER = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_MOVE = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K
_ADD = 0x07  # BPF_ALU64 | BPF_ADD | BPF_K
_FRAME = 10
_BTF_MAGIC = 0xEB9F
_BTF_HEADER_SIZE = 24


def instruction(
    opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0
) -> bytes:
    """Encode one slot in the machine's byte order, in which the registers' nibbles change too."""
    low, high = (destination, source) if sys.byteorder == "little" else (source, destination)
    return struct.pack("=BBhi", opcode, high << 4 | low, offset, immediate)


RETURN_ZERO = instruction(_MOVE, 0) + instruction(Opcode.EXIT)
"""``return 0``, a program of any type."""


def calling(helper: int) -> bytes:
    """Call a helper that takes no arguments or the context, then return 0."""
    return instruction(Opcode.CALL, immediate=helper) + RETURN_ZERO


def reading(helper: int) -> bytes:
    """Have a helper read 8 bytes at address 0 into the stack, then return 0."""
    return (
        instruction(_MOVE_REGISTER, 1, _FRAME)
        + instruction(_ADD, 1, immediate=-8)
        + instruction(_MOVE, 2, immediate=8)
        + instruction(_MOVE, 3, immediate=0)
        + calling(helper)
    )


def addressing(map_fd: int) -> bytes:
    """Take the address of an array's first value, then return 0."""
    return (
        instruction(Opcode.LOAD_WIDE, 1, WideLoadSource.MAP_VALUE, immediate=map_fd)
        + instruction(0)
        + RETURN_ZERO
    )


def btf_type(name: int, kind: Kind, size_or_type: int, *more: int, count: int = 0) -> list[int]:
    """The words of a type: ``struct btf_type`` and what follows it (include/uapi/linux/btf.h).

    `name` is an offset in the strings, `count` the kind's vlen.
    """
    return [name, kind << 24 | count, size_or_type, *(word & 0xFFFFFFFF for word in more)]


INT = btf_type(1, Kind.INT, 4, 1 << 24 | 32)
"""A signed int of 4 bytes, named by the string at 1."""


def btf(types: Iterable[list[int]], strings: bytes = b"\0int\0x\0") -> bytes:
    """Whole BTF of types and strings: `INT` is to be the first; "x" is the string at 5."""
    words = array("I", [word for each in types for word in each]).tobytes()
    header = struct.pack(
        "=HBBIIIII", _BTF_MAGIC, 1, 0, _BTF_HEADER_SIZE, 0, len(words), len(words), len(strings)
    )
    return header + words + strings
