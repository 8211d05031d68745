"""Joining a program with the subprograms that it calls.

The kernel takes one run of instructions for a program. Every subprogram that it reaches is appended
once, depth first in the order of calls, and calls get the distance to where it ended up (libbpf.c:
bpf_object__reloc_code).
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.asm.code import Code
from bpfstream.btf import Btf, types
from bpfstream.errors import LinkingError
from bpfstream.linker.functions import Function, FunctionTable, SubprogramReference

MAX_SLOTS = 1_000_000
"""Slots of a program that the kernel takes at most (BPF_COMPLEXITY_LIMIT_INSNS, linux/bpf.h)."""

_EXCEPTION_CALLBACK = "exception_callback:"


class AssembledProgram:
    """A program and its subprograms as one run of instructions.

    Attributes:
        code: All instructions.
        positions: The slot where each function begins, in order; the program itself is the first.
    """

    def __init__(self, program: Function) -> None:
        self.code: Code = program.code.copy()
        self.positions: dict[Function, int] = {program: 0}
        self._append_callees(program)

    def append(self, function: Function) -> None:
        """Put a function, and what it calls, behind the rest unless it is there already."""
        if function not in self.positions:
            self._append_one(function)
            self._append_callees(function)

    def _append_one(self, function: Function) -> None:
        if len(self.code) + len(function.code) > MAX_SLOTS:
            raise LinkingError(
                f"with its subprograms it has more than {MAX_SLOTS} instructions",
                program=next(iter(self.positions)).name,
            )
        self.positions[function] = self.code.append(function.code)

    def _append_callees(self, function: Function) -> None:
        # An explicit stack: how deep calls go is for the object to say, not for Python's stack.
        pending: list[tuple[int, Iterator[SubprogramReference]]] = [
            (self.positions[function], iter(function.subprogram_references))
        ]
        while pending:
            position, references = pending[-1]
            reference = next(references, None)
            if reference is None:
                pending.pop()
                continue
            target = reference.target
            if target not in self.positions:
                self._append_one(target)
                pending.append((self.positions[target], iter(target.subprogram_references)))
            slot = position + reference.slot
            self.code.set_immediate(slot, self.positions[target] - slot - 1)


def exception_callbacks(btf: Btf | None) -> dict[str, str]:
    """Which function handles the exceptions of which program, by the tags in the object's BTF.

    Raises:
        LinkingError: A tag is on something that is no global function.
    """
    callbacks: dict[str, list[str]] = {}
    if btf is None:
        return {}
    for type_id in range(btf.first_id, btf.end_id):
        if btf.kind(type_id) != Kind.DECL_TAG:
            continue
        tag = btf.type(type_id)
        assert isinstance(tag, types.DeclTag)  # by its kind
        if not tag.name.startswith(_EXCEPTION_CALLBACK) or tag.component != -1:
            continue
        function = btf.type(tag.type)
        if not isinstance(function, types.Function):
            continue
        if function.linkage != Linkage.GLOBAL:
            raise LinkingError(
                "only a global function can have an exception callback", program=function.name
            )
        callback = tag.name.removeprefix(_EXCEPTION_CALLBACK)
        callbacks.setdefault(function.name, []).append(callback)
    # libbpf goes without when a program has two.
    return {program: found[0] for program, found in callbacks.items() if len(found) == 1}


def assemble(
    program: Function, functions: FunctionTable, callbacks: dict[str, str]
) -> AssembledProgram:
    """Join a program with what it calls, and with its exception callback if it has one.

    Raises:
        LinkingError: It becomes too large, or the callback is no global subprogram.
    """
    assembled = AssembledProgram(program)
    name = callbacks.get(program.name)
    if name is not None:
        callback = functions.subprograms.get(name)
        if callback is None or not callback.is_global:
            raise LinkingError(
                f"its exception callback {name} is no global function of .text",
                program=program.name,
            )
        assembled.append(callback)
    return assembled
