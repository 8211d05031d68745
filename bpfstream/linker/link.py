"""The way from an object's spec to programs ready for a kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from bpfstream.linker import core, kconfig, object_btf
from bpfstream.linker.externs import Externs
from bpfstream.linker.functions import FunctionTable
from bpfstream.linker.linked import (
    BtfReference,
    KfuncReference,
    LinkedObject,
    LinkedProgram,
    MapReference,
    PoisonedRelocation,
)
from bpfstream.linker.program_info import InfoRecords
from bpfstream.linker.references import References
from bpfstream.linker.subprograms import AssembledProgram, assemble, exception_callbacks
from bpfstream.linker.target import Target
from bpfstream.linker.targets import AttachTarget, find_attach_target
from bpfstream.spec import ObjectSpec, ProgramSpec

_Reference = TypeVar("_Reference", MapReference, BtfReference, KfuncReference, PoisonedRelocation)


def link(spec: ObjectSpec, target: Target, *, find_attach_targets: bool = True) -> LinkedObject:
    """Make every program of `spec` that is to be loaded ready for `target`. `spec` stays as it is.

    Args:
        spec: The object; programs without `autoload` are left out.
        target: The kernel to link for.
        find_attach_targets: Look up what programs are to be attached to, where loading needs that.
            When False, that is left to `find_attach_target`.

    Raises:
        LinkingError: A program can't be made ready: names program, instruction and cause.
        AmbiguousRelocationError: Matching types of the target disagree on a CO-RE relocation.
        MissingBtfError: A program needs the kernel's BTF and the target has none.
        ObjectError: What the object says of itself does not fit together.
    """
    functions = FunctionTable(spec)
    configuration = kconfig.build(spec, target)
    core.relocate(spec, functions, target)
    references = References(spec, functions, configuration, Externs(spec, target))
    for function in functions:
        references.resolve(function)
    callbacks = exception_callbacks(spec.btf)
    function_sections = spec.btf_ext.functions if spec.btf_ext is not None else {}
    line_sections = spec.btf_ext.lines if spec.btf_ext is not None else {}
    function_info = InfoRecords(function_sections, functions, spec.byteorder)
    line_info = InfoRecords(line_sections, functions, spec.byteorder)
    programs = {}
    for program in functions.programs:
        assembled = assemble(program, functions, callbacks)
        attach = AttachTarget()
        if find_attach_targets:
            attach = find_attach_target(spec.programs[program.name], target)
        programs[program.name] = _linked(
            spec.programs[program.name], assembled, function_info, line_info, attach
        )
    maps = dict(spec.maps)
    if configuration is not None:
        maps[kconfig.KCONFIG_MAP] = configuration.map
    return LinkedObject(programs, maps, object_btf.fix_up(spec, configuration))


def _linked(
    spec: ProgramSpec,
    assembled: AssembledProgram,
    function_info: InfoRecords,
    line_info: InfoRecords,
    attach: AttachTarget,
) -> LinkedProgram:
    positions = assembled.positions
    functions, function_size = function_info.of_program(positions)
    lines, line_size = line_info.of_program(positions)
    return LinkedProgram(
        name=spec.name,
        spec=spec,
        code=assembled.code,
        map_references=_moved((start, each.map_references) for each, start in positions.items()),
        btf_references=_moved((start, each.btf_references) for each, start in positions.items()),
        kfunc_references=_moved(
            (start, each.kfunc_references) for each, start in positions.items()
        ),
        poisoned=_moved((start, each.poisoned) for each, start in positions.items()),
        function_info=functions,
        function_info_size=function_size,
        line_info=lines,
        line_info_size=line_size,
        attach_btf_id=attach.btf_id,
        attach_btf_module=attach.module,
    )


def _moved(lists: Iterable[tuple[int, Iterable[_Reference]]]) -> tuple[_Reference, ...]:
    """The references of several functions, at the slots where these functions ended up."""
    moved = [
        msgspec.structs.replace(reference, slot=reference.slot + start)
        for start, references in lists
        for reference in references
    ]
    return tuple(sorted(moved, key=lambda reference: reference.slot))
