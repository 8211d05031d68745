"""The head of a .BTF section: where its types and strings lie, checked against its size."""

import struct
from typing import Literal

import msgspec

from bpfstream.abi import btf as abi
from bpfstream.errors import BtfError

SECTION = ".BTF"


class Header(msgspec.Struct, frozen=True, gc=False):
    """Where the parts of BTF lie, in bytes from its first one.

    Attributes:
        byteorder: Of everything in it.
        types: Start and end of the type records.
        strings: Start and end of the string table.
        layout: Start and end of the table of record sizes by kind; empty in most BTF.
    """

    byteorder: Literal["little", "big"]
    types: tuple[int, int]
    strings: tuple[int, int]
    layout: tuple[int, int]


def byteorder_of(data: memoryview, section: str) -> Literal["little", "big"]:
    """The byte order of .BTF or .BTF.ext, told from its magic.

    Raises:
        BtfError: It is empty or begins with something else.
    """
    magic = bytes(data[:2])
    if magic == abi.MAGIC.to_bytes(2, "little"):
        return "little"
    if magic == abi.MAGIC.to_bytes(2, "big"):
        return "big"
    raise BtfError(f"no BTF: it begins with {magic.hex() or 'nothing'}", section=section, offset=0)


def parse_header(data: memoryview) -> Header:
    """Read the header of .BTF.

    A header longer than is known here is taken, as its length says where the data begin.

    Raises:
        BtfError: The header is cut off, of another version, or its parts overlap or lie outside.
    """
    byteorder = byteorder_of(data, SECTION)
    if len(data) < abi.HEADER_SIZE:
        raise BtfError(f"BTF header cut off after {len(data)} bytes", section=SECTION, offset=0)
    order = "<" if byteorder == "little" else ">"
    version, flags, size = struct.unpack_from(order + "BBI", data, 2)
    if version != abi.VERSION:
        raise BtfError(f"BTF version {version} is not known", section=SECTION, offset=2)
    if flags:
        raise BtfError(f"BTF flags {flags:#x} are not known", section=SECTION, offset=3)
    if not abi.HEADER_SIZE <= size <= len(data):
        raise BtfError(f"BTF header length {size} is impossible", section=SECTION, offset=4)

    def part(field: int, name: str) -> tuple[int, int]:
        offset, length = struct.unpack_from(order + "II", data, field)
        if offset % 4 and name != "string":
            raise BtfError(f"BTF {name} section is not aligned", section=SECTION, offset=field)
        if size + offset + length > len(data):
            raise BtfError(
                f"BTF {name} section of {length} bytes ends outside", section=SECTION, offset=field
            )
        return size + offset, size + offset + length

    types, strings = part(8, "type"), part(16, "string")
    layout = (types[1], types[1])
    if size >= abi.HEADER_SIZE_WITH_LAYOUT:
        offset, length = struct.unpack_from(order + "II", data, abi.HEADER_SIZE)
        if length or offset:
            layout = part(abi.HEADER_SIZE, "layout")
    if types[1] > strings[0] or not types[1] <= layout[0] <= layout[1] <= strings[0]:
        raise BtfError("BTF sections overlap or are out of order", section=SECTION, offset=8)
    return Header(byteorder, types, strings, layout)
