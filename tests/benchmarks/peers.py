"""The programs that are measured: ours, and those of other libraries, built from their packages.

A peer that can't be built or run on this machine is left out, with a reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILD = ROOT / ".cache" / "benchmarks"
SOURCES = HERE / "consumers"
OBJECTS = HERE / "programs"
SYSTEM_PYTHON = Path("/usr/bin/python3")


class UnavailableError(Exception):
    """A peer that this machine can't run; the message says why."""


class Peer(msgspec.Struct, frozen=True):
    """A library to measure.

    Attributes:
        name: What it is called.
        command: Starts its program; the benchmark's arguments follow.
        environment: Variables added to the process's.
        ours: Whether it is bpfstream.
    """

    name: str
    command: list[str]
    environment: dict[str, str] = {}
    ours: bool = False

    def start(self, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
        """Start the program."""
        return subprocess.Popen(
            [*self.command, *map(str, arguments)],
            env=os.environ | self.environment,
            **options,  # type: ignore[call-overload]
        )


def ours(
    name: str = "bpfstream", *, pure: bool = False, script: str = "bpfstream_consumer"
) -> Peer:
    """Our own library, in this interpreter."""
    environment = {"BPFSTREAM_PURE": "1" if pure else "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SOURCES / f"{script}.py")]
    return Peer(name, command, environment, ours=True)


def build_libbpf() -> Peer:
    """The consumer in C, with the system's libbpf.

    Raises:
        UnavailableError: There is no compiler or no libbpf.
    """
    source, program = SOURCES / "libbpf.c", BUILD / "libbpf"
    _need("gcc")
    _run(["gcc", "-O2", "-Wall", "-o", str(program), str(source), "-lbpf"], BUILD)
    return Peer("libbpf", [str(program)])


def build_cilium() -> Peer:
    """The consumer in Go, with cilium/ebpf as Go's module proxy has it.

    Raises:
        UnavailableError: There is no Go, or it can't build the module.
    """
    _need("go")
    folder = BUILD / "cilium"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SOURCES / "cilium", folder)
    # -mod=mod: the copy's go.mod gets what the module needs in turn
    _run(["go", "build", "-mod=mod", "-o", str(BUILD / "cilium.bin"), "."], folder)
    return Peer("cilium", [str(BUILD / "cilium.bin")])


def find_bcc() -> Peer:
    """The consumer with BCC, run by the Python that runs bpfstream.

    BCC is installed for the system's Python, which may be built with other optimizations; it is
    plain Python, so ours runs it too, and libraries are compared rather than builds of Python.

    Raises:
        UnavailableError: It is not installed.
    """
    if not SYSTEM_PYTHON.exists():
        raise UnavailableError(f"there is no {SYSTEM_PYTHON}")
    where = _run([str(SYSTEM_PYTHON), "-c", "import bcc; print(bcc.__path__[0])"], BUILD)
    only_bcc = BUILD / "bcc"
    shutil.rmtree(only_bcc, ignore_errors=True)
    only_bcc.mkdir(parents=True)
    (only_bcc / "bcc").symlink_to(where.strip())
    python = ["env", f"PYTHONPATH={only_bcc}", sys.executable]
    _run([*python, "-c", "import bcc"], BUILD)
    return Peer("bcc", [*python, str(SOURCES / "bcc_consumer.py")])


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise UnavailableError(f"there is no program {program}")


def _run(command: list[str], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UnavailableError(
            last_line(result.stderr) or f"{command[0]} ended with {result.returncode}"
        )
    return result.stdout


def last_line(text: str) -> str:
    """The last line that is not blank: what a failed program ends with."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
