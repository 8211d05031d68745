"""Putting the value of a CO-RE relocation into its instruction (relo_core.c: bpf_core_patch_insn).

A value replaces the immediate of arithmetic and of wide loads, and the offset of loads and stores.
Where there is no value the instruction is poisoned: it becomes a call of a helper that does not
exist, which the verifier refuses if it gets there.
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.instructions import (
    ACCESS_BYTES,
    CLASS_MASK,
    SIZE_MASK,
    SOURCE_MASK,
    AccessSize,
    InstructionClass,
    Opcode,
    OperandSource,
)
from bpfstream.asm.code import Code
from bpfstream.errors import LinkingError

RELOCATION_POISON = 195896080
"""Number of the helper that a poisoned instruction calls: 0xbad2310, libbpf's "bad relo"."""

_SIZE_OF_BYTES = {width: size for size, width in ACCESS_BYTES.items()}
_MAX_OFFSET = 0x7FFF
_U64 = 0xFFFF_FFFF_FFFF_FFFF


class Patch(msgspec.Struct, frozen=True):
    """What an instruction gets.

    Attributes:
        value: Unsigned, of 64 bits.
        expected: What the compiler must have put there; None: it can't be told.
        old_size: Bytes that a load or store takes now, and...
        new_size: ...those that it has to take.
        size_conflict: Why a load or store can't take the new size; empty when it can.
    """

    value: int
    expected: int | None = None
    old_size: int = 0
    new_size: int = 0
    size_conflict: str = ""


def poison(code: Code, slot: int, helper: int) -> None:
    """Replace an instruction, both slots of a wide load, with a call of a helper that isn't."""
    slots = (slot, slot + 1) if code.is_wide(slot) else (slot,)
    for each in slots:
        code.replace(each, opcode=Opcode.CALL, immediate=helper)


def apply(code: Code, slot: int, patch: Patch) -> str:
    """Change the instruction at `slot`; returns why it was poisoned instead, or nothing.

    Raises:
        LinkingError: It is no instruction that can be relocated, it does not hold what the
            compiler must have put there, or the value does not fit.
    """
    opcode = code.opcode(slot)
    match opcode & CLASS_MASK:
        case InstructionClass.ALU | InstructionClass.ALU64:
            _patch_arithmetic(code, slot, patch)
        case InstructionClass.LDX | InstructionClass.ST | InstructionClass.STX:
            return _patch_access(code, slot, patch)
        case InstructionClass.LD:
            _patch_wide_load(code, slot, patch)
        case _:
            raise LinkingError(f"no instruction with opcode {opcode:#04x} can be relocated")
    return ""


def _check(found: int, expected: int | None) -> None:
    if expected is not None and found & _U64 != expected:
        raise LinkingError(
            f"the instruction holds {found}, the compiler should have put {expected}"
        )


def _patch_arithmetic(code: Code, slot: int, patch: Patch) -> None:
    if code.opcode(slot) & SOURCE_MASK != OperandSource.K:
        raise LinkingError("arithmetic between registers has no value to relocate")
    _check(code.immediate(slot), patch.expected)
    code.set_immediate(slot, patch.value & 0xFFFF_FFFF)


def _patch_wide_load(code: Code, slot: int, patch: Patch) -> None:
    whole = (
        code.is_wide(slot)
        and (code.source(slot), code.offset(slot)) == (0, 0)
        and (code.opcode(slot + 1), code.destination(slot + 1)) == (0, 0)
        and (code.source(slot + 1), code.offset(slot + 1)) == (0, 0)
    )
    if not whole:
        raise LinkingError("malformed load of a 64 bit immediate")
    _check(code.wide(slot), patch.expected)
    code.set_wide(slot, patch.value)


def _patch_access(code: Code, slot: int, patch: Patch) -> str:
    _check(code.offset(slot), patch.expected)
    if patch.value > _MAX_OFFSET:
        raise LinkingError(f"offset {patch.value} is beyond what a load or store can reach")
    if patch.size_conflict:
        poison(code, slot, RELOCATION_POISON)
        return patch.size_conflict
    if patch.old_size != patch.new_size:
        opcode = code.opcode(slot)
        width = ACCESS_BYTES[AccessSize(opcode & SIZE_MASK)]
        if width != patch.old_size:
            raise LinkingError(
                f"the instruction takes {width} bytes of a field of {patch.old_size} "
                f"that has {patch.new_size} on the target"
            )
        if patch.new_size not in _SIZE_OF_BYTES:
            raise LinkingError(f"no instruction takes the {patch.new_size} bytes of the field")
        code.set_opcode(slot, opcode & ~SIZE_MASK | _SIZE_OF_BYTES[patch.new_size])
    code.set_offset(slot, patch.value)
    return ""
