"""Writing .BTF.ext, which bpfstream itself only reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Sections = Sequence[tuple[int, Sequence[Sequence[int]]]]
"""For each ELF section: the string offset of its name, and its records as numbers."""


def encode_ext(
    byteorder: str,
    functions: Sections = (),
    lines: Sections = (),
    relocations: Sections | None = (),
    *,
    extra: int = 0,
) -> bytes:
    """The contents of a .BTF.ext section.

    Args:
        byteorder: Of everything.
        functions: func_info records: offset and type.
        lines: line_info records: offset, file, text, line << 10 | column.
        relocations: CO-RE records: offset, type, access string, kind. None: the old, short header.
        extra: Bytes by which records are longer than the fields that are known.
    """
    order = "<" if byteorder == "little" else ">"

    def part(sections: Sections, fields: int) -> bytes:
        if not sections:
            return b""
        words = struct.pack(f"{order}I", 4 * fields + extra)
        for name, records in sections:
            words += struct.pack(f"{order}II", name, len(records))
            for record in records:
                words += struct.pack(f"{order}{fields}I", *record) + bytes(extra)
        return words

    parts = [part(functions, 2), part(lines, 4)]
    if relocations is not None:
        parts.append(part(relocations, 4))
    header, offset = b"", 0
    for each in parts:
        header += struct.pack(f"{order}II", offset, len(each))
        offset += len(each)
    head = struct.pack(f"{order}HBBI", 0xEB9F, 1, 0, 8 + len(header))
    return head + header + b"".join(parts)
