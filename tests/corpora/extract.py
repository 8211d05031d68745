"""BPF objects that other programs embed: found by their ELF header, cut out by their tables."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x7fELF\x02"
MACHINE_BPF = 247
TYPE_RELOCATABLE = 1
NOBITS = 8


def embedded_objects(path: Path) -> Iterator[bytes]:
    """Every relocatable 64-bit BPF object inside a file, in the order of their offsets.

    An embedded object has no length of its own: it ends where the last of its section table and
    its sections ends.
    """
    data = path.read_bytes()
    start = data.find(MAGIC)
    while start >= 0:
        size = _object_size(data, start)
        if size:
            yield data[start : start + size]
        start = data.find(MAGIC, start + (size or len(MAGIC)))


def _object_size(data: bytes, start: int) -> int:
    """Bytes of the BPF object at `start`; 0 when there is none."""
    header = data[start : start + 64]
    if len(header) < 64 or header[5] not in (1, 2):
        return 0
    order = "<" if header[5] == 1 else ">"
    kind, machine = struct.unpack_from(f"{order}HH", header, 16)
    if kind != TYPE_RELOCATABLE or machine != MACHINE_BPF:
        return 0
    (table,) = struct.unpack_from(f"{order}Q", header, 40)
    entry_size, count = struct.unpack_from(f"{order}HH", header, 58)
    end = table + entry_size * count
    if entry_size != 64 or start + end > len(data):
        return 0
    for index in range(count):
        entry = start + table + index * entry_size
        (section_type,) = struct.unpack_from(f"{order}I", data, entry + 4)
        offset, size = struct.unpack_from(f"{order}QQ", data, entry + 24)
        if section_type != NOBITS:
            end = max(end, offset + size)
    return end if start + end <= len(data) else 0


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
    """Write a package's objects to a folder, for a look at them with other tools."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, data in package_objects(package):
        (target / f"{name}.bpf.o").write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
