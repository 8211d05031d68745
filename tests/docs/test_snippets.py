"""Every snippet of README and docs does what it says; `tests.docs.snippets` has the conventions."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.snippets import ROOT, Snippet, pages, snippets
from tests.support.mounts import mounted
from tests.support.requirements import require, require_program, require_root

SNIPPETS = [snippet for page in pages() for snippet in snippets(page)]
RUNNABLE = [each for each in SNIPPETS if each.language in ("python", "console")]
TIME_LIMIT = 300
TRACEFS = Path("/sys/kernel/tracing")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[Path, Path]:
    """A folder for each page, with the objects and files that its snippets use."""
    made = {}
    for page in pages():
        made[page] = tmp_path_factory.mktemp(page.stem)
        for each in (*ROOT.glob("examples/*/*.bpf.o"), *ROOT.glob("tests/programs/*.bpf.o")):
            shutil.copy(each, made[page])
        for snippet in snippets(page):
            if snippet.file_name:
                (made[page] / snippet.file_name).write_text(snippet.text)
    return made


@contextmanager
def workload() -> Iterator[None]:
    """Programs start and end, and fail to open files, while the block lasts."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            subprocess.run(["cat", "/nonexistent"], stderr=subprocess.DEVNULL, check=False)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def require_what_snippets_need() -> None:
    from bpfstream.kernel.features import Feature

    require_root()
    require(Feature.RINGBUF)
    if not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("needs the kernel's BTF")


def environment() -> dict[str, str]:
    """`python` and `bpfstream` are those of the interpreter that runs the tests."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(command: list[str], folder: Path, lines_until_end: int | None) -> None:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(TIME_LIMIT, process.kill)
    watchdog.start()
    try:
        if lines_until_end is not None:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(lines_until_end)]
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate()
            assert all(lines), errors
        else:
            output, errors = process.communicate()
            assert process.returncode == 0, f"{output}\n{errors}"
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_the_pages_have_snippets():
    assert {each.page.name for each in RUNNABLE} >= {"README.md", "tutorial.md"}


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_a_directive_is_one_of_those_known(snippet: Snippet):
    known = ("until: ", "file: ", "not run: ")
    assert snippet.directive in ("", "no root") or snippet.directive.startswith(known)


@pytest.mark.parametrize("snippet", RUNNABLE, ids=str)
def test_a_snippet_runs(snippet: Snippet, folders: dict[Path, Path]):
    if snippet.language == "python":
        compile(snippet.text, str(snippet), "exec")
    if snippet.reason_not_to_run:
        pytest.skip(f"needs {snippet.reason_not_to_run}")
    if snippet.language == "python":
        commands = [[sys.executable, "-c", snippet.text]]
    else:
        commands = [["bash", "-c", command] for command in snippet.commands]
    if not commands:
        return  # shown only
    if snippet.needs_root:
        require_what_snippets_need()
    for program, package in (("clang", "clang"), ("llvm-strip", "llvm")):
        if any(command[-1].startswith(program) for command in commands):
            require_program(program, package=package)
    with ExitStack() as stack:
        if snippet.needs_root and not (TRACEFS / "events").exists():
            stack.enter_context(mounted("tracefs", TRACEFS))
        stack.enter_context(workload())
        for command in commands:
            run(command, folders[snippet.page], snippet.lines_until_end)
