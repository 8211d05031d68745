"""Sections of global variables as the maps that hold them: arrays of one entry."""

import string
from collections.abc import Iterable, Mapping
from typing import Final

from bpfstream.abi.btf import Linkage
from bpfstream.abi.elf import SectionType
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf import Btf
from bpfstream.btf.types import Variable
from bpfstream.errors import ObjectError
from bpfstream.spec.data_sections import DataSectionSpec
from bpfstream.spec.elf import Section
from bpfstream.spec.maps import KERNEL_NAME_LENGTH, MapSpec

MAX_SECTION_SIZE: Final = (1 << 31) - 1
"""Bytes of the largest array value (``INT_MAX``; kernel/bpf/arraymap.c, array_map_alloc_check)."""

_NAME_BYTES: Final = frozenset((string.ascii_letters + string.digits + "_.").encode())
"""What a name in the kernel is made of (kernel/bpf/syscall.c, ``bpf_obj_name_cpy``)."""

_LEAST_SUFFIX: Final = 7
"""Bytes of a kernel name that are kept for the section: those of ``.rodata``."""


def read_data_maps(
    sections: Iterable[Section],
    btf: Btf | None,
    data_sections: Mapping[str, DataSectionSpec],
    object_name: str,
) -> list[MapSpec]:
    """The maps of all ``.data``, ``.rodata`` and ``.bss`` sections, in the order of the file.

    Raises:
        ObjectError: A section is larger than a map can be.
    """
    return [
        _read_map(section, btf, data_sections.get(section.name), object_name)
        for section in sections
        if _holds_variables(section)
    ]


def _holds_variables(section: Section) -> bool:
    if section.size == 0 or section.is_code:
        return False
    if section.type == SectionType.NOBITS:
        return _is_named(section.name, ".bss")
    return section.type == SectionType.PROGBITS and (
        _is_named(section.name, ".data") or _is_named(section.name, ".rodata")
    )


def _is_named(name: str, base: str) -> bool:
    return name == base or name.startswith(base + ".")


def _read_map(
    section: Section, btf: Btf | None, data_section: DataSectionSpec | None, object_name: str
) -> MapSpec:
    if section.size > MAX_SECTION_SIZE:
        raise ObjectError(
            f"{section.size} bytes of variables: a map holds {MAX_SECTION_SIZE} at most",
            section=section.name,
        )
    flags = MapFlags(0)
    if _is_named(section.name, ".rodata"):
        flags |= MapFlags.RDONLY_PROG
    if btf is not None and data_section is not None and _has_global(btf, data_section):
        flags |= MapFlags.MMAPABLE
    return MapSpec(
        name=section.name,
        type=MapType.ARRAY,
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=flags,
        value_type_id=data_section.type_id if data_section is not None else 0,
        contents=bytes(section.data) if section.type == SectionType.PROGBITS else None,
        section=section.name,
        kernel_name=data_map_kernel_name(object_name, section.name),
    )


def _has_global(btf: Btf, section: DataSectionSpec) -> bool:
    """Whether another file could see a variable: user space then gets to map the section."""
    for entry in section.entries:
        variable = btf.type(entry.variable)
        if (
            isinstance(variable, Variable)
            and variable.linkage is not Linkage.STATIC
            and entry.variable not in section.hidden
        ):
            return True
    return False


def data_map_kernel_name(object_name: str, section_name: str) -> str:
    """The name that libbpf gives such a map in the kernel, at most 15 bytes.

    ``"execsnoop"`` and ``".rodata"`` give ``"execsnoo.rodata"``; a section with a name of its own,
    such as ``".rodata.filters"``, stays without the object's (libbpf.c, ``internal_map_name``).
    """
    prefix, section = object_name.encode(), section_name.encode()
    if b"." in section[1:]:
        name = section[:KERNEL_NAME_LENGTH]
    else:
        suffix = min(max(_LEAST_SUFFIX, len(section)), KERNEL_NAME_LENGTH)
        name = prefix[: KERNEL_NAME_LENGTH - suffix] + section[:suffix]
    return "".join(chr(byte) if byte in _NAME_BYTES else "_" for byte in name)
