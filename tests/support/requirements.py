"""What a test needs beyond Python: a kernel feature, a privilege, a program.

A test that needs something says so in its first line. Where it is missing the test is skipped with
a reason that begins with "needs", and the end of the run counts the skips by reason.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bpfstream.kernel.features import Feature

PROGRAMS = Path(__file__).parents[1] / "programs"


def require(*features: Feature) -> None:
    """Skips the test where a probe of the running kernel says that it lacks a feature.

    Or that it refuses the feature, even to root; the kernel's reason is the test's then.
    """
    from bpfstream.errors import KernelError
    from bpfstream.kernel.features import supports

    for feature in features:
        try:
            available, refused = supports(feature), ""
        except KernelError as error:
            available, refused = False, f", but {error.reason or error}"
        if not available:
            pytest.skip(f"needs {feature.text} (since Linux {feature.since}){refused}")


def require_root() -> None:
    """Skips the test where it does not run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def require_guest(why: str = "it sets the machine's clock") -> None:
    """Skips the test where it does not run in a guest that vm.sh booted: it changes the machine."""
    if "bpfstream.guest" not in Path("/proc/cmdline").read_text().split():
        pytest.skip(f"needs a guest, as {why}")


def require_machine(machine: str) -> None:
    """Skips the test on other machines: its object reads the registers of that one.

    Args:
        machine: The name that ``uname -m`` gives.
    """
    if platform.machine() != machine:
        pytest.skip(f"needs an object compiled for {platform.machine()}, not for {machine}")


def require_program(name: str, *, package: str = "") -> Path:
    """The path of an installed program; skips the test where it is missing.

    Args:
        name: The program, such as ``"clang"``.
        package: The Debian package that has it, when its name differs.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs the program {name} (Debian package {package or name})")
    return Path(found)


def program_path(name: str) -> Path:
    """The compiled BPF object ``tests/programs/NAME.bpf.o``, which `make bpf` builds."""
    path = PROGRAMS / f"{name}.bpf.o"
    assert path.exists(), f"{path.name} is not built: make bpf"
    return path
