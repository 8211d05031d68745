"""Raw tracepoints: ``raw_tp/NAME`` and, with a writable buffer, ``raw_tp.w/NAME``."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from bpfstream.errors import KernelError
from bpfstream.kernel import bpf
from bpfstream.links.failure import attach_failure, did_you_mean
from bpfstream.links.link import AttachableProgram, Link


def attach_raw_tracepoint(program: AttachableProgram, name: str, *, cookie: int = 0) -> Link:
    """Attach to a tracepoint without its formatted record: the program gets its raw arguments.

    Linux 4.17; a writable program 5.2; a cookie 6.10.

    Args:
        program: Of type RAW_TRACEPOINT or RAW_TRACEPOINT_WRITABLE.
        name: The tracepoint without its category: ``"sched_switch"``.
        cookie: What ``bpf_get_attach_cookie()`` gives the program; 0 is none.

    Raises:
        AttachError: There is no such tracepoint, or it doesn't suit the program.
        PermissionDeniedError: The process may not attach it.
    """
    target = f"raw tracepoint {name}"
    with ExitStack() as undo:
        try:
            fd = bpf.raw_tracepoint_open(name, program.fd, cookie=cookie)
        except OSError as error:
            raise _failure(program, name, target, cookie, error) from error
        undo.callback(os.close, fd)
        return Link(program.name, target, fd, undo.pop_all())


def _failure(
    program: AttachableProgram, name: str, target: str, cookie: int, error: OSError
) -> KernelError:
    misfit = (
        f"the program reads more arguments than the tracepoint has, or is of type "
        f"{program.type.name} and no raw tracepoint program"
    )
    if cookie:
        misfit += "; or this kernel knows no cookies of raw tracepoints, which Linux 6.10 brought"
    reasons = {
        errno.ENOENT: "there is no such tracepoint (one of a module exists while it is loaded)",
        errno.EINVAL: misfit,
        errno.EEXIST: "the program is already attached to it, which older kernels refuse",
        errno.E2BIG: "the tracepoint has as many programs as it can take",
    }
    hint = ""
    if error.errno == errno.ENOENT:
        from bpfstream.kernel import tracefs

        known = (event.partition("/")[2] for event in tracefs.available_events())
        hint = did_you_mean(name, known)
    return attach_failure(program, target, error, reasons, hint=hint)
