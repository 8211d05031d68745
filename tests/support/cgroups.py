"""A cgroup of a test's own, under the cgroup2 mount."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def cgroup2_mount() -> Path | None:
    """Where cgroup2 is mounted: in /sys/fs/cgroup, or beside cgroup1 in a folder of it."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4])
    return None


@contextmanager
def new_cgroup() -> Iterator[Path]:
    """A new cgroup; processes that are in it at the end return to the cgroup of this process."""
    mount = cgroup2_mount()
    if mount is None:
        pytest.skip("needs a cgroup2 mount")
    home = mount / _own_cgroup().lstrip("/")
    path = mount / f"bpfstream-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"needs a cgroup2 mount that can be written to: {error.strerror}")
    try:
        yield path
    finally:
        for process in (path / "cgroup.procs").read_text().split():
            (home / "cgroup.procs").write_text(process)
        path.rmdir()


def _own_cgroup() -> str:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next((line[len("0::") :] for line in lines if line.startswith("0::")), "/")
