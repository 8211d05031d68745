"""Function and line information of a program that subprograms were appended to.

``.BTF.ext`` has records for whole ELF sections, with offsets in bytes; the kernel wants those of
one program, with offsets in instructions of the joined code (libbpf.c: adjust_prog_btf_ext_info).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal

from bpfstream.abi.instructions import SLOT_SIZE
from bpfstream.btf.ext import InfoSection
from bpfstream.errors import LinkingError
from bpfstream.linker.functions import Function, FunctionTable


class InfoRecords:
    """One kind of information of an object, function or line, sorted by the functions it is on."""

    def __init__(
        self,
        sections: Mapping[str, InfoSection],
        functions: FunctionTable,
        byteorder: Literal["little", "big"],
    ) -> None:
        self._sections = sections
        self._offset = struct.Struct("<I" if byteorder == "little" else ">I")
        self._starts: dict[Function, list[int]] = {}
        for name, section in sections.items():
            last = len(section.records) - section.record_size
            for start in range(0, last + 1, section.record_size):
                (offset,) = self._offset.unpack_from(section.records, start)
                place = functions.find(name, offset)
                if place is not None:
                    self._starts.setdefault(place[0], []).append(start)

    def of_program(self, positions: Mapping[Function, int]) -> tuple[bytes, int]:
        """The records of a program and its subprograms, and the bytes of each record.

        Empty when there are none for the program itself.

        Args:
            positions: Where each function begins in the joined code; the program is the first.

        Raises:
            LinkingError: The program has records and one of its subprograms has none, which the
                kernel would refuse.
        """
        collected = bytearray()
        record_size = 0
        for function, position in positions.items():
            starts = self._starts.get(function)
            if starts is None:
                if not collected:
                    return b"", 0
                raise LinkingError(
                    "it lacks the function or line information that its callers have",
                    program=function.name,
                )
            section = self._sections[function.spec.section]
            if record_size not in (0, section.record_size):
                raise LinkingError("information records differ in size", program=function.name)
            record_size = section.record_size
            for start in starts:
                record = bytearray(section.records[start : start + record_size])
                (offset,) = self._offset.unpack_from(record)
                slot = offset // SLOT_SIZE - function.first_slot + position
                self._offset.pack_into(record, 0, slot)
                collected += record
        return bytes(collected), record_size
