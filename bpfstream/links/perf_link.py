"""Setting a program on a perf event: what tracepoints, kprobes, uprobes and samplers share.

Linux 5.15 and later make a bpf_link of it. Before that the program is set on the event by ioctl:
there is no link object to pin or to ask about, and no cookie.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from bpfstream.abi.programs import AttachType
from bpfstream.kernel import bpf, perf
from bpfstream.kernel.features import Feature, require, supports
from bpfstream.links.failure import attach_failure
from bpfstream.links.link import AttachableProgram, Link

_REASONS = {
    errno.EEXIST: "the program is already attached there, or the event has a program",
    errno.EINVAL: "the event does not take programs of this type",
    errno.E2BIG: "the target has as many programs as it can take (64)",
    errno.EPROTO: (
        "the program reads call stacks, and the event is precise but samples none: add CALLCHAIN "
        "to its sample type"
    ),
}


def link_to_perf_event(
    program: AttachableProgram,
    target: str,
    event_fd: int,
    undo: ExitStack,
    *,
    cookie: int = 0,
) -> Link:
    """Set `program` on an open perf event and enable the event.

    Args:
        program: Of a type that the event takes.
        target: What is attached to, in words.
        event_fd: The event. It and everything that `undo` already undoes pass to the link.
        undo: The caller's; emptied on success, left to the caller to unwind otherwise.
        cookie: What ``bpf_get_attach_cookie()`` gives the program; 0 is none.

    Raises:
        AttachError: The event doesn't take the program.
        NotSupportedError: There is a cookie and the kernel is older than 5.15.
        PermissionDeniedError: The process may not attach it.
    """
    fd = event_fd
    try:
        link_fd = _create_link(program, target, event_fd, cookie)
        if link_fd is not None:
            undo.callback(os.close, link_fd)
            fd = link_fd
        else:
            perf.set_bpf(event_fd, program.fd)
        perf.enable(event_fd)
    except OSError as error:
        raise attach_failure(program, target, error, _REASONS) from error
    # Closing the event would do, if no other process held it (by a fork without exec).
    undo.callback(perf.disable, event_fd)
    return Link(program.name, target, fd, undo.pop_all(), is_kernel_link=link_fd is not None)


def _create_link(program: AttachableProgram, target: str, event_fd: int, cookie: int) -> int | None:
    """Make a bpf_link upon the event; None when the kernel has none for perf events."""
    try:
        return bpf.link_create(program.fd, event_fd, AttachType.PERF_EVENT, cookie=cookie)
    except OSError as error:
        # Older kernels refuse so too; those that know such links may have refused the program.
        if error.errno not in (errno.EINVAL, errno.E2BIG) or supports(Feature.PERF_LINK):
            raise
    if cookie:
        require(Feature.PERF_LINK, f"give a cookie to {program.name!r} at {target}")
    return None
