"""`bpfstream verify`: a verdict a program, each loaded on its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfstream.cli.command import command
from bpfstream.kernel.features import Feature
from tests.support.nobody import run_as_nobody
from tests.support.requirements import program_path, require

COMMAND = Path(sys.executable).with_name("bpfstream")
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
FIELDS = [
    "object",
    "program",
    "section",
    "type",
    "ok",
    "errno",
    "relocated",
    "insn_count",
    "verified_insns",
    "message",
]


Verify = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def verify(capfd: pytest.CaptureFixture[str]) -> Verify:
    """Runs the subcommand in this process: gives its exit status and its lines of JSON."""

    def run(*arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
        with pytest.raises(SystemExit) as ended:
            command(["verify", "--json", *map(str, arguments)])
        output, errors = capfd.readouterr()
        assert errors == ""
        return int(ended.value.code or 0), [json.loads(line) for line in output.splitlines()]

    return run


def by_program(verdicts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {verdict["program"]: verdict for verdict in verdicts}


def test_a_program_that_passes(verify):
    status, (verdict,) = verify(program_path("globals"))
    assert status == 0
    assert list(verdict) == FIELDS
    assert verdict["program"] == "sum"
    assert verdict["section"] == "raw_tp/sys_enter"
    assert verdict["type"] == "RAW_TRACEPOINT"
    assert verdict["ok"]
    assert verdict["errno"] is None
    assert verdict["relocated"]
    assert verdict["insn_count"] > 0
    assert verdict["message"] == ""


def test_a_refusal_says_why_and_leaves_the_others_alone(verify):
    status, verdicts = verify(program_path("rejected"))
    assert status == 1
    programs = by_program(verdicts)
    assert programs["accepted"]["ok"]
    refused = programs["outside_the_value"]
    assert not refused["ok"]
    assert refused["relocated"]
    assert refused["errno"] == "EACCES"
    assert "total += value[2]" in refused["message"], "the source line at fault"
    assert "\n" not in refused["message"]


def test_programs_that_are_left_out_by_default_are_verified_too(verify):
    if not KERNEL_BTF.exists():
        pytest.skip("needs the kernel's BTF")
    programs = by_program(verify(program_path("core"))[1])
    assert programs["observe"]["ok"]
    assert not programs["unguarded"]["ok"]
    assert "a_field_that_no_kernel_has" in programs["unguarded"]["message"]


def test_only_one_program(verify):
    status, (verdict,) = verify(program_path("rejected"), "--program", "accepted")
    assert status == 0
    assert verdict["program"] == "accepted"


def test_sizes_that_tools_set_get_defaults_and_pins_are_ignored(verify):
    status, verdicts = verify(program_path("maps"))
    assert status == 0
    assert all(verdict["ok"] for verdict in verdicts)


def test_instructions_are_there_on_demand(verify):
    _, (plain,) = verify(program_path("globals"))
    _, (verdict,) = verify(program_path("globals"), "--instructions")
    assert "instructions" not in plain
    assert len(bytes.fromhex(verdict["instructions"])) == 8 * verdict["insn_count"]


def test_an_object_that_cannot_be_opened_is_one_line(verify, tmp_path):
    text = tmp_path / "text.o"
    text.write_text("no object")
    status, verdicts = verify(text, tmp_path / "missing.o", program_path("globals"))
    assert status == 1
    assert [verdict["program"] for verdict in verdicts] == [None, None, "sum"]
    assert all(verdict["message"] for verdict in verdicts[:2])
    assert verdicts[2]["ok"]


def test_without_loading_no_privilege_is_needed():
    if not KERNEL_BTF.exists():
        pytest.skip("needs the kernel's BTF")
    path = str(program_path("core"))
    result = run_as_nobody(str(COMMAND), "verify", "--json", "--no-load", path)
    assert result.returncode == 0, result.stderr
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(verdict["ok"] and verdict["relocated"] for verdict in verdicts)
    assert all(verdict["verified_insns"] is None for verdict in verdicts)


def test_relocation_against_a_file_of_btf(verify):
    if not KERNEL_BTF.exists():
        pytest.skip("needs the kernel's BTF")
    options = ["--no-load", "--instructions", "--program", "observe"]
    _, own = verify(program_path("core"), *options)
    _, given = verify(program_path("core"), *options, "--btf", KERNEL_BTF)
    assert given == own


def test_btf_that_is_none_is_one_message(tmp_path):
    path = tmp_path / "not.btf"
    path.write_text("no types here")
    result = subprocess.run(
        [COMMAND, "verify", "--btf", path, program_path("core")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("bpfstream: ")
    assert "Traceback" not in result.stderr


def test_without_permission_the_message_says_which():
    require(Feature.RINGBUF)
    path = str(program_path("globals"))
    result = run_as_nobody(str(COMMAND), "verify", "--json", path)
    assert result.returncode == 1
    (verdict,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert verdict["relocated"]
    assert verdict["errno"] == "EPERM"
    assert "CAP_BPF" in verdict["message"]


def test_people_get_a_table_with_totals():
    result = subprocess.run(
        [COMMAND, "verify", program_path("rejected")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "1 passed, 2 refused" in result.stdout
    assert "unchecked_pointer" in result.stdout
