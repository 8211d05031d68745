"""libbpf's verdict on objects, by the C program beside this file."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.support.requirements import require_program

SOURCE = Path(__file__).with_name("oracle.c")


class OracleVerdict(msgspec.Struct, frozen=True):
    """What became of one program that libbpf loaded on its own.

    Attributes:
        object: The object's path.
        program: The program's name; None when the object could not be opened.
        ok: The kernel took it.
        errno: Why it didn't, 0 if it did; from 4000 on these are libbpf's own.
        relocated: libbpf got as far as handing it to the kernel.
        insns: Number of instructions.
        hash: `masked_hash` of them.
    """

    object: str
    program: str | None
    ok: bool
    errno: int
    relocated: bool = False
    insns: int = 0
    hash: str = ""


def build_oracle(folder: Path) -> Path:
    """Compile the oracle; skips the test where that takes something that is missing."""
    compiler = require_program("cc", package="gcc")
    for header, package in (("bpf/libbpf.h", "libbpf-dev"), ("libelf.h", "libelf-dev")):
        if not Path("/usr/include", header).exists():
            pytest.skip(f"needs the C library's headers {header} (Debian package {package})")
    oracle = folder / "oracle"
    libraries = ["-lbpf", "-lelf", "-lz"]
    subprocess.run([compiler, "-O2", "-Wall", "-o", oracle, SOURCE, *libraries], check=True)
    return oracle


def consult(oracle: Path, objects: Sequence[Path]) -> list[OracleVerdict]:
    """The verdicts on all programs of some objects, in the order of the objects."""
    finished = subprocess.run([oracle, *objects], capture_output=True, text=True, check=True)
    return [msgspec.json.decode(line, type=OracleVerdict) for line in finished.stdout.splitlines()]


def fnv1a(data: bytes) -> str:
    """The 64-bit hash that the oracle makes of instructions, in hexadecimal."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"
