"""How the running system is set up for BPF: its settings, and what is mounted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bpfstream.kernel.privileges import Privileges, read_privileges

_FILE_SYSTEMS = ("bpf", "tracefs", "cgroup2", "debugfs", "securityfs")
_OCTAL = re.compile(r"\\([0-7]{3})")


class System(msgspec.Struct, frozen=True):
    """A system, as far as it matters to BPF programs and those who load them.

    Attributes:
        release: Of the kernel, as ``uname -r`` says.
        machine: As ``uname -m`` says.
        privileges: What this process may do.
        jit: Whether programs are compiled; None when that can't be read.
        kernel_btf: Whether the kernel has its types at hand.
        security_modules: Those that are active, in order; None when that can't be read.
        mounts: Where file systems are mounted first: by their type, of those that matter.
    """

    release: str
    machine: str
    privileges: Privileges
    jit: bool | None
    kernel_btf: bool
    security_modules: tuple[str, ...] | None
    mounts: dict[str, str]


def read_system(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> System:
    """Look at the running system.

    Args:
        proc: Where proc is mounted.
        sys: Where sysfs is mounted.
    """
    uname = os.uname()
    jit = _read(proc / "sys/net/core/bpf_jit_enable").strip()
    modules = _read(sys / "kernel/security/lsm").strip()
    return System(
        release=uname.release,
        machine=uname.machine,
        privileges=read_privileges(proc, sys),
        jit=jit != "0" if jit else None,
        kernel_btf=(sys / "kernel/btf/vmlinux").exists(),
        security_modules=tuple(modules.split(",")) if modules else None,
        mounts=parse_mounts(_read(proc / "self/mountinfo"), _FILE_SYSTEMS),
    )


def parse_mounts(mountinfo: str, types: Iterable[str]) -> dict[str, str]:
    """Where file systems of some types are mounted first, from proc_pid_mountinfo(5).

    Lines that are none of that format are passed over.
    """
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if separator and len(fields) > 4 and kind in types:
            found.setdefault(kind, _OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4]))
    return found


def _read(path: Path) -> str:
    """A small file's text; empty when it can't be read, which then says nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""
