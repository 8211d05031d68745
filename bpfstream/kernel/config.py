"""The running kernel's version and build configuration."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from bpfstream.errors import KernelError

_CONFIG_GZ = Path("/proc/config.gz")
_VERSION_SIGNATURE = Path("/proc/version_signature")


def parse_version(text: str) -> int | None:
    """Encode ``5.10.209-3`` as the kernel does, ``major << 16 | minor << 8 | patch``.

    A patch level beyond 255 counts as 255 (``KERNEL_VERSION``, Makefile). None: no version in it.
    """
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        return None
    major, minor, patch = (int(number or 0) for number in match.groups())
    return major << 16 | min(minor, 255) << 8 | min(patch, 255)


def version_of(signature: str, version: str, release: str) -> int | None:
    """The kernel's version from what it says of itself.

    Distributions put their own number into the release. Ubuntu tells the kernel's as the last word
    of its signature, Debian behind the word Debian in `version`.

    Args:
        signature: /proc/version_signature, or empty.
        version: uname(2)'s version, such as ``#1 SMP Debian 5.10.209-2 (2024-01-31)``.
        release: uname(2)'s release.
    """
    words = signature.split()
    debian = re.search(r"Debian (\S+)", version)
    candidates = [words[-1] if words else "", debian[1] if debian else "", release]
    return next(filter(None, map(parse_version, candidates)), None)


@cache
def kernel_version() -> int:
    """The running kernel's ``LINUX_VERSION_CODE``, which kprobes before Linux 5.0 had to name.

    Raises:
        KernelError: The kernel's release is no number.
    """
    try:
        signature = _VERSION_SIGNATURE.read_text()
    except OSError:
        signature = ""  # only Ubuntu has it
    system = os.uname()
    code = version_of(signature, system.version, system.release)
    if code is None:
        raise KernelError(
            "find the kernel's version",
            errno.EINVAL,
            reason=f"its release {system.release!r} does not begin with a number",
        )
    return code


def parse_config(lines: Iterable[str]) -> dict[str, str]:
    """Read ``CONFIG_NAME=value`` lines; the first of a name counts. Values keep their quotes."""
    options: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.strip().partition("=")
        if separator and value and name.startswith("CONFIG_"):
            options.setdefault(name, value)
    return options


@cache
def kernel_config() -> Mapping[str, str]:
    """How the running kernel was built, from /boot/config-RELEASE or /proc/config.gz.

    Returns:
        The text behind ``=`` by name: ``{"CONFIG_HZ": "250", "CONFIG_BPF": "y"}``. An option that
        is not set is not there.

    Raises:
        KernelError: Neither file can be read.
    """
    import gzip

    boot = Path(f"/boot/config-{os.uname().release}")
    try:
        with boot.open(errors="replace") as lines:
            return parse_config(lines)
    except OSError:
        pass  # many systems have the other one only
    try:
        with gzip.open(_CONFIG_GZ, "rt", errors="replace") as lines:
            return parse_config(lines)
    except (OSError, EOFError) as error:
        code = error.errno if isinstance(error, OSError) else None
        raise KernelError(
            "read the kernel's configuration",
            code or errno.ENOENT,
            reason=f"neither {boot} nor {_CONFIG_GZ} can be read",
            hint="build the kernel with CONFIG_IKCONFIG_PROC=y, or install its configuration",
        ) from error
