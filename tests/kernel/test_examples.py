"""The examples do what they say, each against a workload of the test's own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bpfstream.kernel.features import Feature
from tests.support.mounts import mounted
from tests.support.nobody import run_as_nobody
from tests.support.processes import TIME_LIMIT, repeated, watched
from tests.support.requirements import require, require_machine

EXAMPLES = Path(__file__).parents[2] / "examples"
TRACEFS = Path("/sys/kernel/tracing")
LINES_OF_A_SCRIPT = 40


@contextmanager
def example(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running example; it is ended at the end of the block."""
    require(Feature.RINGBUF)
    script = EXAMPLES / name / f"{name}.py"
    with watched([sys.executable, script, *arguments]) as process:
        yield process


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["exec", "opens", "tcp_connect"])
def test_scripts_are_short(name):
    script = EXAMPLES / name / f"{name}.py"
    assert len(script.read_text().splitlines()) < LINES_OF_A_SCRIPT


def test_exec_shows_what_a_command_runs_and_ends_with_it():
    with example("exec", "sh", "-c", "cat /dev/null; exit 0") as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    lines = output.splitlines()
    assert any(line.startswith("EXEC") and line.endswith("/cat") for line in lines)
    assert any(line.startswith("EXIT") and " cat " in line and "ran" in line for line in lines)
    assert "received=" in errors


def test_exec_ends_with_its_statistics_when_interrupted():
    with example("exec") as process, repeated(["true"]):
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 0
    assert "received=" in errors


def test_exec_without_permission_says_so():
    result = run_as_nobody(sys.executable, str(EXAMPLES / "exec" / "exec.py"))
    assert result.returncode == 1
    assert result.stderr.startswith("exec.py: ")
    assert "CAP_BPF" in result.stderr


def test_the_demo_shows_at_least_five_events():
    require(Feature.RINGBUF)
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=True,
    )
    assert len(result.stdout.splitlines()) >= 5
    assert "lost=Losses(kernel=0, perf=0, subscriber=0)" in result.stderr


def test_opens_shows_what_cannot_be_opened():
    with ExitStack() as stack:
        if not (TRACEFS / "events").exists():
            stack.enter_context(mounted("tracefs", TRACEFS))
        process = stack.enter_context(example("opens", "--failed"))
        stack.enter_context(repeated(["cat", "/no/such/file"]))
        assert process.stdout
        for line in process.stdout:
            if line.rstrip().endswith("/no/such/file"):
                break
        else:
            pytest.fail("it ended without the event")
        assert "ENOENT" in line
        interrupt(process)


@pytest.mark.parametrize(
    ("program", "feature"), [("by_kprobe", Feature.KPROBE_PMU), ("by_fentry", Feature.TRACING)]
)
def test_tcp_connect_shows_connections(program, feature):
    require(feature)
    if program == "by_kprobe":
        require_machine("x86_64")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
        command = [sys.executable, "-c", connect]
        with example("tcp_connect", program) as process, repeated(command):
            assert process.stdout
            line = process.stdout.readline()
            assert f"-> 127.0.0.1:{port}" in line
            interrupt(process)
