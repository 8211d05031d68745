"""Making BPF ELF files byte by byte, also such as no compiler would write."""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from bpfstream.abi.elf import SectionFlags, SymbolBinding, SymbolKind, SymbolVisibility

PROGBITS, SYMTAB, STRTAB, NOBITS, REL = 1, 2, 3, 8, 9
CODE = SectionFlags.ALLOC | SectionFlags.EXECINSTR
DATA = SectionFlags.ALLOC | SectionFlags.WRITE
EXIT = bytes.fromhex("b700000000000000 9500000000000000")
"""r0 = 0; exit."""


class _Section(NamedTuple):
    name: str
    data: bytes
    type: int
    flags: int
    size: int
    link: int
    info: int
    entry_size: int


class ElfFile:
    """A relocatable BPF object in the making: sections, symbols and relocations in any order."""

    def __init__(self, byteorder: Literal["little", "big"] = "little") -> None:
        self.order = "<" if byteorder == "little" else ">"
        self._data_encoding = 1 if byteorder == "little" else 2
        self._sections = [_Section("", b"", 0, 0, 0, 0, 0, 0)]
        self._symbols = [struct.pack("24x")]
        self._names = bytearray(b"\0")
        self._relocations: dict[int, list[bytes]] = {}
        self.machine = 247

    def section(
        self,
        name: str,
        data: bytes = b"",
        *,
        type: int = PROGBITS,  # noqa: A002
        flags: int = DATA,
        size: int | None = None,
        link: int = 0,
        info: int = 0,
        entry_size: int = 0,
    ) -> int:
        """Add a section; its index."""
        size = len(data) if size is None else size
        self._sections.append(_Section(name, data, type, flags, size, link, info, entry_size))
        return len(self._sections) - 1

    def symbol(
        self,
        name: str,
        section: int,
        value: int = 0,
        size: int = 0,
        *,
        kind: int = SymbolKind.OBJECT,
        binding: int = SymbolBinding.GLOBAL,
        visibility: int = SymbolVisibility.DEFAULT,
    ) -> int:
        """Add a symbol; its index."""
        fields = (self._name(name), binding << 4 | kind, visibility, section, value, size)
        self._symbols.append(struct.pack(f"{self.order}IBBHQQ", *fields))
        return len(self._symbols) - 1

    def program(self, name: str, section: str, code: bytes = EXIT) -> int:
        """Add a section that is one program; the section's index."""
        index = self.section(section, code, flags=CODE)
        self.symbol(name, index, 0, len(code), kind=SymbolKind.FUNC)
        return index

    def relocate(self, section: int, offset: int, symbol: int, type: int = 1) -> None:  # noqa: A002
        """Add a relocation of a place in a section."""
        entry = struct.pack(f"{self.order}QQ", offset, symbol << 32 | type)
        self._relocations.setdefault(section, []).append(entry)

    def to_bytes(self) -> bytes:
        """The file."""
        sections = list(self._sections)
        strings = len(sections) + 1 + len(self._relocations)
        symbols = b"".join(self._symbols)
        sections.append(_Section(".symtab", symbols, SYMTAB, 0, len(symbols), strings, 0, 24))
        table = len(sections) - 1
        for target, entries in self._relocations.items():
            data = b"".join(entries)
            name = f".rel{sections[target].name}"
            sections.append(_Section(name, data, REL, 0, len(data), table, target, 16))
        names = [self._name(section.name) for section in sections] + [self._name(".strtab")]
        text = bytes(self._names)
        sections.append(_Section(".strtab", text, STRTAB, 0, len(text), 0, 0, 0))
        body = bytearray()
        headers = bytearray()
        for name, section in zip(names, sections, strict=True):
            headers += struct.pack(
                f"{self.order}IIQQQQIIQQ",
                *(name, section.type, section.flags, 0, 64 + len(body), section.size),
                *(section.link, section.info, 8, section.entry_size),
            )
            body += section.data + bytes(-len(section.data) % 8)
        identification = struct.pack("4sBBBxxxxxxxxx", b"\x7fELF", 2, self._data_encoding, 1)
        header = struct.pack(
            f"{self.order}HHIQQQIHHHHHH",
            *(1, self.machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64),
            *(len(sections), len(sections) - 1),
        )
        return bytes(identification + header + body + headers)

    def _name(self, name: str) -> int:
        if not name:
            return 0
        self._names += name.encode() + b"\0"
        return len(self._names) - len(name.encode()) - 1
