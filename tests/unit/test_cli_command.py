"""The command without a kernel: help, messages, exit statuses, the missing extra."""

import subprocess
import sys
from pathlib import Path

import pytest

from bpfstream.cli.command import SUBCOMMANDS, leaves, message_of
from bpfstream.errors import ObjectError
from tests.support.requirements import program_path

COMMAND = Path(sys.executable).with_name("bpfstream")


def bpfstream(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_every_subcommand():
    output = bpfstream("--help").stdout
    assert all(name in output for name in SUBCOMMANDS)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help_and_json(name):
    result = bpfstream(name, "--help")
    assert result.returncode == 0
    assert "--json" in result.stdout


@pytest.mark.parametrize("name", ["inspect", "run"])
def test_a_file_that_is_not_there_is_one_message(name, tmp_path):
    result = bpfstream(name, tmp_path / "missing.o")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "missing.o" in result.stderr
    assert "No such file" in result.stderr


@pytest.mark.parametrize("name", ["inspect", "run"])
def test_a_file_that_is_no_object_is_one_message(name, tmp_path):
    path = tmp_path / "text.o"
    path.write_text("not an object")
    result = bpfstream(name, path)
    assert result.returncode == 1
    assert result.stderr.startswith("bpfstream: ")
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(tmp_path):
    path = tmp_path / "text.o"
    path.write_text("not an object")
    result = bpfstream("--debug", "inspect", path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ObjectError" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", "no_such_map"], "the object has no map 'no_such_map'"),
        (["--events", "tallies"], "neither a ring buffer nor a perf buffer"),
        (["--set", "target_pid"], "--set takes NAME=VALUE"),
        (["--set", "target_pids=1"], "there is target_pid"),
        (["--set", "target_pid=many"], "target_pid"),
        (["--set", "target_pid=-1"], "target_pid"),
        (["--resize", "events=big"], "the size of events"),
        (["--type", "json:NoSuchClass"], "NoSuchClass"),
        (["--type", "no_such_module:Event"], "no_such_module"),
    ],
)
def test_a_wrong_option_is_one_message(arguments, message):
    result = bpfstream("run", program_path("ring_producer"), *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_object_with_several_rings_asks_which():
    result = bpfstream("run", program_path("types"))
    assert result.returncode == 1
    assert "--events" in result.stderr
    assert "packed_events" in result.stderr


def test_without_the_extra_the_command_says_what_to_install():
    program = "import sys; sys.modules['click'] = None\nfrom bpfstream.cli import main\nmain()"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "pip install 'bpfstream[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_errors_inside_nested_groups_are_all_told():
    inner = ObjectError("first"), OSError(13, "Permission denied", "/sys/thing")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", inner), KeyError("third")])
    first, second, third = map(message_of, leaves(group))
    assert first == "first"
    assert second == "/sys/thing: Permission denied"
    assert "KeyError" in third
