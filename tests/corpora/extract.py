"""BPF objects of Debian packages, out of the programs that embed them.

    python -m tests.corpora.extract PACKAGE FOLDER

writes them to a folder, for a look at them with other tools.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.embedded_objects import embedded_objects

OTHER_PACKAGES = ("libxdp1", "xdp-tools", "ir-keytable", "qemu-system-x86")
"""Packages with objects in them, besides libbpf-tools."""


def package_files(package: str) -> list[Path]:
    """The regular files of an installed Debian package; empty when it is not installed."""
    if shutil.which("dpkg") is None:
        return []
    listing = subprocess.run(
        ["dpkg", "--listfiles", package], capture_output=True, text=True, check=False
    )
    if listing.returncode:
        return []
    paths = {Path(line).resolve() for line in listing.stdout.splitlines()}
    return sorted(path for path in paths if path.is_file())


def package_objects(package: str) -> list[tuple[str, bytes]]:
    """The distinct objects embedded in a package's files, named after their files.

    The second object of a file, and those after it, have their number added.
    """
    seen: set[bytes] = set()
    objects: list[tuple[str, bytes]] = []
    for path in package_files(package):
        for number, data in enumerate(embedded_objects(path)):
            if data not in seen:
                seen.add(data)
                objects.append((f"{path.name}.{number}" if number else path.name, data))
    return objects


def main(package: str, folder: str) -> None:
    """Write a package's objects to a folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, data in package_objects(package):
        (target / f"{name}.bpf.o").write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
