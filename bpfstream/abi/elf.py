"""Headers, symbol attributes and section flags of ELF, as far as BPF objects use them.

Sources: the System V ABI (gABI 4.1, chapter 4), elf(5), and for the BPF relocation types
Documentation/bpf/llvm_reloc.rst.
"""

from collections.abc import Mapping
from enum import IntEnum, IntFlag

ET_REL = 1
EM_NONE, EM_BPF = 0, 247

FILE_TYPES: Mapping[int, str] = {0: "ET_NONE", 1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}
"""What kind of file it is, for messages."""

MACHINES: Mapping[int, str] = {
    EM_NONE: "EM_NONE",
    3: "EM_386",
    8: "EM_MIPS",
    20: "EM_PPC",
    21: "EM_PPC64",
    22: "EM_S390",
    40: "EM_ARM",
    62: "EM_X86_64",
    183: "EM_AARCH64",
    243: "EM_RISCV",
    EM_BPF: "EM_BPF",
    258: "EM_LOONGARCH",
}
"""The machines that somebody may have compiled for by mistake, for messages."""


class SectionType(IntEnum):
    """What a section holds (``SHT_*``), as far as it matters here."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    NOBITS = 8
    """Zeros that take no room in the file."""
    REL = 9


class SymbolKind(IntEnum):
    """What a symbol names (``STT_*``)."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4
    COMMON = 5
    TLS = 6
    OTHER = -1

    @classmethod
    def _missing_(cls, value: object) -> "SymbolKind":
        """Values that the generic ABI doesn't define mean nothing to BPF."""
        return cls.OTHER


class SymbolBinding(IntEnum):
    """Which other files see a symbol (``STB_*``)."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2
    OTHER = -1

    @classmethod
    def _missing_(cls, value: object) -> "SymbolBinding":
        """Values that the generic ABI doesn't define mean nothing to BPF."""
        return cls.OTHER


class SymbolVisibility(IntEnum):
    """Which components see a symbol once it is linked (``STV_*``)."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class SectionFlags(IntFlag):
    """Attributes of a section (``SHF_*``)."""

    WRITE = 1 << 0
    ALLOC = 1 << 1
    EXECINSTR = 1 << 2


class RelocationType(IntEnum):
    """Relocation types of BPF objects (``R_BPF_*``)."""

    NONE = 0
    BPF_64_64 = 1
    """A 64-bit immediate load."""
    BPF_64_ABS64 = 2
    BPF_64_ABS32 = 3
    BPF_64_NODYLD32 = 4
    """A value in .BTF or .BTF.ext that is right as it stands."""
    BPF_64_32 = 10
    """A call."""
