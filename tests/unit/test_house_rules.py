"""Rules of the house that no other tool checks, over every file of the repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.requirements import require_program

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bpfstream"
LONGEST_MODULE = 600

HOME_OF_A_DEVELOPER = re.compile(r"(?<![\w.$}])/(?:home|Users|root)/[\w.-]+")
HOST_OF_A_REGISTRY = re.compile(
    r"\b(?:pypi|pythonhosted|debian|ubuntu|npmjs|crates|golang|maven)\.(?:org|com|io|net)\b"
)


def modules(folder: Path = PACKAGE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


@pytest.fixture(scope="module")
def tracked_files() -> list[Path]:
    """The files in git, and those that are about to be."""
    git = require_program("git")
    options = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run([git, *options], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip(f"needs a git checkout: {listing.stderr.strip()}")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def lines_that_match(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    found = []
    for path in files:
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:  # a compiled object
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if pattern.search(line)
        ]
    return found


def test_no_file_knows_the_machine_that_it_was_written_on(tracked_files):
    assert lines_that_match(HOME_OF_A_DEVELOPER, tracked_files) == []


def test_no_file_names_the_host_of_a_package_registry(tracked_files):
    assert lines_that_match(HOST_OF_A_REGISTRY, tracked_files) == []


def test_every_committed_object_has_its_source_beside_it(tracked_files):
    objects = [path for path in tracked_files if path.suffix == ".o"]
    assert objects
    assert [path.name for path in objects if not path.with_suffix(".c").exists()] == []


def test_no_module_has_grown_too_long():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in modules()}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_every_module_says_what_it_holds():
    silent = [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_only_the_kernel_room_calls_c():
    """A system call goes through bpfstream/kernel: the rest needs no kernel to be tested."""
    callers = [
        path.relative_to(PACKAGE)
        for path in modules()
        if "ctypes" in imported_modules(path) and PACKAGE / "kernel" not in path.parents
    ]
    assert callers == []


def test_only_the_command_prints():
    printers = [
        path.relative_to(PACKAGE)
        for path in modules()
        if "print" in called_names(path) and PACKAGE / "cli" not in path.parents
    ]
    assert printers == []


def imported_modules(path: Path) -> set[str]:
    """The top-level names of all that a module imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def called_names(path: Path) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
