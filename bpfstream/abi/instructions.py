"""The encoding of BPF instructions (include/uapi/linux/bpf.h, RFC 9669).

An instruction takes one slot of 8 bytes: an opcode byte, the destination and the source register
(a nibble each), a signed 16 bit offset and a signed 32 bit immediate. A wide load takes two slots,
the second of which holds the upper half of its 64 bit immediate and is otherwise zero.
"""

from enum import IntEnum

SLOT_SIZE = 8
"""Bytes of one instruction slot."""

CLASS_MASK = 0x07
SIZE_MASK = 0x18
MODE_MASK = 0xE0
SOURCE_MASK = 0x08
OPERATION_MASK = 0xF0


class InstructionClass(IntEnum):
    """The low three bits of an opcode."""

    LD = 0x00
    LDX = 0x01
    ST = 0x02
    STX = 0x03
    ALU = 0x04
    JMP = 0x05
    JMP32 = 0x06
    ALU64 = 0x07


class AccessSize(IntEnum):
    """How wide a load or store is: bits 3 and 4 of its opcode."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18


ACCESS_BYTES = {AccessSize.B: 1, AccessSize.H: 2, AccessSize.W: 4, AccessSize.DW: 8}
"""Width in bytes of every access size."""


class AccessMode(IntEnum):
    """How a load or store addresses memory: the high three bits of its opcode."""

    IMM = 0x00
    ABS = 0x20
    IND = 0x40
    MEM = 0x60
    MEMSX = 0x80
    ATOMIC = 0xC0


class OperandSource(IntEnum):
    """Where the second operand of arithmetic or of a jump comes from."""

    K = 0x00
    X = 0x08


class Opcode(IntEnum):
    """Whole opcodes that linking looks at."""

    LOAD_WIDE = 0x18  # BPF_LD | BPF_IMM | BPF_DW
    CALL = 0x85  # BPF_JMP | BPF_CALL | BPF_K
    EXIT = 0x95  # BPF_JMP | BPF_EXIT


class WideLoadSource(IntEnum):
    """What a wide load's immediate stands for: its source register (``BPF_PSEUDO_*``)."""

    VALUE = 0
    MAP_FD = 1
    MAP_VALUE = 2
    BTF_ID = 3
    FUNC = 4
    MAP_IDX = 5
    MAP_IDX_VALUE = 6


class CallSource(IntEnum):
    """What a call's immediate stands for: its source register."""

    HELPER = 0
    SUBPROGRAM = 1  # BPF_PSEUDO_CALL
    KFUNC = 2  # BPF_PSEUDO_KFUNC_CALL
