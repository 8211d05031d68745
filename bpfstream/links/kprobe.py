"""Probes on kernel functions and system calls: kprobe, kretprobe, ksyscall, kretsyscall."""

from __future__ import annotations

import errno
import os
import re
from contextlib import ExitStack
from typing import NamedTuple

from bpfstream.errors import AttachError, BpfstreamError, KernelError, NotSupportedError
from bpfstream.kernel import perf, symbols, tracefs
from bpfstream.kernel.features import Feature, supports
from bpfstream.kernel.perf import PerfEventAttributes
from bpfstream.kernel.syscalls import machine
from bpfstream.links.failure import attach_failure, did_you_mean
from bpfstream.links.link import AttachableProgram, Link
from bpfstream.links.perf_link import link_to_perf_event
from bpfstream.links.trace_event import open_trace_event

_FUNCTION_NAME = re.compile(r"[A-Za-z_.$][\w.$]*(:[A-Za-z_.$][\w.$]*)?", re.ASCII)
"""A symbol, or ``MODULE:SYMBOL``."""

_SYSCALL_NAME = re.compile(r"[a-z][a-z0-9_]*")

_WRAPPER_PREFIXES = {
    "x86_64": "x64",
    "i386": "ia32",
    "i686": "ia32",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "aarch64": "arm64",
    "riscv64": "riscv",
    "s390x": "s390x",
    "ppc64": "powerpc64",
    "ppc64le": "powerpc64",
}
"""The X of ``__X_sys_NAME`` (arch/*/include/asm/syscall_wrapper.h), by machine."""

_REASONS = {
    errno.EILSEQ: "no instruction begins at this offset",
    errno.ERANGE: "the offset lies beyond the function's end",
    errno.EBUSY: "the function is live-patched",
    errno.EOPNOTSUPP: "this kernel can't probe there",
}

_SIMILAR_PREFIX = 4
"""How many first characters a suggestion for an unknown function shares with it."""


class _Probe(NamedTuple):
    """A place in the kernel: bytes behind a symbol, or without one an address."""

    symbol: str
    offset: int
    retprobe: bool


def attach_kprobe(
    program: AttachableProgram,
    function: str | int,
    *,
    offset: int = 0,
    retprobe: bool = False,
    cookie: int = 0,
) -> Link:
    """Run a program when the kernel reaches an instruction, or returns from a function. Linux 4.1.

    Args:
        program: Of type KPROBE.
        function: A function's name as in /proc/kallsyms (``MODULE:NAME`` for one of a module), or
            an address.
        offset: Bytes behind its beginning; 0 with `retprobe`.
        retprobe: Whether to run at the function's return.
        cookie: What ``bpf_get_attach_cookie()`` gives the program (Linux 5.15); 0 is none.

    Raises:
        AttachError: There is no such function, or several, or it can't be probed.
        PermissionDeniedError: The process may not attach it.
        NotSupportedError: The kernel has no kprobes, or lacks cookies.
    """
    kind = "kretprobe" if retprobe else "kprobe"
    place = function if isinstance(function, str) else f"{function:#x}"
    target = f"{kind} {place}+{offset:#x}" if offset else f"{kind} {place}"
    if isinstance(function, str) and not _FUNCTION_NAME.fullmatch(function):
        raise AttachError(
            program.name, target, errno.EINVAL, reason=f"{function!r} is no name of a function"
        )
    if retprobe and offset:
        raise AttachError(
            program.name,
            target,
            errno.EINVAL,
            reason="a function returns from many places: its kretprobe has no offset",
        )
    with ExitStack() as undo:
        try:
            if isinstance(function, str):
                probe = _Probe(function, offset, retprobe)
            else:
                probe = _Probe("", function + offset, retprobe)
            event_fd = _open_probe(program, target, probe, undo)
        except OSError as error:
            raise _failure(program, target, function, error) from error
        return link_to_perf_event(program, target, event_fd, undo, cookie=cookie)


def attach_ksyscall(
    program: AttachableProgram, syscall: str, *, retprobe: bool = False, cookie: int = 0
) -> Link:
    """Run a program when a system call is entered, or returns. Linux 4.1.

    It is a kprobe on the function that implements the call, whose name depends on the architecture
    and the kernel. On kernels with syscall wrappers (x86-64 4.17, arm64 and s390x 4.19 and later)
    the call's arguments are in the ``struct pt_regs`` that the function's first argument points to.

    Args:
        program: Of type KPROBE.
        syscall: The call without any prefix: ``"openat"``.
        retprobe: Whether to run at the return.
        cookie: What ``bpf_get_attach_cookie()`` gives the program (Linux 5.15); 0 is none.

    Raises:
        AttachError: There is no such system call, or it can't be probed.
        PermissionDeniedError: The process may not attach it.
        NotSupportedError: The kernel has no kprobes, or lacks cookies.
    """
    if not _SYSCALL_NAME.fullmatch(syscall):
        kind = "kretsyscall" if retprobe else "ksyscall"
        raise AttachError(
            program.name,
            f"{kind} {syscall}",
            errno.EINVAL,
            reason=f"{syscall!r} is no name of a system call",
        )
    prefix = _WRAPPER_PREFIXES.get(machine())
    if prefix is not None and supports(Feature.SYSCALL_WRAPPER):
        function = f"__{prefix}_sys_{syscall}"
    else:
        function = f"__se_sys_{syscall}"
    return attach_kprobe(program, function, retprobe=retprobe, cookie=cookie)


def _open_probe(program: AttachableProgram, target: str, probe: _Probe, undo: ExitStack) -> int:
    """Open the probe as a perf event; by tracefs before Linux 4.17, whose perf makes no probes."""
    pmu = perf.pmu_type("kprobe")
    if pmu is None:
        return _open_traced_probe(program, target, probe, undo)
    attributes = PerfEventAttributes(
        type=pmu,
        config=(1 << (perf.pmu_format_bit("kprobe", "retprobe") or 0)) if probe.retprobe else 0,
        config1=probe.symbol.encode() if probe.symbol else 0,
        config2=probe.offset,
    )
    event_fd = perf.perf_event_open(attributes)
    undo.callback(os.close, event_fd)
    return event_fd


def _open_traced_probe(
    program: AttachableProgram, target: str, probe: _Probe, undo: ExitStack
) -> int:
    try:
        if probe.symbol:
            event = tracefs.create_kprobe(probe.symbol, offset=probe.offset, returns=probe.retprobe)
        else:
            event = tracefs.create_kprobe(f"{probe.offset:#x}", returns=probe.retprobe)
    except FileNotFoundError as error:
        if error.filename is None:  # the kernel's word on the symbol
            raise
        raise NotSupportedError(
            f"attach {program.name!r} to {target}",
            errno.EOPNOTSUPP,
            feature="kprobes (CONFIG_KPROBES and CONFIG_KPROBE_EVENTS)",
        ) from error
    except KernelError as error:
        raise AttachError(
            program.name,
            target,
            error.errno,
            reason=f"this kernel's perf makes no kprobes, and by tracefs it failed: {error.reason}",
            hint=error.hint,
        ) from error
    undo.callback(event.remove)
    return open_trace_event(program, target, event.id, undo)


# Errors ---------------------------------------------------------------------------------------


def _failure(
    program: AttachableProgram, target: str, function: str | int, error: OSError
) -> BpfstreamError:
    """Why a probe can't be opened.

    An unknown function is ENOENT; for return probes of Linux 5.10 and older it is EINVAL, which
    also stands for functions that must not be probed. So the kernel's symbols are asked.
    """
    reasons, hint = dict(_REASONS), ""
    if isinstance(function, int):
        reasons[errno.EINVAL] = "no instruction that may be probed is at this address"
        reasons[errno.ENOENT] = reasons[errno.EINVAL]
    elif error.errno in (errno.ENOENT, errno.EINVAL, errno.EADDRNOTAVAIL):
        name = function.rpartition(":")[2]
        found = symbols.find_symbols([name]).get(name, ())
        if not found:
            reason = f"the kernel has no function {function!r}"
            hint = did_you_mean(name, symbols.function_names(name[:_SIMILAR_PREFIX]))
        elif error.errno == errno.EADDRNOTAVAIL:
            reason = f"{len(found)} functions bear this name"
            hint = f"give an address: {', '.join(f'{one.address:#x}' for one in found)}"
        else:
            reason = (
                "the function must not be probed: it is marked notrace or on the kprobe blacklist "
                "(/sys/kernel/debug/kprobes/blacklist)"
            )
        reasons[error.errno] = reason
    return attach_failure(program, target, error, reasons, hint=hint, pmu="kprobe")
