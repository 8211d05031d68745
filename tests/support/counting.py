"""Programs that count how often they run: made from instructions, loaded and ready to attach."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.abi.sections import SectionDefinition, split_section
from bpfstream.kernel import bpf
from bpfstream.kernel.btf import kernel_btf
from bpfstream.kernel.probe_objects import instruction

_GET_CURRENT_PID_TGID = 14
_GET_ATTACH_COOKIE = 174
_XDP_PASS = 2
_VALUE = struct.Struct("=QQQ")
"""The only value of the program's array: runs, the cookie of the last run, the process to count."""


@dataclass(frozen=True)
class CountingProgram:
    """A loaded program that counts its runs."""

    name: str
    fd: int
    type: ProgramType
    attach_type: AttachType
    attach_to: str
    definition: SectionDefinition | None
    array_fd: int

    @property
    def runs(self) -> int:
        """How often it ran."""
        return self._value()[0]

    @property
    def cookie(self) -> int:
        """The cookie that it read when it ran last."""
        return self._value()[1]

    def count_only(self, process: int) -> None:
        """Count the runs in one process only, or with 0 in all."""
        runs, cookie, _ = self._value()
        bpf.map_update(self.array_fd, bytes(4), _VALUE.pack(runs, cookie, process))

    def _value(self) -> tuple[int, int, int]:
        value = bpf.map_lookup(self.array_fd, bytes(4), _VALUE.size)
        assert value is not None
        return _VALUE.unpack(value)


@contextmanager
def counting_program(section: str, *, reads_cookie: bool = False) -> Iterator[CountingProgram]:
    """Load a program for a section; it counts its runs in the calling process only.

    A program of type XDP runs in no process: it counts every packet, and passes it on.
    """
    definition, attach_to = split_section(section)
    assert definition is not None
    attach_btf_id = 0
    if definition.btf_target is not None:
        target = definition.btf_target
        attach_btf_id = kernel_btf().find(target.prefix + attach_to, target.kind) or 0
    with ExitStack() as undo:
        array_fd = bpf.map_create(MapType.ARRAY, 4, _VALUE.size, 1)
        undo.callback(os.close, array_fd)
        fd = bpf.program_load(
            definition.type,
            _code(definition.type, array_fd, reads_cookie),
            license="GPL",
            attach_type=definition.attach_type,
            flags=definition.flags,
            attach_btf_id=attach_btf_id,
        )
        undo.callback(os.close, fd)
        program = CountingProgram(
            "count", fd, definition.type, definition.attach_type, attach_to, definition, array_fd
        )
        if definition.type != ProgramType.XDP:
            program.count_only(os.getpid())
        yield program


def _code(program_type: ProgramType, array_fd: int, reads_cookie: bool) -> bytes:
    """Count, and note the cookie, if the process is the one to count."""
    cookie = (
        instruction(0xBF, 1, 6)  # r1 = the context
        + instruction(0x85, immediate=_GET_ATTACH_COOKIE)
        + instruction(0x7B, 7, 0, 8)  # *(u64 *)(r7 + 8) = r0
        if reads_cookie
        else b""
    )
    process = (
        instruction(0x85, immediate=_GET_CURRENT_PID_TGID)
        + instruction(0x77, 0, immediate=32)  # r0 >>= 32
        if program_type != ProgramType.XDP
        else instruction(0xB7, 0, immediate=0)
    )
    count = instruction(0xB7, 2, immediate=1) + instruction(0xDB, 7, 2)  # *(u64 *)r7 += 1, atomic
    counting = count + cookie
    verdict = _XDP_PASS if program_type == ProgramType.XDP else 0
    return (
        instruction(0xBF, 6, 1)  # r6 = the context
        + process
        + instruction(0x18, 7, 2, immediate=array_fd)  # r7 = the array's value
        + instruction(0)
        + instruction(0x79, 1, 7, 16)  # r1 = *(u64 *)(r7 + 16)
        + instruction(0x15, 1, 0, 1)  # if r1 == 0 skip the next
        + instruction(0x5D, 1, 0, len(counting) // 8)  # if r1 != r0 do not count
        + counting
        + instruction(0xB7, 0, immediate=verdict)
        + instruction(0x95)
    )
