"""What linking gives: programs that lack only the file descriptors which the loader puts in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bpfstream.asm.code import Code
from bpfstream.linker.target import ModuleBtf

if TYPE_CHECKING:
    from bpfstream.spec import MapSpec, ProgramSpec


class MapReference(msgspec.Struct, frozen=True):
    """A wide load that needs a map's file descriptor in its first immediate.

    Attributes:
        slot: Where the wide load begins.
        map: The map's name in `LinkedObject.maps`.
        is_value: It loads an address in the map's value (the second immediate, already set, is
            the offset there) instead of the map itself.
    """

    slot: int
    map: str
    is_value: bool


class BtfReference(msgspec.Struct, frozen=True):
    """A wide load of a kernel variable's address: its first immediate is the variable's BTF id.

    Attributes:
        slot: Where the wide load begins.
        module: The module whose BTF file descriptor the second immediate needs; None: the
            kernel's own, where it stays 0.
    """

    slot: int
    module: ModuleBtf | None


class KfuncReference(msgspec.Struct, frozen=True):
    """A call of a kernel function: its immediate is the function's BTF id.

    Attributes:
        slot: Where the call is.
        module: The module whose BTF the call's offset has to name, as an index of at least 1 into
            the `fd_array` of the load; None: the kernel's own, where it stays 0.
    """

    slot: int
    module: ModuleBtf | None


class PoisonedRelocation(msgspec.Struct, frozen=True):
    """An instruction that the target kernel can't run, made invalid.

    That is no error as long as a guard such as ``bpf_core_field_exists()`` keeps the verifier from
    reaching it. Where the verifier does reach it, `reason` is what to tell the user.

    Attributes:
        slot: Where the invalid instruction is.
        reason: Why, in C terms: ``struct task_struct has no field "foo" (kernel BTF)``.
    """

    slot: int
    reason: str


class LinkedProgram(msgspec.Struct, frozen=True):
    """A program with all its subprograms.

    Attributes:
        name: The program's name.
        spec: What it was linked from.
        code: The instructions; file descriptors are still to be put in where references say so.
        map_references: In order of slots, as are the others.
        btf_references: Wide loads of kernel variables.
        kfunc_references: Calls of kernel functions.
        poisoned: Instructions that the target kernel can't run.
        function_info: Records for ``func_info``; offsets count instructions. Empty without.
        function_info_size: Bytes of one such record.
        line_info: Records for ``line_info``; offsets count instructions. Empty without.
        line_info_size: Bytes of one such record.
        attach_btf_id: BTF id of what it attaches to; 0 when its type needs none.
        attach_btf_module: The module whose BTF that id belongs to; None: the kernel's own.
    """

    name: str
    spec: ProgramSpec
    code: Code
    map_references: tuple[MapReference, ...] = ()
    btf_references: tuple[BtfReference, ...] = ()
    kfunc_references: tuple[KfuncReference, ...] = ()
    poisoned: tuple[PoisonedRelocation, ...] = ()
    function_info: bytes = b""
    function_info_size: int = 0
    line_info: bytes = b""
    line_info_size: int = 0
    attach_btf_id: int = 0
    attach_btf_module: ModuleBtf | None = None


class LinkedObject(msgspec.Struct, frozen=True):
    """An object made ready for one kernel.

    Attributes:
        programs: Those that are to be loaded (`ProgramSpec.autoload`), in order.
        maps: The object's maps in libbpf's order, and ``.kconfig`` with the kernel's
            configuration where the object asks for it.
        btf: The object's BTF with what only linking knows filled in; kinds that the running
            kernel lacks are still to be rewritten. None when the object has no BTF.
    """

    programs: dict[str, LinkedProgram]
    maps: dict[str, MapSpec]
    btf: bytes | None
