"""Attaching to functions of programs and libraries."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpfstream import links
from bpfstream.errors import AttachError
from bpfstream.kernel import perf
from bpfstream.kernel.features import Feature
from bpfstream.links.elf_image import ElfImage
from bpfstream.links.executable import find_function
from tests.support.counting import counting_program
from tests.support.requirements import require

SECTION = "uprobe/libc.so.6:getpgid"
CHILD = """
import os, sys
sys.stdin.readline()
for _ in range(7):
    os.getpgid(0)
"""


def call_getpgid(times=5):
    for _ in range(times):
        os.getpgid(0)


def mapped_file(name):
    """A library that this process has mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split()[-1] for line in lines if line.endswith(f"/{name}"))


@contextmanager
def waiting_child():
    """A Python process that calls getpgid 7 times when it gets a line, and then ends."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def let_run(child):
    child.communicate(b"\n", timeout=60)
    assert child.returncode == 0


@pytest.mark.parametrize("section", [SECTION, "uretprobe/libc.so.6:getpgid"])
def test_a_program_runs_at_each_call_of_a_library_function(section):
    require(Feature.UPROBE_PMU)
    with counting_program(section) as program:
        with links.attach(program):
            call_getpgid(5)
            assert program.runs == 5
        call_getpgid()
        assert program.runs == 5


def test_a_program_runs_in_processes_that_start_later():
    require(Feature.UPROBE_PMU)
    with counting_program(SECTION) as program, links.attach(program), waiting_child() as child:
        program.count_only(child.pid)
        let_run(child)
        assert program.runs == 7


def test_a_probe_of_one_process_leaves_others_alone():
    require(Feature.UPROBE_PMU)
    with counting_program("uprobe") as program, waiting_child() as child:
        program.count_only(0)
        path = mapped_file("libc.so.6")
        with links.attach_uprobe(program, path, symbol="getpgid", pid=child.pid):
            call_getpgid()
            assert program.runs == 0
            let_run(child)
            assert program.runs == 7


def interpreter_file(symbol):
    """The program or library that has a function of the interpreter."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    library = [line.split()[-1] for line in lines if "/libpython3." in line][:1]
    for path in [*library, Path(sys.executable).resolve()]:
        with ElfImage(path) as image:
            if find_function(image, symbol) is not None:
                return path
    raise AssertionError(f"no file of the interpreter has {symbol}")


def test_a_function_of_the_interpreter_is_found():
    require(Feature.UPROBE_PMU)
    symbol = "Py_GetRecursionLimit"
    with (
        counting_program("uprobe") as program,
        links.attach_uprobe(program, interpreter_file(symbol), symbol=symbol),
    ):
        for _ in range(5):
            sys.getrecursionlimit()
        assert program.runs == 5


def test_a_place_is_given_by_file_offset_too():
    require(Feature.UPROBE_PMU)
    path = mapped_file("libc.so.6")
    with ElfImage(path) as image:
        offset = find_function(image, "getpgid")
    with counting_program(f"uprobe/{path}:{offset:#x}") as program, links.attach(program):
        call_getpgid(4)
        assert program.runs == 4


def test_a_program_reads_its_cookie():
    require(Feature.UPROBE_PMU, Feature.PERF_LINK, Feature.ATTACH_COOKIE)
    with counting_program(SECTION, reads_cookie=True) as program, links.attach(program, cookie=42):
        call_getpgid(1)
        assert program.cookie == 42


@pytest.mark.parametrize("section", [SECTION, "uretprobe/libc.so.6:getpgid"])
def test_without_the_pmu_the_probe_is_made_by_tracefs_and_removed(section, tracefs, monkeypatch):
    require(Feature.TRACEFS_UPROBES)
    monkeypatch.setattr(perf, "pmu_type", lambda name: None)
    before = (tracefs / "uprobe_events").read_text()
    with counting_program(section) as program:
        with links.attach(program):
            call_getpgid(5)
            assert program.runs == 5
            assert (tracefs / "uprobe_events").read_text() != before
        assert (tracefs / "uprobe_events").read_text() == before
        call_getpgid()
        assert program.runs == 5


def test_a_refused_program_leaves_no_probe_behind(tracefs, monkeypatch):
    require(Feature.TRACEFS_UPROBES)
    monkeypatch.setattr(perf, "pmu_type", lambda name: None)
    before = (tracefs / "uprobe_events").read_text()
    with counting_program("raw_tp/sys_enter") as program, pytest.raises(AttachError, match="type"):
        links.attach_uprobe(program, mapped_file("libc.so.6"), symbol="getpgid")
    assert (tracefs / "uprobe_events").read_text() == before


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("/nowhere/at-all:f", errno.ENOENT, "no such file"),
        ("no-such-program-here:f", errno.ENOENT, "no file 'no-such-program-here'"),
        ("libc.so.6:getpgidd", errno.ENOENT, "did you mean getpgid"),
        ("/etc/passwd:f", errno.ENOEXEC, "no ELF file"),
        ("/etc:f", errno.EISDIR, "folder"),
        ("/etc/passwd:0x1000000", errno.EINVAL, "beyond its end"),
    ],
)
def test_what_can_not_be_probed_says_why(place, code, message):
    require(Feature.UPROBE_PMU)
    with (
        counting_program(f"uprobe/{place}") as program,
        pytest.raises(AttachError, match=message) as caught,
    ):
        links.attach(program)
    assert caught.value.errno == code


def test_a_process_that_is_gone_is_named():
    require(Feature.UPROBE_PMU)
    with waiting_child() as child:
        let_run(child)
    with counting_program("uprobe") as program, pytest.raises(AttachError, match="no such process"):
        links.attach_uprobe(program, "libc.so.6", symbol="getpgid", pid=child.pid)


def test_a_return_has_no_offset():
    with (
        counting_program("uretprobe/libc.so.6:getpgid+4") as program,
        pytest.raises(AttachError, match="no offset"),
    ):
        links.attach(program)
