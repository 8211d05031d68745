"""Compile the BPF programs of tests, benchmarks and examples; objects are committed beside them.

    python tests/programs/build.py [SOURCE...]

needs clang, llvm-strip and libbpf-dev. Who runs tests or examples needs none of them:
`manifest.json` keeps what each object was made from, and a test says when an object is out of date.

The output depends on sources and toolchain alone: clang runs in the source's folder, with relative
paths, and what only a debugger reads is stripped.
"""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = Path(__file__).with_name("manifest.json")
INCLUDE = ROOT / "bpfstream" / "include"
TARGET_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64", "s390x": "s390"}
LIBBPF_VERSION_HEADER = Path("/usr/include/bpf/libbpf_version.h")


def sources() -> list[Path]:
    """Every BPF C source of the project."""
    folders = ("tests/programs", "tests/benchmarks/programs", "examples/*")
    return [source for folder in folders for source in sorted(ROOT.glob(f"{folder}/*.bpf.c"))]


def object_of(source: Path) -> Path:
    return source.with_suffix(".o")


def toolchain() -> str | None:
    """What decides the output besides the sources, or None where something needed is missing."""
    if not all(map(shutil.which, ("clang", "llvm-strip"))) or not LIBBPF_VERSION_HEADER.exists():
        return None
    clang = subprocess.run(["clang", "--version"], check=True, capture_output=True, text=True)
    numbers = re.findall(r"VERSION (\d+)", LIBBPF_VERSION_HEADER.read_text())
    return f"{clang.stdout.splitlines()[0]}, libbpf {'.'.join(numbers)}, {platform.machine()}"


def inputs_of(source: Path) -> Iterator[Path]:
    """The source and the project's own headers that it includes."""
    yield source
    for name in re.findall(r'^#include [<"]([^>"]+)[>"]', source.read_text(), re.MULTILINE):
        for folder in (source.parent, INCLUDE):
            if (folder / name).is_file():
                yield folder / name


def digest(paths: Iterator[Path]) -> str:
    """SHA-256 over the contents."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def compile_object(source: Path, output: Path) -> None:
    """Compile one source."""
    include = INCLUDE.relative_to(ROOT)
    upwards = Path(*[".."] * len(source.parent.relative_to(ROOT).parts))
    command = [
        *("clang", "-target", "bpf", "-g", "-O2", "-Wall", "-Werror"),
        *("-fdebug-compilation-dir=.", f"-ffile-prefix-map={upwards / include}={include}"),
        *("-I", str(upwards / include)),
        # For kprobes, which read their arguments from the registers of one architecture.
        f"-D__TARGET_ARCH_{TARGET_ARCHITECTURES[platform.machine()]}",
        # <asm/types.h>, which <linux/bpf.h> includes, is in a folder that only the host's target
        # searches; after all others, so that nothing else of the host is taken.
        *("-idirafter", f"/usr/include/{sysconfig.get_config_var('MULTIARCH')}"),
        *("-c", source.name, "-o", str(output)),
    ]
    subprocess.run(command, check=True, cwd=source.parent)
    subprocess.run(["llvm-strip", "-g", str(output)], check=True)


def main(arguments: list[str]) -> int:
    made_with = toolchain()
    if made_with is None:
        print("needs clang, llvm-strip and libbpf-dev", file=sys.stderr)
        return 1
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    known = {str(source.relative_to(ROOT)): source for source in sources()}
    wanted = {str(Path(name).resolve().relative_to(ROOT)) for name in arguments} or set(known)
    for name in sorted(wanted):
        source = known[name]
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "object.o"
            compile_object(source, output)
            shutil.copyfile(output, object_of(source))
        manifest[name] = {"inputs": digest(inputs_of(source)), "toolchain": made_with}
        print(name)
    kept = {name: manifest[name] for name in sorted(manifest) if name in known}
    MANIFEST.write_text(json.dumps(kept, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
