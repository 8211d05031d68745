"""Maps of old objects: section ``maps``, an array of structs of five 32-bit numbers.

Each loader of its time appended fields of its own (iproute2, BCC, aya), so the structs have more
than one size; what follows the common fields is not read.
"""

import struct
from collections.abc import Sequence
from typing import Final

from bpfstream.abi.elf import SymbolKind
from bpfstream.abi.maps import MapFlags
from bpfstream.errors import ObjectError
from bpfstream.spec.btf_maps import map_type
from bpfstream.spec.elf import Section
from bpfstream.spec.functions import Symbol
from bpfstream.spec.maps import MapSpec

SECTION: Final = "maps"

_FIELDS: Final = 5
"""type, key_size, value_size, max_entries, map_flags (``struct bpf_map_def``)."""

_REQUIRED_SIZE: Final = 16
"""The first objects had no flags."""


def read_legacy_maps(section: Section, symbols: Sequence[Symbol], byteorder: str) -> list[MapSpec]:
    """The maps of section ``maps``, by their offset. Symbols tell names and number.

    Raises:
        ObjectError: The symbols don't divide the section into maps.
    """
    named = {
        symbol.value: symbol
        for symbol in symbols
        if symbol.section_index == section.index
        and symbol.name
        and symbol.kind in (SymbolKind.OBJECT, SymbolKind.NOTYPE)
    }
    if not named:
        if section.size == 0:
            return []
        raise ObjectError("no symbol names the maps", section=section.name)
    stride, rest = divmod(section.size, len(named))
    if rest or stride < _REQUIRED_SIZE:
        raise ObjectError(
            f"{section.size} bytes can't hold {len(named)} maps of one size", section=section.name
        )
    return [_read_map(section, named[offset], stride, byteorder) for offset in sorted(named)]


def _read_map(section: Section, symbol: Symbol, stride: int, byteorder: str) -> MapSpec:
    if symbol.value % stride or symbol.value + stride > len(section.data):
        raise ObjectError(
            f"map {symbol.name!r} doesn't begin at a multiple of {stride} bytes",
            section=section.name,
            offset=symbol.value,
        )
    count = min(_FIELDS, stride // 4)
    order = "<" if byteorder == "little" else ">"
    numbers = struct.unpack_from(f"{order}{count}I", section.data, symbol.value)
    kind, key_size, value_size, max_entries, flags = (*numbers, 0)[:_FIELDS]
    return MapSpec(
        name=symbol.name,
        type=map_type(kind),
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=MapFlags(flags),
        section=section.name,
        section_offset=symbol.value,
    )
