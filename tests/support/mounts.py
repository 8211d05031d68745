"""File systems mounted for one test, in a mount namespace that nobody else sees.

The machine's own mounts stay as they are, and the mount goes with the namespace, even when the test
is killed. As with network namespaces, the test's thread is in it, and what it starts.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CLONE_FS, CLONE_NEWNS = 0x200, 0x20000  # include/uapi/linux/sched.h
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18  # include/uapi/linux/mount.h


@contextmanager
def mounted(kind: str, place: Path) -> Iterator[Path]:
    """A file system of a kind, such as ``"bpf"``, at an existing directory.

    Skips the test where the kernel lacks it, or does not let us.
    """
    with (
        _opened("/proc/thread-self/ns/mnt") as namespace,
        _opened("/") as root,
        _opened(".") as folder,
    ):
        try:
            _call("unshare", CLONE_NEWNS)
            try:
                _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
                _call("mount", b"none", bytes(place), kind.encode(), 0, None)
                yield place
            finally:
                # a thread that was started in the meantime shares our root and current folder, and
                # setns(2) refuses a thread that shares them; it changes both
                _call("unshare", CLONE_FS)
                _call("setns", namespace, CLONE_NEWNS)
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(folder)
        except MountError as error:
            pytest.skip(f"needs to mount {kind}: {error}")


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class MountError(Exception):
    """The kernel lets us make no mount namespace, or not mount in it."""


def _call(name: str, *arguments: object) -> None:
    if ctypes.CDLL(None, use_errno=True)[name](*arguments) != 0:
        raise MountError(f"{name}: {os.strerror(ctypes.get_errno())}")
