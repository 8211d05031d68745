"""What a program is to be attached to, as an id in the kernel's BTF.

Some program types are loaded for one function, tracepoint or hook: the verifier checks them
against its prototype. The section names it (libbpf.c: find_kernel_btf_id).
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.abi.sections import btf_target
from bpfstream.btf import essential_name
from bpfstream.errors import LinkingError, MissingBtfError
from bpfstream.linker.target import ModuleBtf, Target
from bpfstream.spec import ProgramSpec

_KERNEL = "vmlinux"

_SEVERAL_TARGETS = frozenset(
    {
        AttachType.TRACE_FENTRY_MULTI,
        AttachType.TRACE_FEXIT_MULTI,
        AttachType.TRACE_FSESSION_MULTI,
    }
)
"""Attach types whose programs learn what they are attached to when they are attached."""

_KINDS_OF_TARGET = {
    "": "function",
    "btf_trace_": "tracepoint",
    "bpf_lsm_": "LSM hook",
    "bpf_iter_": "iterator",
}
"""What a target is called, by the prefix that its name has in BTF."""


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
    if program.type not in (ProgramType.TRACING, ProgramType.LSM):
        return AttachTarget()
    if program.attach_type in _SEVERAL_TARGETS:
        return AttachTarget()
    if not program.attach_to:
        raise LinkingError(
            f"section {program.section!r} does not say what to attach to",
            program=program.name,
            hint=f"name the section {program.section}/TARGET or set the program's attach_to",
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
        place = f"module {module_name} has" if module_name else "the kernel and its modules have"
        raise LinkingError(
            f"{place} no {_KINDS_OF_TARGET[wanted.prefix]} {name!r} to attach to",
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
            for type_id in module.btf.candidates(essential_name(name), (kind,)):
                if module.btf.name(type_id) == name:
                    return AttachTarget(type_id, module)
    return None
