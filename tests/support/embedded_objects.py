"""Finding BPF objects that programs embed as bytes, as bcc's libbpf-tools and many others do."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_ELF_IDENT = b"\x7fELF\x02"
_EM_BPF = 247
_HEADER = "HHIQQQIHHHHHH"  # Elf64_Ehdr from e_type on
_SECTION = "IIQQQQIIQQ"  # Elf64_Shdr
_SHT_NOBITS = 8


def embedded_objects(path: Path) -> Iterator[bytes]:
    """The BPF objects inside a file, in the order of their places."""
    data = path.read_bytes()
    place = data.find(_ELF_IDENT)
    while place >= 0:
        found = _object_at(memoryview(data)[place:])
        if found is not None:
            yield found
        place = data.find(_ELF_IDENT, place + len(_ELF_IDENT))


def _object_at(data: memoryview) -> bytes | None:
    """The object that begins here; it ends with its section table or its furthest section."""
    if len(data) < 64:
        return None
    order = {1: "<", 2: ">"}.get(data[5])
    if order is None:
        return None
    header = struct.unpack_from(order + _HEADER, data, 16)
    machine, table, entry_size, entries = header[1], header[5], header[10], header[11]
    if machine != _EM_BPF or entry_size != struct.calcsize(order + _SECTION):
        return None
    end = table + entries * entry_size
    if end > len(data):
        return None
    for index in range(entries):
        fields = struct.unpack_from(order + _SECTION, data, table + index * entry_size)
        kind, offset, size = fields[1], fields[4], fields[5]
        if kind != _SHT_NOBITS:
            end = max(end, offset + size)
    return bytes(data[:end]) if end <= len(data) else None
