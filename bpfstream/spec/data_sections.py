"""Where the variables of a data section lie, put right by the symbol table.

Compilers leave a data section's BTF unfinished: its size is 0, and so are the offsets of global
variables, which only the symbols know (Documentation/bpf/btf.rst, ``BTF_KIND_DATASEC``).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.abi.elf import SymbolBinding, SymbolKind
from bpfstream.btf import Btf
from bpfstream.btf.types import DataSection, DataSectionEntry, Variable
from bpfstream.errors import BtfError, ObjectError
from bpfstream.spec.functions import Symbol

EXTERN_SECTIONS: Final = frozenset({".kconfig", ".ksyms"})
"""Sections that no ELF section stands behind: their variables are the kernel's."""


class DataSectionSpec(msgspec.Struct, frozen=True):
    """A section of variables as the kernel is to see it.

    Attributes:
        name: The ELF section: ``".rodata"``.
        type_id: The ``DATASEC`` in the object's BTF.
        size: Bytes; 0 for a section of externs, whose layout the linker makes.
        entries: The variables by offset; offsets and sizes are those of the ELF section.
        hidden: Ids of variables whose symbols are hidden: static for the kernel.
    """

    name: str
    type_id: int
    size: int
    entries: tuple[DataSectionEntry, ...]
    hidden: frozenset[int]


def read_data_sections(
    btf: Btf, section_sizes: Mapping[str, int], symbols: tuple[Symbol, ...]
) -> dict[str, DataSectionSpec]:
    """Every data section of the BTF, by name.

    Raises:
        ObjectError: BTF names a section or variable that the file doesn't have.
    """
    defined = {
        symbol.name: symbol
        for symbol in symbols
        if symbol.kind is SymbolKind.OBJECT
        and symbol.binding in (SymbolBinding.GLOBAL, SymbolBinding.WEAK)
    }
    sections: dict[str, DataSectionSpec] = {}
    for type_id in range(btf.first_id, btf.end_id):
        if btf.kind(type_id) is not Kind.DATASEC:
            continue
        section = btf.type(type_id)
        assert isinstance(section, DataSection)
        if section.name not in sections:
            sections[section.name] = _complete(btf, type_id, section, section_sizes, defined)
    return sections


def _complete(
    btf: Btf,
    type_id: int,
    section: DataSection,
    section_sizes: Mapping[str, int],
    defined: Mapping[str, Symbol],
) -> DataSectionSpec:
    name = section.name
    if name in EXTERN_SECTIONS:
        entries = tuple(sorted(section.entries, key=lambda entry: entry.offset))
        return DataSectionSpec(name, type_id, section.size, entries, frozenset())
    # A linker of objects has filled in everything already (bpftool gen object).
    is_complete = section.size != 0
    size = section.size or section_sizes.get(name, 0)
    if size == 0:
        raise ObjectError("BTF describes a section that the file lacks or has empty", section=name)
    found = []
    hidden = set()
    for entry in section.entries:
        variable = btf.type(entry.variable)
        if not isinstance(variable, Variable):
            raise BtfError(f"type {entry.variable} of section {name!r} is not a variable")
        offset = entry.offset
        if variable.linkage is Linkage.GLOBAL:
            symbol = defined.get(variable.name)
            if symbol is None:
                raise ObjectError(f"variable {variable.name!r} has no symbol", section=name)
            if symbol.is_hidden:
                hidden.add(entry.variable)
            if not is_complete:
                offset = symbol.value
        found.append(DataSectionEntry(entry.variable, offset, entry.size))
    found.sort(key=lambda entry: entry.offset)
    return DataSectionSpec(name, type_id, size, tuple(found), frozenset(hidden))
