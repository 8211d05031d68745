"""Symbol attributes and section flags of ELF, as far as BPF objects use them.

Sources: the System V ABI (gABI 4.1, chapter 4), elf(5), and for the BPF relocation types
Documentation/bpf/llvm_reloc.rst.
"""

from enum import IntEnum, IntFlag


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
