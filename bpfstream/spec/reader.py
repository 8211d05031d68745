"""From an ELF file to an `ObjectSpec`: each section goes to the one that understands it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bpfstream.abi.btf import Linkage
from bpfstream.abi.elf import SectionType
from bpfstream.abi.maps import MapType
from bpfstream.btf import Btf
from bpfstream.btf.ext import BtfExt
from bpfstream.btf.types import Variable
from bpfstream.errors import BtfError, ObjectError
from bpfstream.spec import btf_maps, data_maps, legacy_maps, struct_ops
from bpfstream.spec.code import read_functions
from bpfstream.spec.data_sections import DataSectionSpec, read_data_sections
from bpfstream.spec.elf import ElfObject, Section
from bpfstream.spec.externs import read_externs
from bpfstream.spec.functions import ProgramSpec
from bpfstream.spec.maps import MapSpec
from bpfstream.spec.object import ARENA_SECTION, ObjectSpec
from bpfstream.spec.variables import VariableSpec

MAX_FILE_SIZE: Final = 1 << 28
"""Bytes of the largest file that is read: objects have some hundred KiB."""

_VERSION_SIZE: Final = 4

_MAX_LICENSE: Final = 63
"""Bytes of a license that libbpf passes on."""


def read_file(path: Path) -> ObjectSpec:
    """Read an object file: see `ObjectSpec.from_file`."""
    try:
        return _Reader(_read_bytes(path), path.name, path).read()
    except ObjectError as error:
        error.path = str(path)
        raise


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ObjectError(f"the file can't be read: {reason}") from error
    if len(data) > MAX_FILE_SIZE:
        raise ObjectError(f"the file has more than {MAX_FILE_SIZE} bytes")
    return data


def read_object(data: bytes, name: str) -> ObjectSpec:
    """Read an object from memory: see `ObjectSpec.from_bytes`."""
    return _Reader(data, name, None).read()


class _Reader:
    """One object on its way from bytes to an `ObjectSpec`."""

    def __init__(self, data: bytes, file_name: str, path: Path | None) -> None:
        self._elf = ElfObject(data)
        self._name = file_name.partition(".")[0]
        self._path = path
        self._warnings: list[str] = []

    def read(self) -> ObjectSpec:
        elf = self._elf
        btf = self._read_btf()
        btf_ext = self._read_btf_ext(btf) if btf is not None else None
        sizes = {section.name: section.size for section in reversed(elf.sections)}
        data_sections = read_data_sections(btf, sizes, elf.symbols) if btf is not None else {}
        externs = read_externs(btf, data_sections, elf.symbols)
        programs, functions = read_functions(elf)
        maps = self._read_maps(btf, data_sections, programs)
        return ObjectSpec(
            name=self._name,
            path=self._path,
            byteorder=elf.byteorder,
            license=self._read_license(),
            version=self._read_version(),
            programs=programs,
            functions=functions,
            maps=maps,
            variables=_variables(btf, data_sections, maps) if btf is not None else {},
            externs=externs,
            data_sections=data_sections,
            btf=btf,
            btf_ext=btf_ext,
            warnings=tuple(self._warnings),
        )

    def _read_license(self) -> str:
        section = self._elf.section("license")
        if section is None:
            return ""
        text, _, _ = bytes(section.data[:_MAX_LICENSE]).partition(b"\0")
        return text.decode(errors="replace")

    def _read_version(self) -> int | None:
        section = self._elf.section("version")
        if section is None:
            return None
        if len(section.data) != _VERSION_SIZE:
            raise ObjectError(f"a version has {_VERSION_SIZE} bytes", section=section.name)
        return int.from_bytes(section.data, self._elf.byteorder)

    # BTF

    def _progbits(self, name: str) -> Section | None:
        section = self._elf.section(name)
        return section if section is not None and section.type == SectionType.PROGBITS else None

    def _read_btf(self) -> Btf | None:
        section = self._progbits(".BTF")
        needed = self._what_needs_btf()
        if section is None:
            if needed:
                raise ObjectError(
                    f"there is no BTF, which {needed} needs", hint="compile with clang -g"
                )
            return None
        try:
            btf = Btf.from_bytes(bytes(section.data))
            if btf.byteorder != self._elf.byteorder:
                raise BtfError(f"BTF is {btf.byteorder}-endian and the file is not", section=".BTF")
        except BtfError as error:
            if needed:
                raise
            self._warnings.append(f"BTF left out: {error}")
            return None
        return btf

    def _what_needs_btf(self) -> str:
        """What can't be read without BTF: empty for nothing."""
        if self._elf.section(btf_maps.SECTION) is not None:
            return "section .maps"
        if struct_ops.struct_ops_sections(self._elf):
            return "section .struct_ops"
        return ""

    def _read_btf_ext(self, btf: Btf) -> BtfExt | None:
        section = self._progbits(".BTF.ext")
        if section is None:
            return None
        try:
            return BtfExt.from_bytes(bytes(section.data), btf, self._elf.byteorder)
        except BtfError as error:
            if self._what_needs_btf():
                raise
            self._warnings.append(f".BTF.ext left out: {error}")
            return None

    # Maps

    def _read_maps(
        self,
        btf: Btf | None,
        data_sections: Mapping[str, DataSectionSpec],
        programs: Mapping[str, ProgramSpec],
    ) -> dict[str, MapSpec]:
        elf = self._elf
        maps: list[MapSpec] = []
        if (legacy := elf.section(legacy_maps.SECTION)) is not None:
            maps += legacy_maps.read_legacy_maps(legacy, elf.symbols, elf.byteorder)
        if btf is not None:
            maps += self._read_btf_maps(btf, data_sections, programs)
        maps += data_maps.read_data_maps(elf.sections, btf, data_sections, self._name)
        self._fill_arena(maps)
        if btf is not None:
            maps += struct_ops.read_struct_ops(elf, btf, data_sections, programs)
        by_name = {each.name: each for each in maps}
        if len(by_name) < len(maps):
            raise ObjectError("two maps have one name")
        return by_name

    def _read_btf_maps(
        self,
        btf: Btf,
        data_sections: Mapping[str, DataSectionSpec],
        programs: Mapping[str, ProgramSpec],
    ) -> list[MapSpec]:
        section = self._elf.section(btf_maps.SECTION)
        if section is None:
            return []
        described = data_sections.get(section.name)
        if described is None:
            raise ObjectError("BTF describes no maps of this section", section=section.name)
        declared = btf_maps.read_btf_maps(btf, described, section.size)
        btf_maps.fill_initial_slots(declared, self._elf.relocations(section), programs)
        return [each.spec for each in declared]

    def _fill_arena(self, maps: Sequence[MapSpec]) -> None:
        section = self._progbits(ARENA_SECTION)
        if section is None or section.size == 0:
            return
        arena = next((each for each in maps if each.type == MapType.ARENA), None)
        if arena is None:
            raise ObjectError("variables for an arena, and no arena map", section=section.name)
        arena.contents = bytes(section.data)


def _variables(
    btf: Btf, data_sections: Mapping[str, DataSectionSpec], maps: Mapping[str, MapSpec]
) -> dict[str, VariableSpec]:
    """The variables of all data sections. Where names clash, global ones come first."""
    arena = next((each for each in maps.values() if each.type == MapType.ARENA), None)
    found: list[VariableSpec] = []
    for section in data_sections.values():
        map_spec = arena if section.name == ARENA_SECTION else maps.get(section.name)
        if map_spec is None or not (map_spec.is_data or map_spec is arena):
            continue
        for entry in section.entries:
            variable = btf.type(entry.variable)
            if isinstance(variable, Variable) and variable.linkage is not Linkage.EXTERN:
                found.append(
                    VariableSpec(
                        variable.name,
                        map_spec,
                        entry.offset,
                        entry.size,
                        variable.type,
                        btf,
                        is_static=variable.linkage is Linkage.STATIC,
                    )
                )
    variables: dict[str, VariableSpec] = {}
    global_names = {each.name for each in found if not each.is_static}
    for each in found:
        key = each.name
        if each.is_static and (key in global_names or key in variables):
            key = f"{each.map}/{key}"
        if key in variables:
            key = f"{each.map}+{each.offset:#x}/{each.name}"
        variables[key] = each
    return variables
