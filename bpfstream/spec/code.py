"""Functions out of sections of code: programs, and the subprograms of ``.text``."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from bpfstream.abi.elf import SymbolBinding, SymbolKind, SymbolVisibility
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.abi.sections import split_section
from bpfstream.errors import ObjectError
from bpfstream.spec.elf import ElfObject, Section
from bpfstream.spec.functions import FunctionSpec, ProgramSpec, Relocation, Symbol

SUBPROGRAM_SECTION: Final = ".text"

_INSTRUCTION_SIZE: Final = 8
_VISIBLE: Final = (SymbolBinding.GLOBAL, SymbolBinding.WEAK)


def read_functions(elf: ElfObject) -> tuple[dict[str, ProgramSpec], dict[str, FunctionSpec]]:
    """The programs and the subprograms of a file, in the order of sections and offsets.

    Raises:
        ObjectError: A function or relocation doesn't lie where it could.
    """
    symbols: defaultdict[int, list[Symbol]] = defaultdict(list)
    for symbol in elf.symbols:
        symbols[symbol.section_index].append(symbol)
    programs: dict[str, ProgramSpec] = {}
    functions: dict[str, FunctionSpec] = {}
    for section in elf.sections:
        if not section.is_code or section.size == 0:
            continue
        for function in _SectionOfCode(elf, section, symbols[section.index]).functions():
            if section.name == SUBPROGRAM_SECTION:
                taken = function.name in functions
                key = f"{function.name}+{function.section_offset:#x}" if taken else function.name
                functions[key] = function
            elif function.name in programs:
                raise ObjectError(
                    f"two programs are called {function.name!r}", section=section.name
                )
            else:
                programs[function.name] = _program(function)
    return programs, functions


def _program(function: FunctionSpec) -> ProgramSpec:
    """The program that a function is by the name of its section."""
    definition, extras = split_section(function.section)
    return ProgramSpec(
        name=function.name,
        section=function.section,
        section_index=function.section_index,
        section_offset=function.section_offset,
        instructions=function.instructions,
        relocations=function.relocations,
        symbol=function.symbol,
        type=definition.type if definition else ProgramType.UNSPEC,
        attach_type=definition.attach_type if definition else AttachType(0),
        attach_to=extras,
        flags=definition.flags if definition else ProgramFlags(0),
        autoload=not function.section.startswith("?"),
        definition=definition,
    )


class _SectionOfCode:
    """A section of instructions, to be divided into functions."""

    def __init__(self, elf: ElfObject, section: Section, symbols: Sequence[Symbol]) -> None:
        self._elf = elf
        self._section = section
        self._symbols = symbols

    def functions(self) -> Iterator[FunctionSpec]:
        relocations = self._relocations()
        offsets = [relocation.offset for relocation in relocations]
        end_before = 0
        place_before = (-1, -1)
        for symbol, size in sorted(self._extents(), key=lambda each: each[0].value):
            start, end = symbol.value, symbol.value + size
            self._check_extent(symbol, size)
            if (start, end) != place_before:  # otherwise another name of the same function
                if start < end_before:
                    raise self._error(f"function {symbol.name!r} overlaps the one before it", start)
                instructions = bytes(self._section.data[start:end])
                own = tuple(
                    Relocation(each.offset - start, each.symbol, each.type)
                    for each in relocations[bisect_left(offsets, start) : bisect_left(offsets, end)]
                )
                end_before, place_before = end, (start, end)
            yield FunctionSpec(
                name=symbol.name,
                section=self._section.name,
                section_index=self._section.index,
                section_offset=start,
                instructions=instructions,
                relocations=own,
                symbol=symbol,
            )

    def _error(self, message: str, offset: int) -> ObjectError:
        return ObjectError(message, section=self._section.name, offset=offset)

    def _check_extent(self, symbol: Symbol, size: int) -> None:
        name, start = symbol.name, symbol.value
        if not name:
            raise self._error("a function has no name", start)
        if size == 0 or size % _INSTRUCTION_SIZE or start % _INSTRUCTION_SIZE:
            raise self._error(
                f"function {name!r} has {size} bytes: not a number of 8-byte instructions", start
            )
        if start + size > self._section.size:
            raise self._error(f"function {name!r} ends beyond its section", start)
        if self._section.name != SUBPROGRAM_SECTION and symbol.binding is SymbolBinding.LOCAL:
            raise ObjectError(
                f"static function {name!r} is in a section of programs",
                section=self._section.name,
                offset=start,
                hint="put it into .text, by leaving SEC() away",
            )

    def _extents(self) -> list[tuple[Symbol, int]]:
        """The functions' symbols, and the bytes from there that are theirs."""
        functions = [symbol for symbol in self._symbols if symbol.kind is SymbolKind.FUNC]
        if functions:
            return [(symbol, symbol.size) for symbol in functions]
        # Compilers before LLVM 7 mark no functions and tell no sizes.
        labels = [
            symbol
            for symbol in self._symbols
            if symbol.kind is SymbolKind.NOTYPE and symbol.binding in _VISIBLE and symbol.name
        ]
        if not labels and self._section.name != SUBPROGRAM_SECTION:
            labels = [self._nameless_program()]
        ends = sorted({symbol.value for symbol in labels} | {self._section.size})
        return [
            (symbol, ends[bisect_left(ends, symbol.value + 1)] - symbol.value)
            if symbol.value < self._section.size
            else (symbol, 0)
            for symbol in labels
        ]

    def _nameless_program(self) -> Symbol:
        """A symbol for a section that is one program and has none: it bears the section's name."""
        return Symbol(
            name=self._section.name,
            section=self._section.name,
            section_index=self._section.index,
            value=0,
            size=self._section.size,
            kind=SymbolKind.NOTYPE,
            binding=SymbolBinding.GLOBAL,
            visibility=SymbolVisibility.DEFAULT,
        )

    def _relocations(self) -> list[Relocation]:
        """The section's relocations by offset, from the section's start."""
        relocations = []
        for each in self._elf.relocations(self._section):
            if each.offset % _INSTRUCTION_SIZE or each.offset >= self._section.size:
                raise self._error("a relocation outside of any instruction", each.offset)
            if each.symbol.section_index >= len(self._elf.sections):
                raise self._error(
                    f"a relocation to {each.symbol.name!r}, which lies in no section", each.offset
                )
            relocations.append(Relocation(each.offset, each.symbol, each.type))
        return sorted(relocations, key=lambda relocation: relocation.offset)
