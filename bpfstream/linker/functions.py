"""The functions of an object while they are linked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from bpfstream.abi.elf import SymbolBinding
from bpfstream.abi.instructions import SLOT_SIZE
from bpfstream.asm.code import Code
from bpfstream.linker.linked import (
    BtfReference,
    KfuncReference,
    MapReference,
    PoisonedRelocation,
)
from bpfstream.spec import FunctionSpec, ObjectSpec

SUBPROGRAM_SECTION = ".text"
"""Functions of this section are no programs: programs call them."""


class SubprogramReference(msgspec.Struct, frozen=True):
    """A call of a subprogram, or a load of its address.

    Attributes:
        slot: Where it is, in the function that refers.
        target: The subprogram.
    """

    slot: int
    target: Function


class Function:
    """A program or subprogram with its own, editable instructions.

    Attributes:
        spec: What the object says of it.
        code: A copy of its instructions, changed as linking goes on.
        poisoned: What was made invalid in it so far.
        map_references: What it refers to, at slots of its own code; likewise the other lists.
    """

    def __init__(self, spec: FunctionSpec, code: Code) -> None:
        self.spec = spec
        self.code = code
        self.poisoned: list[PoisonedRelocation] = []
        self.map_references: list[MapReference] = []
        self.btf_references: list[BtfReference] = []
        self.kfunc_references: list[KfuncReference] = []
        self.subprogram_references: list[SubprogramReference] = []

    @property
    def name(self) -> str:
        """Its name in C."""
        return self.spec.name

    @property
    def is_global(self) -> bool:
        """Whether other objects could call it."""
        symbol = self.spec.symbol
        return symbol.binding != SymbolBinding.LOCAL and not symbol.is_hidden

    @property
    def first_slot(self) -> int:
        """Where it begins in its section, in slots."""
        return self.spec.section_offset // SLOT_SIZE


class FunctionTable:
    """The programs to be loaded and all subprograms, found by their place in the object file."""

    def __init__(self, spec: ObjectSpec) -> None:
        self.programs: list[Function] = []
        self.subprograms: dict[str, Function] = {}
        self._sections: dict[str, list[Function]] = {}
        section_index: dict[str, int] = {}
        for program in spec.programs.values():
            if program.autoload:
                self.programs.append(Function(program, Code(program.instructions, spec.byteorder)))
        for subprogram in spec.functions.values():
            code = Code(subprogram.instructions, spec.byteorder)
            self.subprograms[subprogram.name] = Function(subprogram, code)
        for function in (*self.programs, *self.subprograms.values()):
            # Of sections of one name the first counts, as for libbpf.
            name, index = function.spec.section, function.spec.section_index
            if index < section_index.get(name, index + 1):
                section_index[name] = index
                self._sections[name] = []
            if index == section_index[name]:
                self._sections[name].append(function)
        self._starts: dict[str, list[int]] = {}
        for name, functions in self._sections.items():
            functions.sort(key=lambda function: function.spec.section_offset)
            self._starts[name] = [function.spec.section_offset for function in functions]

    def __iter__(self) -> Iterator[Function]:
        yield from self.programs
        yield from self.subprograms.values()

    def find(self, section: str, offset: int) -> tuple[Function, int] | None:
        """The function that holds a byte of a section, and the slot in the function."""
        index = bisect_right(self._starts.get(section, ()), offset) - 1
        if index < 0:
            return None
        function = self._sections[section][index]
        slot = (offset - function.spec.section_offset) // SLOT_SIZE
        return (function, slot) if slot < len(function.code) else None

    def subprogram_at(self, slot: int) -> Function | None:
        """The subprogram that holds a slot of ``.text``."""
        found = self.find(SUBPROGRAM_SECTION, slot * SLOT_SIZE)
        return found[0] if found else None
