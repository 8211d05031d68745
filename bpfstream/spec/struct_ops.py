"""Operations of the kernel that an object implements: a variable of section ``.struct_ops`` each.

Such a variable is a struct of function pointers; the map that stands for it is filled with programs
and, once updated, puts them in charge (kernel/bpf/bpf_struct_ops.c).
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from bpfstream.abi.elf import SectionType
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf import Btf
from bpfstream.btf.types import DataSectionEntry, Struct, Variable
from bpfstream.errors import ObjectError
from bpfstream.spec.data_sections import DataSectionSpec
from bpfstream.spec.elf import ElfObject, Section
from bpfstream.spec.functions import ProgramSpec
from bpfstream.spec.maps import MapSpec

_SECTIONS: Final = {
    ".struct_ops": MapFlags(0),
    ".struct_ops.link": MapFlags.LINK,
}
"""The sections, and the flags of their maps: those of the second are attached by a link."""


def struct_ops_sections(elf: ElfObject) -> list[Section]:
    """The sections that hold such variables; ``?`` before the name leaves one out by default."""
    return [
        section
        for section in elf.sections
        if section.type == SectionType.PROGBITS and section.name.removeprefix("?") in _SECTIONS
    ]


def read_struct_ops(
    elf: ElfObject,
    btf: Btf,
    data_sections: Mapping[str, DataSectionSpec],
    programs: Mapping[str, ProgramSpec],
) -> list[MapSpec]:
    """The maps of all struct_ops sections.

    Raises:
        ObjectError: BTF lacks a section's variables, or a pointer leads to no program.
    """
    maps = []
    for section in struct_ops_sections(elf):
        described = data_sections.get(section.name)
        if described is None:
            raise ObjectError("BTF describes no variables of this section", section=section.name)
        own = [_read_map(btf, section, entry) for entry in described.entries]
        if section.name.startswith("?") and own:
            own[0].autocreate = False  # libbpf's rule: the mark holds for the first one only
        _fill_members(elf, section, own, programs)
        maps += own
    return maps


def _read_map(btf: Btf, section: Section, entry: DataSectionEntry) -> MapSpec:
    variable = btf.type(entry.variable)
    assert isinstance(variable, Variable)  # data_sections checked it
    type_id = btf.resolve(variable.type)
    operations = btf.type(type_id)

    def error(message: str) -> ObjectError:
        return ObjectError(
            f"struct_ops {variable.name!r}: {message}", section=section.name, offset=entry.offset
        )

    if not isinstance(operations, Struct) or not operations.name:
        raise error(f"its type is {btf.describe(variable.type)}, not a named struct")
    end = entry.offset + operations.size
    if end > len(section.data):
        raise error("it ends beyond its section")
    return MapSpec(
        name=variable.name,
        type=MapType.STRUCT_OPS,
        key_size=4,
        value_size=operations.size,
        max_entries=1,
        flags=_SECTIONS[section.name.removeprefix("?")],
        value_type_id=type_id,
        contents=bytes(section.data[entry.offset : end]),
        section=section.name,
        section_offset=entry.offset,
    )


def _fill_members(
    elf: ElfObject, section: Section, maps: list[MapSpec], programs: Mapping[str, ProgramSpec]
) -> None:
    """Note which program each pointer leads to: slots are byte offsets in the struct."""
    place = {(each.section_index, each.section_offset): each.name for each in programs.values()}
    slots: dict[str, list[tuple[int, str]]] = {each.name: [] for each in maps}
    starts = [each.section_offset for each in maps]
    for relocation in elf.relocations(section):
        index = bisect_right(starts, relocation.offset) - 1
        owner = maps[index] if index >= 0 else None
        program = place.get((relocation.symbol.section_index, relocation.symbol.value))
        if owner is None or program is None:
            raise ObjectError(
                f"a pointer to {relocation.symbol.name!r}, which is not a program",
                section=section.name,
                offset=relocation.offset,
            )
        slots[owner.name].append((relocation.offset - owner.section_offset, program))
    for each in maps:
        each.initial_slots = tuple(sorted(slots[each.name]))
