"""A verifier log boiled down to the one line that a person needs."""

from __future__ import annotations

import re
import struct
import sys

from bpfstream.errors import VerifierError
from bpfstream.linker import LinkedProgram
from bpfstream.spec import ObjectSpec

_INSTRUCTION = re.compile(r"^(\d+): \([0-9a-f]{2}\) ")
_NOISE = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|max_states|"  # the closing statistics
    r"\d+: |;|R\d+\w*=|from \d+ to |"  # the path that was walked
    r"func#|Func#|Validating |last_idx|regs=|mark_precise|propagating|arg#\d+ reference type)"
)
_LINE_COLUMN_BITS = 10  # bpf_line_info.line_col: the line above 10 bits of column (linux/bpf.h)
_LINE_INFO = struct.Struct(f"{'<' if sys.byteorder == 'little' else '>'}4I")


def verifier_error(spec: ObjectSpec, program: LinkedProgram, errno: int, log: str) -> VerifierError:
    """The error for a program that the verifier refused.

    Args:
        spec: The object, for the text of its source lines.
        program: What was handed to the kernel.
        errno: Why, in the kernel's one word.
        log: The verifier's whole log; not empty.
    """
    slot = failing_slot(log)
    summary = last_complaint(log)
    for poisoned in program.poisoned:
        if poisoned.slot == slot:
            summary = poisoned.reason
    return VerifierError(
        program.name,
        errno,
        summary=summary,
        source="" if slot is None else source_line(spec, program, slot),
        log=log,
    )


def last_complaint(log: str) -> str:
    """The verifier's last words that are no instruction, no register state and no statistics."""
    lines = [line.strip() for line in log.splitlines()]
    complaints = [line for line in lines if line and not _NOISE.match(line)]
    return complaints[-1] if complaints else "refused without a reason"


def failing_slot(log: str) -> int | None:
    """The instruction that the verifier looked at last, as a slot of the whole program."""
    for line in reversed(log.splitlines()):
        if match := _INSTRUCTION.match(line):
            return int(match[1])
    return None


def source_line(spec: ObjectSpec, program: LinkedProgram, slot: int) -> str:
    """The C source line that an instruction came from: ``exec.bpf.c:42: bpf_probe_read(...)``."""
    if spec.btf is None or not program.line_info_size:
        return ""
    best = None
    for at in range(0, len(program.line_info), program.line_info_size):
        record = _LINE_INFO.unpack_from(program.line_info, at)
        if record[0] > slot:
            break
        best = record
    if best is None:
        return ""
    _, file_offset, text_offset, line_column = best
    file = spec.btf.string(file_offset).rpartition("/")[2]
    text = spec.btf.string(text_offset).strip()
    return f"{file}:{line_column >> _LINE_COLUMN_BITS}: {text}".removesuffix(": ")
