"""Probes on the code of programs and libraries: uprobe and uretprobe."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bpfstream.errors import ENOTSUPP, AttachError, KernelError, NotSupportedError, ObjectError
from bpfstream.kernel import perf, tracefs
from bpfstream.kernel.features import Feature, require
from bpfstream.kernel.perf import PerfEventAttributes
from bpfstream.links.elf_image import ElfImage
from bpfstream.links.executable import find_file, find_function, function_names
from bpfstream.links.failure import attach_failure, did_you_mean
from bpfstream.links.link import AttachableProgram, Link
from bpfstream.links.perf_link import link_to_perf_event
from bpfstream.links.trace_event import open_trace_event, task_and_cpu

_REASONS = {
    errno.ENOENT: "there is no such file",
    errno.EINVAL: "it is no regular file, or the offset lies beyond its end",
    errno.ESRCH: "there is no such process",
    errno.EILSEQ: "no instruction begins at this offset",
    ENOTSUPP: "the instruction at this offset can't be probed",
    errno.EOPNOTSUPP: "the instruction at this offset can't be probed",
}


class _Probe(NamedTuple):
    """What is to be probed: see `attach_uprobe`."""

    file: Path
    offset: int
    pid: int | None
    retprobe: bool
    ref_ctr_offset: int


def attach_uprobe(
    program: AttachableProgram,
    path: str | os.PathLike[str],
    *,
    symbol: str | None = None,
    offset: int = 0,
    pid: int | None = None,
    retprobe: bool = False,
    cookie: int = 0,
    ref_ctr_offset: int = 0,
) -> Link:
    """Run a program when a process reaches an instruction, or returns from a function. Linux 4.3.

    Args:
        program: Of type KPROBE.
        path: The program or library; a name without a slash is searched for: libraries in
            ``LD_LIBRARY_PATH`` and the system's folders, programs in ``PATH``. For a file inside a
            container: ``/proc/PID/root/...``.
        symbol: A function of the file, maybe with a version: ``"pthread_cond_wait@GLIBC_2.3.2"``.
        offset: Bytes behind the function's beginning, or without `symbol` in the file (no virtual
            address).
        pid: Only in this process; 0 is the calling one. None for all, also those that start later.
        retprobe: Whether to run at the function's return.
        cookie: What ``bpf_get_attach_cookie()`` gives the program (Linux 5.15); 0 is none.
        ref_ctr_offset: Where in the file a semaphore is that counts the probe's users, as USDT
            probes have; 0 for none (Linux 4.20).

    Raises:
        AttachError: There is no such file, function or process, or the place can't be probed.
        PermissionDeniedError: The process may not attach it (without uprobe.multi: CAP_SYS_ADMIN).
        NotSupportedError: The kernel has no uprobes, or lacks cookies or semaphores.
    """
    kind = "uretprobe" if retprobe else "uprobe"
    place = f"{symbol}+{offset:#x}" if symbol and offset else symbol or f"{offset:#x}"
    target = f"{kind} {os.fspath(path)}:{place}"
    if retprobe and symbol and offset:
        raise AttachError(
            program.name,
            target,
            errno.EINVAL,
            reason="a function returns from many places: its uretprobe has no offset",
        )
    file = _find_file(program, target, os.fspath(path))
    if symbol is not None:
        offset += _function_offset(program, target, file, symbol)
    with ExitStack() as undo:
        try:
            event_fd = _open_probe(
                program, target, _Probe(file, offset, pid, retprobe, ref_ctr_offset), undo
            )
        except OSError as error:
            raise attach_failure(program, target, error, _REASONS, pmu="uprobe") from error
        return link_to_perf_event(program, target, event_fd, undo, cookie=cookie)


def _find_file(program: AttachableProgram, target: str, name: str) -> Path:
    file = find_file(name)
    if file is None:
        raise AttachError(
            program.name,
            target,
            errno.ENOENT,
            reason=f"no file {name!r} is in the folders of programs and libraries",
            hint="give its path",
        )
    return file


def _function_offset(program: AttachableProgram, target: str, file: Path, symbol: str) -> int:
    """Where in the file a function begins."""
    try:
        with ElfImage(file) as image:
            offset = find_function(image, symbol)
            if offset is not None:
                return offset
            hint = did_you_mean(symbol, function_names(image)) or (
                "a stripped file tells no names but those it exports"
            )
    except ObjectError as error:
        raise AttachError(program.name, target, errno.ENOEXEC, reason=str(error)) from error
    except OSError as error:
        reasons = {errno.ENOENT: "there is no such file", errno.EISDIR: "it is a folder"}
        raise attach_failure(program, target, error, reasons) from error
    raise AttachError(
        program.name, target, errno.ENOENT, reason=f"{file} has no function {symbol!r}", hint=hint
    )


def _open_probe(program: AttachableProgram, target: str, probe: _Probe, undo: ExitStack) -> int:
    """Open the probe as a perf event; by tracefs before Linux 4.17, whose perf makes no probes."""
    pmu = perf.pmu_type("uprobe")
    if pmu is None:
        return _open_traced_probe(program, target, probe, undo)
    config = (1 << (perf.pmu_format_bit("uprobe", "retprobe") or 0)) if probe.retprobe else 0
    if probe.ref_ctr_offset:
        require(Feature.UPROBE_REFERENCE_COUNTER, f"attach {program.name!r} to {target}")
        counter_bit = perf.pmu_format_bit("uprobe", "ref_ctr_offset") or 0
        config |= probe.ref_ctr_offset << counter_bit
    attributes = PerfEventAttributes(
        type=pmu, config=config, config1=os.fsencode(probe.file), config2=probe.offset
    )
    event_fd = perf.perf_event_open(attributes, *task_and_cpu(probe.pid))
    undo.callback(os.close, event_fd)
    return event_fd


def _open_traced_probe(
    program: AttachableProgram, target: str, probe: _Probe, undo: ExitStack
) -> int:
    try:
        event = tracefs.create_uprobe(
            os.fspath(probe.file.absolute()),
            probe.offset,
            returns=probe.retprobe,
            reference_counter_offset=probe.ref_ctr_offset,
        )
    except FileNotFoundError as error:
        if error.filename is None:  # the kernel's word on the file to probe
            raise
        raise NotSupportedError(
            f"attach {program.name!r} to {target}",
            errno.EOPNOTSUPP,
            feature="uprobes (CONFIG_UPROBE_EVENTS)",
        ) from error
    except KernelError as error:
        raise AttachError(
            program.name,
            target,
            error.errno,
            reason=f"this kernel's perf makes no uprobes, and by tracefs it failed: {error.reason}",
            hint=error.hint,
        ) from error
    undo.callback(event.remove)
    return open_trace_event(program, target, event.id, undo, pid=probe.pid)
