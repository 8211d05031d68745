"""Attaching a program to what its section names: ``SEC("kprobe/do_unlinkat")`` and its kin."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Final

import msgspec

from bpfstream.abi.sections import AttachKind
from bpfstream.errors import AttachError
from bpfstream.links.link import AttachableProgram, Link

_NUMBER: Final = r"0[xX][0-9a-fA-F]+|0|[1-9][0-9]*"
_KERNEL_SYMBOL: Final = r"[A-Za-z0-9_.]+"


class KernelFunction(msgspec.Struct, frozen=True):
    """A place in the kernel's code.

    Attributes:
        symbol: The function.
        offset: Bytes behind its beginning.
    """

    symbol: str
    offset: int


class UserFunction(msgspec.Struct, frozen=True):
    """A place in the code of a program or library.

    Attributes:
        path: The file; a name without a slash is searched for.
        symbol: The function, or None where `offset` counts from the file's beginning.
        offset: Bytes behind the function's beginning, or in the file.
    """

    path: str
    symbol: str | None
    offset: int


def has_hook(program: AttachableProgram) -> bool:
    """Whether a program is attached at all, rather than run by a call or through a map's entry."""
    return program.definition is None or program.definition.kind not in _WITHOUT_HOOK


def attach(program: AttachableProgram, *, cookie: int = 0) -> Link:
    """Attach a program to the target that its section's name gives.

    Args:
        program: A loaded program.
        cookie: A number that the program reads with ``bpf_get_attach_cookie()``; 0 is none. Which
            kernels know it depends on the kind: see the ``attach_*`` functions.

    Raises:
        AttachError: The section is unknown, or names no target, or a malformed one; or the kernel
            can't attach there; or programs of this kind are attached in another way.
        PermissionDeniedError: The process may not attach it.
        NotSupportedError: The kernel lacks what it takes.
    """
    definition = program.definition
    if definition is None:
        raise _refused(
            program,
            "its section's name is none that says what to attach to",
            "attach it with one of the attach_* functions",
        )
    attach_by_section = _BY_SECTION.get(definition.kind)
    if attach_by_section is not None:
        return attach_by_section(program, cookie)
    if definition.kind in _BY_CALL_ONLY:
        raise _names_no_target(program, _BY_CALL_ONLY[definition.kind])
    raise _refused(
        program,
        f"this version of bpfstream does not attach programs of kind {definition.kind.value!r}",
        code=errno.EOPNOTSUPP,
    )


# What follows the section's prefix ------------------------------------------------------------


def parse_tracepoint(text: str) -> tuple[str, str] | None:
    """Category and name of ``"sched/sched_switch"``, or None if it isn't of that form."""
    category, _, name = text.partition("/")
    return (category, name) if category and name and "/" not in name else None


def parse_kernel_function(text: str) -> KernelFunction | None:
    """``"do_unlinkat"`` or ``"do_unlinkat+0x10"``, or None if it is neither."""
    symbol, plus, offset = text.partition("+")
    if re.fullmatch(_KERNEL_SYMBOL, symbol) is None or (plus and not re.fullmatch(_NUMBER, offset)):
        return None
    return KernelFunction(symbol, int(offset, 0) if plus else 0)


def parse_user_function(text: str) -> UserFunction | None:
    """``"PATH:FUNCTION"``, ``"PATH:FUNCTION+OFFSET"`` or ``"PATH:OFFSET"``, or None.

    The path ends at the first colon. An offset is decimal or ``0x`` hexadecimal; what follows a
    plus sign and is no number belongs to the function's name, as in ``operator+``.
    """
    path, _, place = text.partition(":")
    if not path or not place or "\0" in text:
        return None
    if re.fullmatch(_NUMBER, place):
        return UserFunction(path, None, int(place, 0))
    symbol, plus, offset = place.rpartition("+")
    if plus and symbol and re.fullmatch(_NUMBER, offset):
        return UserFunction(path, symbol, int(offset, 0))
    return UserFunction(path, place, 0)


# One function a kind, which imports its file --------------------------------------------------


def _raw_tracepoint(program: AttachableProgram, cookie: int) -> Link:
    from bpfstream.links.raw_tracepoint import attach_raw_tracepoint

    if not program.attach_to:
        raise _names_no_target(program, 'attach_raw_tracepoint(program, "NAME")')
    return attach_raw_tracepoint(program, program.attach_to, cookie=cookie)


def _tracing(program: AttachableProgram, cookie: int) -> Link:
    from bpfstream.links.tracing import attach_tracing

    return attach_tracing(program, cookie=cookie)


def _tracepoint(program: AttachableProgram, cookie: int) -> Link:
    from bpfstream.links.tracepoint import attach_tracepoint

    call = 'attach_tracepoint(program, "CATEGORY", "NAME")'
    if not program.attach_to:
        raise _names_no_target(program, call)
    parsed = parse_tracepoint(program.attach_to)
    if parsed is None:
        raise _malformed(program, "CATEGORY/NAME")
    return attach_tracepoint(program, *parsed, cookie=cookie)


def _kprobe(program: AttachableProgram, cookie: int) -> Link:
    return _kernel_probe(program, cookie, retprobe=False)


def _kretprobe(program: AttachableProgram, cookie: int) -> Link:
    return _kernel_probe(program, cookie, retprobe=True)


def _kernel_probe(program: AttachableProgram, cookie: int, *, retprobe: bool) -> Link:
    from bpfstream.links.kprobe import attach_kprobe

    if not program.attach_to:
        extra = ", retprobe=True" if retprobe else ""
        raise _names_no_target(program, f'attach_kprobe(program, "FUNCTION"{extra})')
    place = parse_kernel_function(program.attach_to)
    if place is None:
        raise _malformed(program, "FUNCTION or FUNCTION+OFFSET")
    return attach_kprobe(
        program, place.symbol, offset=place.offset, retprobe=retprobe, cookie=cookie
    )


def _ksyscall(program: AttachableProgram, cookie: int) -> Link:
    return _system_call(program, cookie, retprobe=False)


def _kretsyscall(program: AttachableProgram, cookie: int) -> Link:
    return _system_call(program, cookie, retprobe=True)


def _system_call(program: AttachableProgram, cookie: int, *, retprobe: bool) -> Link:
    from bpfstream.links.kprobe import attach_ksyscall

    if not program.attach_to:
        extra = ", retprobe=True" if retprobe else ""
        raise _names_no_target(program, f'attach_ksyscall(program, "SYSCALL"{extra})')
    return attach_ksyscall(program, program.attach_to, retprobe=retprobe, cookie=cookie)


def _uprobe(program: AttachableProgram, cookie: int) -> Link:
    return _user_probe(program, cookie, retprobe=False)


def _uretprobe(program: AttachableProgram, cookie: int) -> Link:
    return _user_probe(program, cookie, retprobe=True)


def _user_probe(program: AttachableProgram, cookie: int, *, retprobe: bool) -> Link:
    from bpfstream.links.uprobe import attach_uprobe

    if not program.attach_to:
        extra = ", retprobe=True" if retprobe else ""
        raise _names_no_target(program, f'attach_uprobe(program, "PATH", symbol="FUNCTION"{extra})')
    place = parse_user_function(program.attach_to)
    if place is None:
        raise _malformed(program, "PATH:FUNCTION, PATH:FUNCTION+OFFSET or PATH:OFFSET")
    return attach_uprobe(
        program,
        place.path,
        symbol=place.symbol,
        offset=place.offset,
        retprobe=retprobe,
        cookie=cookie,
    )


_BY_SECTION: Final[dict[AttachKind, Callable[[AttachableProgram, int], Link]]] = {
    AttachKind.RAW_TRACEPOINT: _raw_tracepoint,
    AttachKind.TP_BTF: _tracing,
    AttachKind.TRACING: _tracing,
    AttachKind.LSM: _tracing,
    AttachKind.TRACEPOINT: _tracepoint,
    AttachKind.KPROBE: _kprobe,
    AttachKind.KRETPROBE: _kretprobe,
    AttachKind.KSYSCALL: _ksyscall,
    AttachKind.KRETSYSCALL: _kretsyscall,
    AttachKind.UPROBE: _uprobe,
    AttachKind.URETPROBE: _uretprobe,
}

_BY_CALL_ONLY: Final = {
    AttachKind.PERF_EVENT: "attach_perf_event(program, PerfEventAttributes(...), cpu=...)",
    AttachKind.XDP: 'attach_xdp(program, "INTERFACE")',
}

_WITHOUT_HOOK: Final = frozenset(
    {AttachKind.SYSCALL, AttachKind.STRUCT_OPS, AttachKind.XDP_MAP_ENTRY}
)

# Errors ---------------------------------------------------------------------------------------


def _refused(
    program: AttachableProgram, reason: str, hint: str = "", *, code: int = errno.EINVAL
) -> AttachError:
    return AttachError(program.name, _section_target(program), code, reason=reason, hint=hint)


def _names_no_target(program: AttachableProgram, call: str) -> AttachError:
    return _refused(program, "the section names no target", f"name one: {call}")


def _malformed(program: AttachableProgram, form: str) -> AttachError:
    return _refused(program, f"{program.attach_to!r} is not of the form {form}")


def _section_target(program: AttachableProgram) -> str:
    if program.definition is None:
        return "its section's target"
    section = program.definition.name
    return f"section {section}/{program.attach_to}" if program.attach_to else f"section {section}"
