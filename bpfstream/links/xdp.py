"""XDP programs on network interfaces, by bpf_link."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from bpfstream.abi.links import XdpMode
from bpfstream.abi.programs import AttachType
from bpfstream.errors import AttachError
from bpfstream.kernel import bpf
from bpfstream.kernel.interfaces import interface_index, interface_names
from bpfstream.links.failure import attach_failure, did_you_mean
from bpfstream.links.link import AttachableProgram, Link

_REASONS = {
    errno.EBUSY: "the interface has an XDP program in this mode already",
    errno.EEXIST: "the interface has an XDP program already, in another mode or not by a link",
    errno.EINVAL: (
        "the interface is gone or lacks this mode, or the program is one for map entries "
        "(xdp/devmap, xdp/cpumap), or Linux is older than 5.9"
    ),
    errno.EOPNOTSUPP: (
        "the driver can't run it in this mode: it has no XDP, or the MTU is too large for a "
        "program without fragments"
    ),
    errno.E2BIG: "this kernel has no XDP links, which Linux 5.9 brought",
    errno.ENODEV: "there is no such interface",
}


def attach_xdp(
    program: AttachableProgram, interface: str | int, *, mode: XdpMode = XdpMode.AUTOMATIC
) -> Link:
    """Run a program on each packet that an interface receives. Linux 5.9.

    Args:
        program: Of type XDP.
        interface: The interface's name or index, in this process's network namespace.
        mode: Where the program runs; by default in the driver if it can, else in the stack.

    Raises:
        AttachError: There is no such interface, or it has a program, or can't run it in this mode.
        PermissionDeniedError: The process may not attach it.
    """
    target = f"XDP on interface {interface}"
    with ExitStack() as undo:
        try:
            index = interface_index(interface) if isinstance(interface, str) else interface
        except OSError as error:
            raise AttachError(
                program.name,
                target,
                errno.ENODEV,
                reason=_REASONS[errno.ENODEV],
                hint=did_you_mean(str(interface), interface_names()),
            ) from error
        try:
            fd = bpf.link_create(program.fd, index, AttachType.XDP, flags=mode)
        except OSError as error:
            raise attach_failure(program, target, error, _REASONS) from error
        undo.callback(os.close, fd)
        return Link(program.name, target, fd, undo.pop_all())
