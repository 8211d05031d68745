"""Objects made by hand, for tests of the linker that no compiler could be brought to write."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.abi.elf import SymbolBinding, SymbolKind, SymbolVisibility
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.ext import BtfExt, CoreRelocation, InfoSection
from bpfstream.btf.types import Enum, Enumerator, Int, Member, Struct, Type
from bpfstream.spec import (
    ExternSpec,
    FunctionSpec,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    Symbol,
)

SECTION = "raw_tp/probe"

# Instructions ------------------------------------------------------------------------------------


def instruction(
    opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0
) -> bytes:
    """One little-endian slot."""
    return struct.pack("<BBhi", opcode, source << 4 | destination, offset, immediate)


def move(value: int) -> bytes:
    """``r1 = value``, the immediate of 32 bits."""
    return instruction(0xB7, destination=1, immediate=value)


def wide(value: int, source: int = 0) -> bytes:
    """``r1 = value ll``, of 64 bits."""
    low, high = struct.unpack("<ii", struct.pack("<Q", value & (1 << 64) - 1))
    return instruction(0x18, destination=1, source=source, immediate=low) + instruction(
        0, immediate=high
    )


def load(width: int, offset: int) -> bytes:
    """``r1 = *(uWIDTH *)(r1 + offset)``, the width in bytes."""
    size = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}[width]
    return instruction(0x61 | size, destination=1, source=1, offset=offset)


def call(immediate: int, source: int = 1) -> bytes:
    """A call: of a helper, of a subprogram or of a kernel function by its source register."""
    return instruction(0x85, source=source, immediate=immediate)


EXIT = instruction(0x95)

# Types -------------------------------------------------------------------------------------------

INT = Int("int", 4, 32, signed=True)
U8 = Int("unsigned char", 1, 8)
U16 = Int("unsigned short", 2, 16)
U32 = Int("unsigned int", 4, 32)
U64 = Int("unsigned long", 8, 64)


class Types:
    """Types that are put together from the innermost outwards."""

    def __init__(self, base: Btf | None = None) -> None:
        self._builder = BtfBuilder(base=base)
        self._known: dict[Type, int] = {}

    def add(self, type_: Type) -> int:
        """The id of a type; the same type is added once."""
        if type_ not in self._known:
            self._known[type_] = self._builder.add(type_)
        return self._known[type_]

    def another(self, type_: Type) -> int:
        """The id of a type that is added again."""
        return self._builder.add(type_)

    def struct(self, name: str, *members: tuple[str, int, int], size: int = 64) -> int:
        """A struct of (name, type id, byte offset) members."""
        return self.add(
            Struct(name, size, tuple(Member(each, type_, 8 * at) for each, type_, at in members))
        )

    def enum(self, name: str, **values: int) -> int:
        """An enum of 32 bits."""
        return self.add(
            Enum(
                name,
                4,
                signed=any(each < 0 for each in values.values()),
                enumerators=tuple(Enumerator(*each) for each in values.items()),
            )
        )

    def btf(self, base: Btf | None = None) -> Btf:
        """All of them as BTF."""
        return Btf.from_bytes(self._builder.to_bytes(), base=base)


# Objects -----------------------------------------------------------------------------------------


def symbol(
    name: str,
    section: str | None,
    value: int = 0,
    *,
    kind: SymbolKind = SymbolKind.FUNC,
    binding: SymbolBinding = SymbolBinding.GLOBAL,
    visibility: SymbolVisibility = SymbolVisibility.DEFAULT,
) -> Symbol:
    """A symbol; one without section is undefined."""
    return Symbol(
        name=name,
        section=section,
        section_index=0 if section is None else 1,
        value=value,
        size=0,
        kind=kind,
        binding=binding,
        visibility=visibility,
    )


def extern_symbol(name: str, *, weak: bool = False) -> Symbol:
    """A symbol that the kernel is to define."""
    binding = SymbolBinding.WEAK if weak else SymbolBinding.GLOBAL
    return symbol(name, None, kind=SymbolKind.NOTYPE, binding=binding)


def refer(slot: int, to: Symbol) -> Relocation:
    """A relocation of the instruction at a slot."""
    return Relocation(offset=8 * slot, symbol=to, type=1)


def program(
    code: bytes,
    *relocations: Relocation,
    name: str = "probe",
    section: str = SECTION,
    offset: int = 0,
    autoload: bool = True,
) -> ProgramSpec:
    """A program alone in its section."""
    return ProgramSpec(
        name=name,
        section=section,
        section_index=2,
        section_offset=offset,
        instructions=code,
        relocations=relocations,
        symbol=symbol(name, section, offset),
        type=ProgramType.RAW_TRACEPOINT,
        attach_type=AttachType(0),
        attach_to="",
        flags=ProgramFlags(0),
        autoload=autoload,
        definition=None,
    )


def subprogram(
    name: str,
    slot: int,
    code: bytes,
    *relocations: Relocation,
    visibility: SymbolVisibility = SymbolVisibility.DEFAULT,
) -> FunctionSpec:
    """A function at a slot of ``.text``."""
    return FunctionSpec(
        name=name,
        section=".text",
        section_index=1,
        section_offset=8 * slot,
        instructions=code,
        relocations=relocations,
        symbol=symbol(name, ".text", 8 * slot, visibility=visibility),
    )


def core(
    type_id: int,
    access: str,
    kind: CoreRelocationKind,
    *,
    slot: int = 0,
    section: str = SECTION,
) -> CoreRelocation:
    """A CO-RE relocation of the instruction at a slot of a section."""
    return CoreRelocation(section, 8 * slot, type_id, access, kind)


def object_of(
    *programs: ProgramSpec,
    functions: Iterable[FunctionSpec] = (),
    maps: Iterable[MapSpec] = (),
    externs: Sequence[ExternSpec] = (),
    btf: Btf | None = None,
    relocations: Sequence[CoreRelocation] = (),
    function_info: Iterable[InfoSection] = (),
    line_info: Iterable[InfoSection] = (),
) -> ObjectSpec:
    """An object of these parts."""
    ext = BtfExt(
        byteorder="little",
        functions={each.section: each for each in function_info},
        lines={each.section: each for each in line_info},
        relocations=tuple(relocations),
    )
    return ObjectSpec(
        name="made",
        path=None,
        byteorder="little",
        license="GPL",
        version=None,
        programs={each.name: each for each in programs},
        functions={each.name: each for each in functions},
        maps={each.name: each for each in maps},
        variables={},
        externs=tuple(externs),
        data_sections={},
        btf=btf,
        btf_ext=ext,
        warnings=(),
    )
