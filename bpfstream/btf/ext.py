"""Reading .BTF.ext: what BTF says of single instructions (CO-RE, functions, source lines)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from bpfstream.abi import btf as abi
from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.btf.header import byteorder_of
from bpfstream.errors import BtfError

if TYPE_CHECKING:
    from bpfstream.btf.reader import Btf

SECTION = ".BTF.ext"


class CoreRelocation(msgspec.Struct, frozen=True, gc=False):
    """A place in the code that depends on the target kernel's types.

    Attributes:
        section: The ELF section of the instruction.
        offset: Bytes from that section's start.
        type_id: The type in the object's BTF that the access begins with.
        access: Indexes joined by ``:``: ``"0:1:2"`` is member 2 of member 1 of the type.
        kind: What is asked.
    """

    section: str
    offset: int
    type_id: int
    access: str
    kind: CoreRelocationKind


class InfoSection(msgspec.Struct, frozen=True):
    """The func_info or line_info records of one ELF section, as they stand in the file.

    Attributes:
        section: The ELF section that they speak of.
        record_size: Bytes of a record; newer producers may append fields to those known here.
        records: All of them, in the file's byte order; each begins with the offset in bytes, from
            the section's start, of the instruction it is for.
    """

    section: str
    record_size: int
    records: bytes


class LineInfo(msgspec.Struct, frozen=True, gc=False):
    """The source line that an instruction, and those that follow it, came from.

    Attributes:
        offset: Bytes from the section's start.
        file: Path as the compiler was given it.
        text: The line itself, where the compiler embedded it.
        line: Line number, from 1; 0 when there is none.
        column: Column, from 1; 0 when there is none.
    """

    offset: int
    file: str
    text: str
    line: int
    column: int


class BtfExt(msgspec.Struct, frozen=True):
    """What a .BTF.ext section says.

    Attributes:
        byteorder: Of the raw records.
        functions: func_info by ELF section.
        lines: line_info by ELF section.
        relocations: CO-RE relocations of all sections, in the order of the file.
    """

    byteorder: Literal["little", "big"]
    functions: dict[str, InfoSection]
    lines: dict[str, InfoSection]
    relocations: tuple[CoreRelocation, ...]

    @classmethod
    def from_bytes(
        cls,
        data: bytes | memoryview,
        btf: Btf,
        byteorder: Literal["little", "big"] | None = None,
    ) -> BtfExt:
        """Parse the contents of a .BTF.ext section.

        Args:
            data: The contents.
            btf: The BTF of the same object, which has the strings and types.
            byteorder: What the object file has; its magic must agree.

        Raises:
            BtfError: The data are malformed, or name strings and types that `btf` lacks.
        """
        return _Parser(memoryview(data).cast("B"), btf, byteorder or btf.byteorder).parse()


def lines_of(info: InfoSection, btf: Btf) -> tuple[LineInfo, ...]:
    """The line_info records of a section, decoded.

    Raises:
        BtfError: A record names a string that `btf` lacks.
    """
    fields = struct.Struct(f"{_ORDER[btf.byteorder]}IIII{info.record_size - abi.LINE_INFO_SIZE}x")
    return tuple(
        LineInfo(offset, btf.string(file), btf.string(text), place >> 10, place & 0x3FF)
        for offset, file, text, place in fields.iter_unpack(info.records)
    )


_ORDER = {"little": "<", "big": ">"}


class _Parser:
    """One pass over .BTF.ext; it keeps the offset that an error has to name."""

    def __init__(self, data: memoryview, btf: Btf, byteorder: Literal["little", "big"]) -> None:
        self.data = data
        self.btf = btf
        self.byteorder: Literal["little", "big"] = byteorder_of(data, SECTION)
        if self.byteorder != byteorder:
            raise self.error(f"{self.byteorder}-endian data in a {byteorder}-endian object", 0)
        self.word = struct.Struct(_ORDER[byteorder] + "I")
        self.pair = struct.Struct(_ORDER[byteorder] + "II")

    def error(self, message: str, offset: int) -> BtfError:
        return BtfError(message, section=SECTION, offset=offset)

    def parse(self) -> BtfExt:
        if len(self.data) < abi.EXT_HEADER_SIZE:
            raise self.error(f"header cut off after {len(self.data)} bytes", 0)
        version, flags = self.data[2], self.data[3]
        if version != abi.VERSION or flags:
            raise self.error(f"version {version} with flags {flags:#x} is not known", 2)
        (header_size,) = self.word.unpack_from(self.data, 4)
        if not abi.EXT_HEADER_SIZE <= header_size <= len(self.data):
            raise self.error(f"header length {header_size} is impossible", 4)
        has_core = header_size >= abi.EXT_HEADER_SIZE_WITH_CORE
        return BtfExt(
            self.byteorder,
            self.infos(8, header_size, abi.FUNCTION_INFO_SIZE),
            self.infos(16, header_size, abi.LINE_INFO_SIZE),
            tuple(self.relocations(24, header_size)) if has_core else (),
        )

    def infos(self, field: int, header_size: int, minimum: int) -> dict[str, InfoSection]:
        parts: dict[tuple[str, int], list[memoryview]] = {}
        for section, size, start, end in self.sections(field, header_size, minimum):
            parts.setdefault((section, size), []).append(self.data[start:end])
        return {
            section: InfoSection(section, size, b"".join(chunks))
            for (section, size), chunks in parts.items()
        }

    def relocations(self, field: int, header_size: int) -> Iterator[CoreRelocation]:
        minimum = abi.CORE_RELOCATION_SIZE
        for section, size, start, end in self.sections(field, header_size, minimum):
            fields = struct.Struct(_ORDER[self.byteorder] + "IIII")
            for place in range(start, end, size):
                offset, type_id, access, kind = fields.unpack_from(self.data, place)
                if type_id >= self.btf.end_id:
                    raise self.error(f"CO-RE relocation of type {type_id}", place + 4)
                if kind not in _RELOCATION_KINDS:
                    raise self.error(f"CO-RE relocation kind {kind} is not known", place + 12)
                yield CoreRelocation(
                    section,
                    offset,
                    type_id,
                    self.string(access, place + 8),
                    _RELOCATION_KINDS[kind],
                )

    def string(self, offset: int, place: int) -> str:
        try:
            return self.btf.string(offset)
        except BtfError as error:
            raise self.error(str(error), place) from None

    def sections(
        self, field: int, header_size: int, minimum: int
    ) -> Iterator[tuple[str, int, int, int]]:
        """The sections of one part: ELF section, record size, start and end of the records.

        A part is a record size, then sections: name, number of records, the records.
        """
        offset, length = self.pair.unpack_from(self.data, field)
        if not length:
            return
        place, end = header_size + offset, header_size + offset + length
        if offset % 4 or end > len(self.data):
            raise self.error(f"part of {length} bytes at {offset:#x} ends outside", field)
        if length < self.word.size:
            raise self.error("part is too short for its record size", place)
        (size,) = self.word.unpack_from(self.data, place)
        if size < minimum or size % 4:
            raise self.error(f"record size {size} is impossible", place)
        place += self.word.size
        if place == end:
            raise self.error("part has no sections", place)
        while place < end:
            if end - place < self.pair.size:
                raise self.error("section header is cut off", place)
            name, count = self.pair.unpack_from(self.data, place)
            start = place + self.pair.size
            if not count or count * size > end - start:
                raise self.error(f"section of {count} records of {size} bytes", place)
            yield self.string(name, place), size, start, start + count * size
            place = start + count * size


_RELOCATION_KINDS = {kind.value: kind for kind in CoreRelocationKind}
