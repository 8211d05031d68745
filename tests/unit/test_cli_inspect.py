"""`bpfstream inspect` tells what an object holds and needs, without privilege."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.requirements import program_path

COMMAND = Path(sys.executable).with_name("bpfstream")


def inspect(path: Path) -> dict:
    result = subprocess.run(
        [COMMAND, "inspect", "--json", path], capture_output=True, text=True, check=True
    )
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def by_name(things: list[dict]) -> dict[str, dict]:
    return {thing["name"]: thing for thing in things}


def test_programs_have_their_section_and_type():
    programs = by_name(inspect(program_path("core"))["programs"])
    assert programs["observe"]["type"] == "RAW_TRACEPOINT"
    assert programs["observe"]["attach_to"] == "sys_enter"
    assert not programs["unguarded"]["autoload"]


def test_maps_have_their_types_and_sizes():
    maps = by_name(inspect(program_path("maps"))["maps"])
    assert maps["typed"]["key"] == "struct key"
    assert maps["typed"]["max_entries"] == 128
    assert maps["sized"]["value"] == "8 bytes"
    assert maps["sized"]["flags"] == "NO_PREALLOC"
    assert maps["pinned"]["pinned"]


def test_variables_have_typed_values():
    variables = by_name(inspect(program_path("globals"))["variables"])
    assert variables["enabled"]["value"] is True
    assert variables["small"]["value"] == -2
    assert variables["prefix"]["value"] == "hello"
    assert variables["ports"]["value"] == [22, 80, 443, 0]
    assert variables["limits"]["value"] == {"low": 5, "high": -6, "name": "limit"}


def test_events_have_their_struct_and_loss_counter():
    (events,) = inspect(program_path("tagged"))["events"]
    assert events["struct"] == "struct entered_event"
    assert events["loss_counter"] == "events_lost"
    assert any(member.endswith(" syscall") for member in events["members"])


def test_needs_name_what_a_kernel_must_have_and_who_needs_it():
    report = inspect(program_path("ring_producer"))
    needs = {need["what"]: need for need in report["needs"]}
    assert needs["map type RINGBUF"] == {
        "what": "map type RINGBUF",
        "since": "5.8",
        "by": ["events"],
    }
    assert report["minimum_kernel"] == "5.14"  # for the syscall program


def test_core_relocations_need_btf():
    needs = inspect(program_path("core"))["needs"]
    assert any("CO-RE" in need["what"] for need in needs)


def test_people_get_the_same_in_words():
    result = subprocess.run(
        [COMMAND, "inspect", program_path("globals")], capture_output=True, text=True, check=True
    )
    for words in ("Programs", "Variables", "const volatile __u32 min_us", "'hello'", "Needs Linux"):
        assert words in result.stdout
