"""Functions of an object: programs that a kernel hook runs, and the subprograms they call."""

import msgspec

from bpfstream.abi.elf import SymbolBinding, SymbolKind, SymbolVisibility
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.abi.sections import SectionDefinition


class Symbol(msgspec.Struct, frozen=True):
    """A symbol of an object's symbol table.

    Attributes:
        name: As in the file; a section's symbol bears the section's name.
        section: Name of the section that it lies in, None when the object doesn't define it.
        section_index: That section's index in the ELF file, 0 for an undefined symbol. Tells
            sections of one name apart.
        value: Byte offset in the section.
        size: Bytes; 0 when the compiler didn't say.
        kind: Function, object, section or none of them.
        binding: Local, global or weak.
        visibility: Hidden and internal symbols count as static once they are linked.
    """

    name: str
    section: str | None
    section_index: int
    value: int
    size: int
    kind: SymbolKind
    binding: SymbolBinding
    visibility: SymbolVisibility

    @property
    def is_hidden(self) -> bool:
        """Whether the visibility makes a global symbol static for the kernel."""
        return self.visibility in (SymbolVisibility.HIDDEN, SymbolVisibility.INTERNAL)


class Relocation(msgspec.Struct, frozen=True):
    """A place in a function that depends on where a symbol ends up.

    Attributes:
        offset: Bytes from the function's start, a multiple of 8.
        symbol: What the instruction there refers to.
        type: The ELF relocation type, see `bpfstream.abi.elf.RelocationType`. libbpf goes by the
            instruction and the symbol instead, since compilers differ in it.
    """

    offset: int
    symbol: Symbol
    type: int


class FunctionSpec(msgspec.Struct, kw_only=True):
    """A function as the file has it.

    Attributes:
        name: The function's name.
        section: The ELF section that it lies in, with extras and ``?``.
        section_index: That section's index in the ELF file.
        section_offset: Bytes from the section's start.
        instructions: Encoded instructions of 8 bytes, in the file's byte order.
        relocations: In the order of their offsets.
        symbol: The symbol that defines the function.
    """

    name: str
    section: str
    section_index: int
    section_offset: int
    instructions: bytes
    relocations: tuple[Relocation, ...]
    symbol: Symbol


class ProgramSpec(FunctionSpec, kw_only=True):
    """A function that is loaded as a program of its own. All that its section says can be edited.

    Attributes:
        type: The program type; ``UNSPEC`` when the section's name is unknown.
        attach_type: The expected attach type; 0 where the type has none.
        attach_to: The section's extras, which say what to attach to; empty without extras.
        flags: Flags to load with.
        autoload: Whether the object's loading includes this program; False after ``?``.
        definition: The row of the section table that matched, if one did.
    """

    type: ProgramType
    attach_type: AttachType
    attach_to: str
    flags: ProgramFlags
    autoload: bool
    definition: SectionDefinition | None
