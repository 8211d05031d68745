"""What an object file says, as data that can be printed and edited before it is loaded."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bpfstream.abi.maps import MapType
from bpfstream.btf import Btf
from bpfstream.spec.data_sections import DataSectionSpec
from bpfstream.spec.externs import ExternSpec
from bpfstream.spec.functions import FunctionSpec, ProgramSpec
from bpfstream.spec.maps import MapSpec
from bpfstream.spec.variables import VariableSpec

if TYPE_CHECKING:
    from bpfstream.btf.ext import BtfExt

ARENA_SECTION = ".addr_space.1"
"""Where compilers put variables of address space 1, the arena's."""


class ObjectSpec(msgspec.Struct, kw_only=True, eq=False):
    """An object file: programs, the functions they call, maps, variables, and what it needs.

    It needs no kernel and no privilege. Programs can be left out (`ProgramSpec.autoload`), maps
    resized, variables set; `copy` gives one to edit while the other stays.

    Attributes:
        name: The file's name up to the first dot: data maps are named after it.
        path: Where it was read from, if from a file.
        byteorder: Byte order of its instructions, BTF and data.
        license: The license that its programs declare to the kernel.
        version: The kernel version that it declares, which old kernels checked.
        programs: By name, in the order of their sections.
        functions: Subprograms by name, in order. A static one whose name is taken already has its
            offset added to its key.
        maps: By name: declared maps, then data sections, then struct_ops.
        variables: By name. A static one whose name is taken already has its section put before
            its key: ``".rodata/name"``.
        externs: What the kernel is to provide, in libbpf's order: configuration values by falling
            alignment, rising size and name, then kernel symbols by name.
        data_sections: Where the variables lie, by section.
        btf: The object's types, or None.
        btf_ext: Function and line information and CO-RE relocations, or None.
        warnings: What was left unread, and why.
    """

    name: str
    path: Path | None
    byteorder: Literal["little", "big"]
    license: str
    version: int | None
    programs: dict[str, ProgramSpec]
    functions: dict[str, FunctionSpec]
    maps: dict[str, MapSpec]
    variables: dict[str, VariableSpec]
    externs: tuple[ExternSpec, ...]
    data_sections: dict[str, DataSectionSpec]
    btf: Btf | None
    btf_ext: "BtfExt | None"
    warnings: tuple[str, ...]

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "ObjectSpec":
        """Read an object file.

        Raises:
            ObjectError: The file can't be read, or isn't a BPF object that makes sense.
        """
        from bpfstream.spec.reader import read_file

        return read_file(Path(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "object") -> "ObjectSpec":
        """Read an object from memory. `name` stands for the name of its file.

        Raises:
            ObjectError: It isn't a BPF object that makes sense.
        """
        from bpfstream.spec.reader import read_object

        return read_object(data, name)

    def map_at(self, section: str, offset: int) -> MapSpec | None:
        """The map that a symbol of a ``maps`` or ``.maps`` section stands for, if one does."""
        return next(
            (
                each
                for each in self.maps.values()
                if each.section == section and each.section_offset == offset
            ),
            None,
        )

    def data_map(self, section: str) -> MapSpec | None:
        """The map that holds a section of variables, if the section became a map.

        The variables of ``.addr_space.1`` live in the object's arena.
        """
        if section == ARENA_SECTION:
            return next((each for each in self.maps.values() if each.type == MapType.ARENA), None)
        return next(
            (each for each in self.maps.values() if each.is_data and each.section == section), None
        )

    def copy(self) -> "ObjectSpec":
        """A copy to edit: programs, maps and variables are its own."""
        maps = {key: each.copy() for key, each in self.maps.items()}
        copies = {id(each): maps[key] for key, each in self.maps.items()}
        return msgspec.structs.replace(
            self,
            programs={key: msgspec.structs.replace(each) for key, each in self.programs.items()},
            functions={key: msgspec.structs.replace(each) for key, each in self.functions.items()},
            maps=maps,
            variables={
                key: each.rebound(copies.get(id(each.map_spec), each.map_spec))
                for key, each in self.variables.items()
            },
            data_sections=dict(self.data_sections),
        )

    def __str__(self) -> str:
        from bpfstream.spec.summary import summarize

        return summarize(self)
