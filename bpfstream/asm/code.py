"""An editable run of encoded BPF instructions.

Linking changes single fields of instructions and joins functions. It does so on the encoded bytes:
no object is made for an instruction that nobody looks at.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Literal

from bpfstream.abi.instructions import SLOT_SIZE, Opcode
from bpfstream.errors import ObjectError

_OFFSET = {"little": struct.Struct("<h"), "big": struct.Struct(">h")}
_IMMEDIATE = {"little": struct.Struct("<i"), "big": struct.Struct(">i")}


class Code:
    """Encoded instructions, addressed by slot.

    A slot is 8 bytes; a wide load takes two slots. In big-endian code the destination register is
    the high nibble of the register byte, in little-endian code the low one: the accessors hide it.
    A slot outside the code raises `IndexError`, a value that does not fit its field `ValueError`.
    """

    __slots__ = ("_data", "_immediate", "_offset", "byteorder")

    def __init__(
        self,
        data: bytes | bytearray | memoryview = b"",
        byteorder: Literal["little", "big"] = sys.byteorder,
    ) -> None:
        """Copy `data`, whole instructions in `byteorder`.

        Raises:
            ObjectError: The length is not a multiple of 8 bytes.
        """
        self._data = bytearray(data)
        if len(self._data) % SLOT_SIZE:
            raise ObjectError(
                "code is not a whole number of 8 byte instructions",
                offset=len(self._data) - len(self._data) % SLOT_SIZE,
            )
        self.byteorder: Literal["little", "big"] = byteorder
        self._offset = _OFFSET[byteorder]
        self._immediate = _IMMEDIATE[byteorder]

    def __len__(self) -> int:
        """The number of slots."""
        return len(self._data) // SLOT_SIZE

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Code):
            return NotImplemented
        return self.byteorder == other.byteorder and self._data == other._data

    __hash__ = None  # type: ignore[assignment]  # editable

    def __repr__(self) -> str:
        return f"Code({self.hex()!r})"

    def hex(self) -> str:
        """The bytes of all instructions, in hexadecimal."""
        return self._data.hex()

    def copy(self) -> Code:
        """An independent copy."""
        return Code(self._data, self.byteorder)

    def append(self, other: Code) -> int:
        """Put a copy of `other` behind the last instruction; returns the slot where it begins.

        Raises:
            ValueError: `other` has another byte order.
        """
        if other.byteorder != self.byteorder:
            raise ValueError(f"can't append {other.byteorder}-endian code to {self.byteorder}")
        start = len(self)
        self._data += other._data
        return start

    def instructions(self) -> Iterator[int]:
        """The slots where an instruction begins, without second halves of wide loads."""
        opcodes = self._data[::SLOT_SIZE]
        slot = 0
        while slot < len(opcodes):
            yield slot
            slot += 2 if opcodes[slot] == Opcode.LOAD_WIDE else 1

    # Fields ---------------------------------------------------------------------------------

    def _at(self, slot: int) -> int:
        position = slot * SLOT_SIZE
        if not 0 <= position < len(self._data):
            raise IndexError(f"slot {slot} is outside of {len(self)} slots of code")
        return position

    def opcode(self, slot: int) -> int:
        """The opcode byte."""
        return self._data[self._at(slot)]

    def set_opcode(self, slot: int, opcode: int) -> None:
        """Set the opcode byte."""
        self._data[self._at(slot)] = opcode

    def destination(self, slot: int) -> int:
        """The destination register's number."""
        registers = self._data[self._at(slot) + 1]
        return registers & 0xF if self.byteorder == "little" else registers >> 4

    def source(self, slot: int) -> int:
        """The source register's number; what an immediate stands for in wide loads and calls."""
        registers = self._data[self._at(slot) + 1]
        return registers >> 4 if self.byteorder == "little" else registers & 0xF

    def set_registers(self, slot: int, destination: int, source: int) -> None:
        """Set both registers."""
        if not (0 <= destination <= 0xF and 0 <= source <= 0xF):
            raise ValueError(f"registers {destination}, {source} are not 0 to 15")
        high, low = (source, destination) if self.byteorder == "little" else (destination, source)
        self._data[self._at(slot) + 1] = high << 4 | low

    def set_destination(self, slot: int, destination: int) -> None:
        """Set the destination register."""
        self.set_registers(slot, destination, self.source(slot))

    def set_source(self, slot: int, source: int) -> None:
        """Set the source register."""
        self.set_registers(slot, self.destination(slot), source)

    def offset(self, slot: int) -> int:
        """The signed 16 bit offset."""
        value: int = self._offset.unpack_from(self._data, self._at(slot) + 2)[0]
        return value

    def set_offset(self, slot: int, offset: int) -> None:
        """Set the offset, -32768 to 32767."""
        if not -0x8000 <= offset <= 0x7FFF:
            raise ValueError(f"{offset} does not fit in 16 bits with sign")
        self._offset.pack_into(self._data, self._at(slot) + 2, offset)

    def immediate(self, slot: int) -> int:
        """The signed 32 bit immediate of this slot."""
        value: int = self._immediate.unpack_from(self._data, self._at(slot) + 4)[0]
        return value

    def set_immediate(self, slot: int, immediate: int) -> None:
        """Set the immediate of this slot, -2**31 to 2**32 - 1."""
        if not -0x8000_0000 <= immediate <= 0xFFFF_FFFF:
            raise ValueError(f"{immediate} does not fit in 32 bits")
        if immediate > 0x7FFF_FFFF:
            immediate -= 1 << 32
        self._immediate.pack_into(self._data, self._at(slot) + 4, immediate)

    def is_wide(self, slot: int) -> bool:
        """Whether a whole wide load begins at this slot."""
        return self.opcode(slot) == Opcode.LOAD_WIDE and slot + 1 < len(self)

    def wide(self, slot: int) -> int:
        """The unsigned 64 bit immediate of the wide load at this slot."""
        low, high = self.immediate(slot), self.immediate(slot + 1)
        return (high & 0xFFFF_FFFF) << 32 | low & 0xFFFF_FFFF

    def set_wide(self, slot: int, value: int) -> None:
        """Set the 64 bit immediate of the wide load at this slot, -2**63 to 2**64 - 1."""
        if not -(1 << 63) <= value < 1 << 64:
            raise ValueError(f"{value} does not fit in 64 bits")
        self.set_immediate(slot + 1, value >> 32 & 0xFFFF_FFFF)
        self.set_immediate(slot, value & 0xFFFF_FFFF)

    def replace(
        self,
        slot: int,
        *,
        opcode: int,
        destination: int = 0,
        source: int = 0,
        offset: int = 0,
        immediate: int = 0,
    ) -> None:
        """Write a whole slot anew."""
        self.set_opcode(slot, opcode)
        self.set_registers(slot, destination, source)
        self.set_offset(slot, offset)
        self.set_immediate(slot, immediate)
