"""The ELF container: sections, symbols and relocations, every bound checked before it is used.

Layouts are those of elf(5) for 64-bit files. pyelftools is not used: it trusts sizes, decompresses
what says that it is compressed, and to import it takes longer than to read most objects.
"""

import struct
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from bpfstream.abi.elf import (
    EM_BPF,
    EM_NONE,
    ET_REL,
    FILE_TYPES,
    MACHINES,
    SectionFlags,
    SectionType,
    SymbolBinding,
    SymbolKind,
    SymbolVisibility,
)
from bpfstream.errors import ObjectError
from bpfstream.spec.functions import Symbol

MAX_SYMBOLS: Final = 1 << 20
"""Most symbols; objects have some thousand."""

MAX_NAME_BYTES: Final = 1 << 25
"""Most bytes of all names together: string tables can be shared so that they hold far more."""

_HEADER: Final = "HHIQQQIHHHHHH"
"""``Elf64_Ehdr`` after its 16 bytes of identification."""
_HEADER_SIZE: Final = 64
_SECTION_HEADER_SIZE: Final = 64
_SYMBOL_SIZE: Final = 24
_RELOCATION_SIZE: Final = 16

_MAGIC: Final = b"\x7fELF"
_CLASS_64: Final = 2
_BYTE_ORDERS: Final[dict[int, Literal["little", "big"]]] = {1: "little", 2: "big"}
_SECTION_TYPES: Final = {int(each): each for each in SectionType}


class Section(msgspec.Struct, frozen=True):
    """A section of the file.

    Attributes:
        index: Place in the section table.
        name: Empty for the null section.
        type: What it holds; a plain number for types that mean nothing here.
        flags: What it is for.
        size: Bytes in memory.
        data: Its contents; empty for ``NOBITS``, which is all zeros.
        link: Index of a section that this one refers to.
        info: For relocations, index of the section that they apply to.
        entry_size: Bytes of an entry, in a table.
    """

    index: int
    name: str
    type: SectionType | int
    flags: SectionFlags
    size: int
    data: memoryview
    link: int
    info: int
    entry_size: int

    @property
    def is_code(self) -> bool:
        """Whether it holds instructions."""
        return self.type == SectionType.PROGBITS and SectionFlags.EXECINSTR in self.flags


class _SectionHeader(msgspec.Struct, frozen=True, gc=False):
    """``Elf64_Shdr``."""

    name_offset: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class RelocationEntry(msgspec.Struct, frozen=True):
    """An entry of a relocation section: a place in the section that it applies to."""

    offset: int
    symbol: Symbol
    type: int


class ElfObject:
    """A relocatable BPF object file, in memory.

    Attributes:
        byteorder: Of everything in the file.
        sections: The section table; entry 0 is the null section.
        symbols: The symbol table; entry 0 is the null symbol.
    """

    def __init__(self, data: bytes) -> None:
        """Read the tables of a file.

        Raises:
            ObjectError: It is no relocatable 64-bit BPF object, or its tables don't hold together.
        """
        self._data = memoryview(data)
        self._name_bytes = 0
        self.byteorder = _byte_order(data)
        self._order = "<" if self.byteorder == "little" else ">"
        self.sections = self._read_sections(data)
        self.symbols = self._read_symbols()

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((each for each in self.sections if each.name == name), None)

    def _read_sections(self, data: bytes) -> tuple[Section, ...]:
        header = struct.unpack_from(self._order + _HEADER, data, 16)
        file_type, machine = header[:2]
        if file_type != ET_REL or machine not in (EM_BPF, EM_NONE):
            raise ObjectError(
                f"not a BPF object file: type {FILE_TYPES.get(file_type, file_type)}, "
                f"machine {MACHINES.get(machine, machine)}",
                offset=16,
                hint="compile with clang -target bpf -c",
            )
        start, (entry_size, count, names_index) = header[5], header[-3:]
        if count == 0 or entry_size != _SECTION_HEADER_SIZE:
            raise ObjectError("the section table is missing or has an unknown layout", offset=58)
        end = start + count * _SECTION_HEADER_SIZE
        if end > len(data):
            raise ObjectError("the section table reaches beyond the end of the file", offset=start)
        fields = struct.Struct(self._order + "IIQQQQIIQQ")
        headers = [_SectionHeader(*each) for each in fields.iter_unpack(self._data[start:end])]
        if names_index >= count:
            raise ObjectError(f"section {names_index}, of section names, is missing", offset=62)
        names = bytes(self._contents(names_index, headers[names_index]))
        sections = tuple(
            self._read_section(index, each, names) for index, each in enumerate(headers)
        )
        if sum(len(each.data) for each in sections) > 2 * len(data):
            raise ObjectError("sections overlap: together they are larger than the file")
        return sections

    def _read_section(self, index: int, header: _SectionHeader, names: bytes) -> Section:
        return Section(
            index=index,
            name=self._name(names, header.name_offset, f"section {index}"),
            type=_SECTION_TYPES.get(header.type, header.type),
            flags=SectionFlags(header.flags),
            size=header.size,
            data=self._contents(index, header),
            link=header.link,
            info=header.info,
            entry_size=header.entry_size,
        )

    def _contents(self, index: int, header: _SectionHeader) -> memoryview:
        if header.type in (SectionType.NOBITS, SectionType.NULL):
            return self._data[:0]
        offset, size = header.offset, header.size
        if offset + size > len(self._data):
            raise ObjectError(
                f"section {index} reaches beyond the end of the file: {size} bytes of "
                f"{len(self._data)}",
                offset=offset,
            )
        return self._data[offset : offset + size]

    def _name(self, table: bytes, offset: int, what: str) -> str:
        """The string at an offset of a string table, where it ends with NUL."""
        if offset == 0:
            return ""
        end = table.find(b"\0", offset)
        if end < 0:
            raise ObjectError(f"the name of {what} lies outside of its string table", offset=offset)
        self._name_bytes += end - offset
        if self._name_bytes > MAX_NAME_BYTES:
            raise ObjectError(f"names take more than {MAX_NAME_BYTES} bytes", offset=offset)
        return table[offset:end].decode(errors="backslashreplace")

    def _read_symbols(self) -> tuple[Symbol, ...]:
        tables = [each for each in self.sections if each.type == SectionType.SYMTAB]
        if len(tables) != 1:
            raise ObjectError(
                f"the file has {len(tables)} symbol tables where one is needed",
                hint="" if tables else "was it stripped? llvm-strip -g keeps the symbols",
            )
        table = tables[0]
        if table.entry_size != _SYMBOL_SIZE or table.size % _SYMBOL_SIZE:
            raise ObjectError("the symbol table has an unknown layout", section=table.name)
        if table.size // _SYMBOL_SIZE > MAX_SYMBOLS:
            raise ObjectError(f"more than {MAX_SYMBOLS} symbols", section=table.name)
        if not 0 < table.link < len(self.sections):
            raise ObjectError("the symbols have no names: bad sh_link", section=table.name)
        names = bytes(self.sections[table.link].data)
        fields = struct.Struct(self._order + "IBBHQQ")
        return tuple(self._symbol(names, *entry) for entry in fields.iter_unpack(table.data))

    def _symbol(
        self,
        names: bytes,
        name_offset: int,
        info: int,
        other: int,
        section_index: int,
        value: int,
        size: int,
    ) -> Symbol:
        # Index 0 is "undefined"; from 0xff00 on they are absolute, common and the like.
        defined = 0 < section_index < len(self.sections)
        section = self.sections[section_index].name if defined else None
        kind = SymbolKind(info & 0xF)
        name = self._name(names, name_offset, "a symbol")
        if kind is SymbolKind.SECTION and section is not None:
            name = section
        return Symbol(
            name=name,
            section=section,
            section_index=section_index,
            value=value,
            size=size,
            kind=kind,
            binding=SymbolBinding(info >> 4),
            visibility=SymbolVisibility(other & 3),
        )

    def relocations(self, target: Section) -> Iterator[RelocationEntry]:
        """The relocations that apply to a section, in the order of the file.

        Only ``REL`` sections count: BPF keeps addends in the instructions.

        Raises:
            ObjectError: An entry is malformed or names no symbol.
        """
        fields = struct.Struct(self._order + "QQ")
        for table in self.sections:
            if table.type != SectionType.REL or table.info != target.index:
                continue
            if table.entry_size != _RELOCATION_SIZE or table.size % _RELOCATION_SIZE:
                raise ObjectError("the relocations have an unknown layout", section=table.name)
            for number, (offset, info) in enumerate(fields.iter_unpack(table.data)):
                index = info >> 32
                if index >= len(self.symbols):
                    raise ObjectError(
                        f"relocation {number} names symbol {index} of {len(self.symbols)}",
                        section=table.name,
                        offset=number * _RELOCATION_SIZE,
                    )
                yield RelocationEntry(offset, self.symbols[index], info & 0xFFFFFFFF)


def _byte_order(data: bytes) -> Literal["little", "big"]:
    """The byte order that the identification bytes tell."""
    if data[:4] != _MAGIC:
        raise ObjectError("not an ELF file", offset=0)
    if len(data) < _HEADER_SIZE:
        raise ObjectError("the file is cut off within its header", offset=len(data))
    if data[4] != _CLASS_64:
        raise ObjectError("not a 64-bit ELF file", offset=4)
    if data[5] not in _BYTE_ORDERS:
        raise ObjectError(f"unknown byte order {data[5]}", offset=5)
    return _BYTE_ORDERS[data[5]]
