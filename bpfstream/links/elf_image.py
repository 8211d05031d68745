"""`ElfImage`: the headers and tables of a program or shared library, out of a memory map.

They are read with `struct` and not through pyelftools: what is wanted are two small tables and one
pass over the symbols, and a library may have 100,000 of them. Layouts are those of elf(5). Every
offset and size in a file is taken for a lie until it is seen to lie inside the file.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from bpfstream.errors import ObjectError

SHT_SYMTAB, SHT_NOBITS, SHT_DYNSYM = 2, 8, 11
SHT_GNU_VERDEF, SHT_GNU_VERSYM = 0x6FFFFFFD, 0x6FFFFFFF

_MAGIC: Final = b"\x7fELF"
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_NOTE = 1, 4
_PF_EXECUTE = 1
_NT_GNU_BUILD_ID = 3
_MAX_NAME = 1 << 16
"""Bytes after which a string without an end is cut; the longest C++ names stay below."""


class Segment(NamedTuple):
    """A program header, as far as it is needed: a part of the file and its virtual address."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int


class Section(NamedTuple):
    """A section header, as far as it is needed. `link` and `info` mean what `type` says."""

    name_offset: int
    type: int
    offset: int
    size: int
    link: int
    info: int


class Symbol(NamedTuple):
    """A symbol table's entry. `section` 0 means that it is defined elsewhere."""

    name_offset: int
    kind: int
    binding: int
    section: int
    value: int


class _Layout(NamedTuple):
    """The structs of one ELF class: formats without byte order, and where the wanted fields are."""

    header: str
    segment: str
    segment_fields: tuple[int, int, int, int, int]
    section: str
    symbol: str
    symbol_fields: tuple[int, int, int, int]


_LAYOUTS: Final = {
    1: _Layout("HHIIIIIHHHHHH", "8I", (0, 6, 1, 2, 4), "10I", "IIIBBH", (0, 3, 5, 1)),
    2: _Layout("HHIQQQIHHHHHH", "IIQQQQQQ", (0, 1, 2, 3, 5), "IIQQQQIIQQ", "IBBHQQ", (0, 1, 3, 4)),
}
_BYTE_ORDERS: Final = {1: "<", 2: ">"}


class ElfImage:
    """A mapped ELF file of any class and byte order; a context manager that unmaps it.

    Attributes:
        path: The file.
        byteorder: ``"<"`` or ``">"``, as `struct` writes it.

    Raises:
        ObjectError: The file is no program or shared library, or its headers are malformed.
        OSError: The file can't be opened or mapped.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ObjectError(f"{self.path} is empty")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._read_headers()
        except BaseException:
            self._data.close()
            raise

    def close(self) -> None:
        """Unmap the file. Idempotent."""
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_headers(self) -> None:
        identification = self._data[:16]
        if not identification.startswith(_MAGIC) or len(identification) < 16:
            raise ObjectError(f"{self.path} is no ELF file")
        layout = _LAYOUTS.get(identification[4])
        byteorder = _BYTE_ORDERS.get(identification[5])
        if layout is None or byteorder is None:
            raise ObjectError(f"{self.path} is of no known ELF class and byte order", offset=4)
        self._layout, self.byteorder = layout, byteorder
        header = self.unpack(layout.header, 16, "ELF header")
        if header[0] not in (_ET_EXEC, _ET_DYN):
            raise ObjectError(f"{self.path} is ELF, but no program or shared library", offset=16)
        segments_at, sections_at = header[4:6]
        segment_size, segment_count, section_size, section_count, names_index = header[8:13]
        self._segments = tuple(
            Segment(*(fields[place] for place in layout.segment_fields))
            for fields in self._table(layout.segment, segments_at, segment_size, segment_count)
        )
        if sections_at and not section_count:
            # 0xff00 sections or more: the first one's size is their number (gABI, e_shnum).
            section_count = self.unpack(layout.section, sections_at, "section header")[5]
        self._sections = tuple(
            Section(*fields[:2], *fields[4:8])
            for fields in self._table(layout.section, sections_at, section_size, section_count)
        )
        self._names_index = names_index

    def _table(
        self, layout: str, offset: int, entry_size: int, count: int
    ) -> Iterator[tuple[int, ...]]:
        if not offset or not count:
            return
        entry = struct.Struct(self.byteorder + layout)
        if entry_size < entry.size:
            raise ObjectError(f"{self.path}: header entries are too short", offset=offset)
        data = self.read(offset, entry_size * count, "header table")
        for start in range(0, entry_size * count, entry_size):
            yield entry.unpack_from(data, start)

    # Reading -----------------------------------------------------------------------------------

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Bytes of the file.

        Raises:
            ObjectError: They lie beyond its end.
        """
        if offset + size > len(self._data):
            raise ObjectError(f"{self.path}: the {what} ends beyond the file's end", offset=offset)
        return self._data[offset : offset + size]

    def unpack(self, layout: str, offset: int, what: str) -> tuple[int, ...]:
        """Integers of the file, by a `struct` format without byte order.

        Raises:
            ObjectError: They lie beyond its end.
        """
        entry = struct.Struct(self.byteorder + layout)
        return entry.unpack(self.read(offset, entry.size, what))

    def contents(self, section: Section) -> bytes:
        """A section's bytes; none for one that takes no space in the file."""
        if section.type == SHT_NOBITS:
            return b""
        return self.read(section.offset, section.size, "section")

    def sections(self, section_type: int) -> Iterator[Section]:
        """The sections of a type, in order."""
        return (section for section in self._sections if section.type == section_type)

    def section_named(self, name: str) -> Section | None:
        """The first section of a name."""
        if self._names_index >= len(self._sections):
            return None
        names = self.contents(self._sections[self._names_index])
        wanted = (one for one in self._sections if text_at(names, one.name_offset) == name)
        return next(wanted, None)

    def strings_of(self, section: Section) -> bytes:
        """The string table that a symbol or version table refers to."""
        if section.link >= len(self._sections):
            raise ObjectError(f"{self.path}: a table has no strings", offset=section.offset)
        return self.contents(self._sections[section.link])

    def symbols(self, section: Section) -> Iterator[Symbol]:
        """The entries of a symbol table, in order."""
        entry = struct.Struct(self.byteorder + self._layout.symbol)
        name, info, index, value = self._layout.symbol_fields
        data = self.contents(section)
        for fields in entry.iter_unpack(data[: len(data) - len(data) % entry.size]):
            kind_and_binding = fields[info]
            yield Symbol(
                fields[name],
                kind_and_binding & 0xF,
                kind_and_binding >> 4,
                fields[index],
                fields[value],
            )

    # Places ------------------------------------------------------------------------------------

    def file_offset(self, address: int) -> int:
        """Where in the file the code lies that is loaded at a virtual address.

        Raises:
            ObjectError: No executable segment loads it from the file.
        """
        for segment in self._segments:
            if segment.type == _PT_LOAD and segment.flags & _PF_EXECUTE:
                inside = address - segment.address
                if 0 <= inside < segment.file_size:
                    return segment.offset + inside
        raise ObjectError(f"{self.path}: no executable segment loads address {address:#x}")

    @property
    def build_id(self) -> bytes | None:
        """What the linker called this build; its separate debug file bears the same."""
        for segment in self._segments:
            if segment.type == _PT_NOTE:
                notes = self.read(segment.offset, segment.file_size, "note segment")
                found = self._build_id_in(notes)
                if found is not None:
                    return found
        return None

    def _build_id_in(self, notes: bytes) -> bytes | None:
        head = struct.Struct(self.byteorder + "III")
        start = 0
        while start + head.size <= len(notes):
            name_size, size, note_type = head.unpack_from(notes, start)
            name_at = start + head.size
            description_at = name_at + (name_size + 3 & ~3)
            if note_type == _NT_GNU_BUILD_ID and notes[name_at : name_at + 4] == b"GNU\0":
                return notes[description_at : description_at + size] or None
            start = description_at + (size + 3 & ~3)
        return None


def text_at(strings: bytes, offset: int) -> str:
    """The string that begins at an offset of a string table and ends with NUL."""
    end = strings.find(b"\0", offset, offset + _MAX_NAME)
    return strings[offset : end if end >= 0 else offset + _MAX_NAME].decode(errors="replace")
