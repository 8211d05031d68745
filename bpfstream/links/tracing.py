"""Programs bound to their target when they were loaded: tp_btf, fentry, fexit, fmod_ret and lsm.

The target's BTF id is an attribute of loading, so that the verifier knows the arguments' types; to
attach is only to switch the program on.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from bpfstream.abi.programs import AttachType
from bpfstream.errors import ENOTSUPP
from bpfstream.kernel import bpf
from bpfstream.links.failure import attach_failure
from bpfstream.links.link import AttachableProgram, Link

_TARGETS = {
    AttachType.TRACE_RAW_TP: "BTF tracepoint",
    AttachType.TRACE_FENTRY: "entry of",
    AttachType.TRACE_FEXIT: "exit of",
    AttachType.TRACE_FSESSION: "entry and exit of",
    AttachType.MODIFY_RETURN: "return value of",
    AttachType.LSM_MAC: "LSM hook",
}

_REASONS = {
    errno.EBUSY: (
        "the target is taken: another program modifies or replaces it, or it is live-patched"
    ),
    errno.E2BIG: "the target has as many programs as it can take (38 on most kernels)",
    errno.ENOENT: "the target is gone: its module was unloaded, or ftrace can't trace it",
    errno.EINVAL: "the program was loaded for no target, or for one that can't be traced",
    ENOTSUPP: "this architecture has no BPF trampolines, which these programs need",
}


def attach_tracing(program: AttachableProgram, *, cookie: int = 0) -> Link:
    """Attach a tracing or LSM program to the target that it was loaded for.

    tp_btf, fentry and fexit: Linux 5.5; fmod_ret and lsm: 5.7; targets in modules: 5.11. A cookie:
    5.19 for functions and LSM hooks, 6.10 for tracepoints. An LSM program runs only if the kernel's
    list of active LSMs (/sys/kernel/security/lsm) has ``bpf``.

    Args:
        program: Of type TRACING or LSM.
        cookie: What ``bpf_get_attach_cookie()`` gives the program; 0 is none.

    Raises:
        AttachError: The target is taken, full, gone or can't be traced.
        PermissionDeniedError: The process may not attach it.
    """
    words = _TARGETS.get(program.attach_type, "target")
    target = f"{words} {program.attach_to or 'what it was loaded for'}"
    with ExitStack() as undo:
        try:
            fd = _open(program, cookie)
        except OSError as error:
            reasons = dict(_REASONS)
            if cookie:
                since = "6.10" if program.attach_type == AttachType.TRACE_RAW_TP else "5.19"
                reasons[errno.EINVAL] += f"; or this kernel lacks its cookies (Linux {since})"
            raise attach_failure(program, target, error, reasons) from error
        undo.callback(os.close, fd)
        return Link(program.name, target, fd, undo.pop_all())


def _open(program: AttachableProgram, cookie: int) -> int:
    """Make the link as kernels from 5.17 on want it, else as older ones did.

    Older kernels answer EINVAL to LINK_CREATE for these attach types and know RAW_TRACEPOINT_OPEN
    without a name instead (kernel/bpf/syscall.c), which takes no cookie.
    """
    try:
        return bpf.link_create(program.fd, 0, program.attach_type, cookie=cookie)
    except OSError as error:
        if error.errno != errno.EINVAL or cookie:
            raise
    return bpf.raw_tracepoint_open(None, program.fd)
