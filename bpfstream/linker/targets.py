"""What a program is to be attached to, as an id in the kernel's BTF.

Some program types are loaded for one function, tracepoint or hook: the verifier checks them
against its prototype. The section names it (libbpf.c: find_kernel_btf_id).
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.abi.programs import ProgramType
from bpfstream.abi.sections import btf_target
from bpfstream.errors import LinkingError, MissingBtfError
from bpfstream.linker.target import ModuleBtf, Target
from bpfstream.spec import ProgramSpec

_KERNEL = "vmlinux"


class AttachTarget(msgspec.Struct, frozen=True):
    """A type that a program is loaded for.

    Attributes:
        btf_id: Its BTF id; 0 when the program is loaded for none.
        module: The module whose BTF that id belongs to; None: the kernel's own.
    """

    btf_id: int = 0
    module: ModuleBtf | None = None


def find_attach_target(program: ProgramSpec, target: Target) -> AttachTarget:
    """Look up what a program is to be attached to, if it has to be known when it is loaded.

    A target of ``MODULE:NAME`` is looked for in that module alone. Programs that replace a function
    of another program (freplace) get none: theirs is in that program's BTF.

    Raises:
        LinkingError: The section names no target, or the kernel has none of that name.
        MissingBtfError: The kernel has no BTF.
    """
    definition = program.definition
    if definition is None or not definition.needs_btf_target:
        return AttachTarget()
    if program.type == ProgramType.EXT:
        return AttachTarget()
    if not program.attach_to:
        raise LinkingError(
            f"section {program.section!r} does not say what to attach to",
            program=program.name,
            hint=f"name it: {definition.name}/NAME",
        )
    if target.btf is None:
        raise MissingBtfError(
            f"{program.name}: attaching to {program.attach_to} needs the kernel's BTF",
            searched=target.searched,
            hint="use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        )
    wanted = btf_target(program.attach_type)
    module_name, _, name = program.attach_to.rpartition(":")
    found = _find(wanted.prefix + name, wanted.kind, module_name, target)
    if found is None:
        where = f"module {module_name}" if module_name else "the kernel and its modules"
        raise LinkingError(
            f"{where} have no {_in_words(wanted.kind)} {wanted.prefix + name!r} to attach to"
            if not module_name
            else f"{where} has no {_in_words(wanted.kind)} {wanted.prefix + name!r} to attach to",
            program=program.name,
        )
    return found


def _find(name: str, kind: Kind, module_name: str, target: Target) -> AttachTarget | None:
    assert target.btf is not None
    if module_name in ("", _KERNEL):
        type_id = target.btf.find(name, kind)
        if type_id is not None:
            return AttachTarget(type_id)
        if module_name == _KERNEL:
            return None
    for module in target.modules():
        if module_name in ("", module.name):
            type_id = module.btf.find(name, kind)
            if type_id is not None:
                return AttachTarget(type_id, module)
    return None


def _in_words(kind: Kind) -> str:
    return "function" if kind == Kind.FUNC else "tracepoint type"
