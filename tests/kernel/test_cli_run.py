"""`bpfstream run`: events as they come, losses in their place, a clean end whatever ends it."""

from __future__ import annotations

import json
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bpfstream.kernel.features import Feature
from tests.support.nobody import run_as_nobody
from tests.support.processes import repeated, watched
from tests.support.requirements import program_path, require

COMMAND = Path(sys.executable).with_name("bpfstream")
EXEC = Path(__file__).parents[2] / "examples" / "exec" / "exec.bpf.o"

TARGET = """
import os, sys
print(os.getpid(), flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        os.getppid()
    print("done", flush=True)
"""
"""Makes as many system calls as it is told."""


@contextmanager
def target() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", TARGET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def make_calls(process: subprocess.Popen[str], count: int) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    process.stdout.readline()


@contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command, streaming into a pipe."""
    require(Feature.RINGBUF)
    with watched([COMMAND, "run", *arguments]) as process:
        yield process


def programs_starting() -> AbstractContextManager[None]:
    """Processes begin and end while the block lasts."""
    return repeated(["true"])


def statistics(text: str) -> dict[str, int]:
    """The numbers in the last line of stderr."""
    found = re.search(r"received (\d+), lost (\d+), discarded (\d+)", text)
    assert found, text
    return dict(zip(("received", "lost", "discarded"), map(int, found.groups()), strict=True))


def test_a_line_of_json_is_there_when_its_event_is():
    with running(EXEC, "--json") as process, programs_starting():
        assert process.stdout
        first = json.loads(process.stdout.readline())
        assert process.poll() is None, "it still runs"
    assert first["kind"] in ("EXEC", "EXIT")
    assert set(first) >= {"pid", "ppid", "uid", "comm", "filename", "duration_ns"}


def test_count_ends_the_stream():
    with running(EXEC, "--json", "--count", "3") as process, programs_starting():
        output, errors = process.communicate()
    assert process.returncode == 0
    assert len(output.splitlines()) == 3
    assert statistics(errors)["lost"] == 0


def test_duration_ends_the_stream():
    with running(EXEC, "--json", "--duration", "0.2") as process:
        _, errors = process.communicate()
    assert process.returncode == 0
    assert "received" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_stream_cleanly(number):
    with running(EXEC, "--json") as process, programs_starting():
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 0
    assert statistics(errors)["received"] > 0
    assert "Traceback" not in errors


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_reader_that_goes_away_ends_the_stream(options):
    with running(EXEC, *options) as process, programs_starting():
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == 0
    assert "received" in errors
    assert "Traceback" not in errors


def test_losses_stand_in_the_stream_and_add_up():
    with target() as workload:
        options = ["--set", f"target_pid={workload.pid}", "--resize", "events=4096"]
        with running(program_path("tagged"), "--json", "--type", "bytes", *options) as process:
            assert process.stdout
            while not select.select([process.stdout], [], [], 0.01)[0]:  # not attached yet
                make_calls(workload, 1)
            make_calls(workload, 50_000)  # nobody reads the pipe meanwhile
            lines = [json.loads(process.stdout.readline())]
            while not any("lost" in line for line in lines):
                lines.append(json.loads(process.stdout.readline()))
            process.send_signal(signal.SIGINT)
            lines += map(json.loads, process.stdout)
            assert process.stderr
            errors = process.stderr.read()
            assert process.wait() == 0
    losses = [line for line in lines if "lost" in line]
    assert all(line["stage"] == "kernel" for line in losses)
    totals = statistics(errors)
    assert sum(line["lost"] for line in losses) == totals["lost"] > 0
    assert len(lines) - len(losses) == totals["received"]


def test_a_table_has_a_heading_and_rows():
    with running(EXEC, "--count", "2") as process, programs_starting():
        output, _ = process.communicate()
    heading, *rows = output.splitlines()
    assert heading.split()[:3] == ["kind", "pid", "ppid"]
    assert len(rows) >= 2


def test_events_of_the_users_own_class(tmp_path):
    module = tmp_path / "events.py"
    module.write_text(
        "import enum, msgspec\n"
        "class Kind(enum.IntEnum):\n    EXEC = 0\n    EXIT = 1\n"
        "class Ended(msgspec.Struct):\n    kind: Kind\n    pid: int\n    comm: str\n"
    )
    options = ["--json", "--count", "1", "--type", f"{module}:Ended"]
    with running(EXEC, *options) as process, programs_starting():
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert set(json.loads(output)) == {"kind", "pid", "comm"}


def test_a_class_that_differs_from_the_struct_is_one_message(tmp_path):
    module = tmp_path / "events.py"
    module.write_text("import msgspec\nclass Event(msgspec.Struct):\n    pid: str\n")
    with running(EXEC, "--type", f"{module}:Event") as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "pid" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([program_path("rejected")], "no map that events could come through"),
        ([program_path("rejected"), "--events", "values"], "'values' is neither a ring"),
        ([EXEC, "--program", "on_exce"], "no program 'on_exce'; there is on_exec"),
        ([EXEC, "--set", "pid=1"], "no variable 'pid'"),
    ],
)
def test_what_the_object_lacks_is_one_message(arguments, message):
    with running(*arguments) as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith("bpfstream: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_programs_can_be_chosen():
    with (
        programs_starting(),
        running(EXEC, "--program", "on_exit", "--json", "--count", "5") as run,
    ):
        output, _ = run.communicate()
    assert run.returncode == 0
    assert {json.loads(line)["kind"] for line in output.splitlines()} == {"EXIT"}


def test_without_permission_one_message_says_which():
    require(Feature.RINGBUF)
    result = run_as_nobody(str(COMMAND), "run", str(EXEC))
    assert result.returncode == 1
    assert "CAP_BPF" in result.stderr
    assert "memlock" not in result.stderr.lower()
    assert result.stderr.count("\n") == 1
