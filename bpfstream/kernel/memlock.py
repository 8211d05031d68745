"""RLIMIT_MEMLOCK, which bounds the memory of BPF objects before Linux 5.11.

Since then that memory counts to the control group, and the limit must be left alone. Before, each
map and program is charged to its user, whose limit is 64 KiB by default: a refusal is EPERM, also
for root. So the limit is raised when a call was refused, and only where it is what refused.
"""

from __future__ import annotations

import errno
import os
import re
from functools import cache

from bpfstream.abi import attributes
from bpfstream.abi.commands import Command
from bpfstream.abi.programs import ProgramType
from bpfstream.kernel.probe_objects import calling
from bpfstream.kernel.syscalls import address_of, bpf_uninterrupted

_KTIME_GET_COARSE_NS = 160
"""A helper that came with the accounting."""

_SINCE = (5, 11)


@cache  # which keeps answers, not exceptions
def probe_cgroup_accounting() -> bool:
    """Ask the kernel whether BPF memory counts to the control group (Linux 5.11).

    Raises:
        OSError: The kernel does not answer: EPERM without the permission to load a program, or,
            on an older kernel, without room for one.
    """
    code, license_text = bytearray(calling(_KTIME_GET_COARSE_NS)), bytearray(b"\0")
    request = attributes.PROG_LOAD.pack(
        prog_type=ProgramType.SOCKET_FILTER,
        insn_cnt=len(code) // 8,
        insns=address_of(code),
        license=address_of(license_text),
    )
    try:
        fd = bpf_uninterrupted(Command.PROG_LOAD, request)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    os.close(fd)
    return True


def memory_counts_to_cgroup() -> bool:
    """As `probe_cgroup_accounting`, but when the kernel does not answer its version must do."""
    try:
        return probe_cgroup_accounting()
    except OSError:
        numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
        return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _SINCE


def limit_is_finite() -> bool:
    """Whether this process has a memory lock limit at all."""
    import resource

    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY


def raise_limit() -> bool:
    """Raise the limit, where it bounds BPF memory, as far as this process may.

    Returns:
        Whether it is higher now, so that a call that was refused is worth another try.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or memory_counts_to_cgroup():
        return False
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    for wanted in (unlimited, (hard, hard)):  # the first takes CAP_SYS_RESOURCE
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, wanted)
        except (ValueError, OSError):
            continue
        return wanted[0] != soft
    return False
