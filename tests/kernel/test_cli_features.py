"""``bpfstream features`` says what the kernel answers, and that it does not where it does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bpfstream.abi.helpers import Helper
from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import ProgramType
from bpfstream.cli.features import ask
from bpfstream.kernel.features import Feature, supports
from bpfstream.kernel.type_probes import (
    has_helper,
    has_map_type,
    has_program_type,
    instruction_set_version,
)
from tests.support.nobody import run_as_nobody
from tests.support.requirements import require, require_program, require_root

COMMAND = Path(sys.executable).with_name("bpfstream")


@pytest.fixture(autouse=True)
def root():
    require_root()


def answers(questions):
    return {each.name: each.answer for each in questions}


def test_types_that_every_kernel_has():
    for program_type in (ProgramType.SOCKET_FILTER, ProgramType.XDP, ProgramType.CGROUP_SKB):
        assert has_program_type(program_type)
    for map_type in (MapType.HASH, MapType.PERF_EVENT_ARRAY, MapType.ARRAY_OF_MAPS):
        assert has_map_type(map_type)
    assert instruction_set_version() >= 3  # since Linux 5.1


def test_types_are_there_if_what_needs_them_works():
    assert has_map_type(MapType.RINGBUF) == supports(Feature.RINGBUF)
    assert has_program_type(ProgramType.SYSCALL) == supports(Feature.SYSCALL_PROGRAMS)


def test_map_types_are_those_that_bpftool_finds():
    bpftool = require_program("bpftool", package="bpftool")
    probed = subprocess.run([bpftool, "-j", "feature", "probe"], capture_output=True, check=True)
    theirs = {
        name.removeprefix("have_").removesuffix("_map_type"): found
        for name, found in json.loads(probed.stdout)["map_types"].items()
    }
    ours = {each.name.lower(): each.answer == "yes" for each in ask().map_types}
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 25
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_helpers_belong_to_types():
    assert has_helper(ProgramType.XDP, Helper.XDP_ADJUST_HEAD)
    assert not has_helper(ProgramType.SOCKET_FILTER, Helper.XDP_ADJUST_HEAD)
    assert has_helper(ProgramType.TRACEPOINT, Helper.MAP_LOOKUP_ELEM)
    assert has_helper(ProgramType.TRACING, Helper.MAP_LOOKUP_ELEM) is None
    require(Feature.ATTACH_COOKIE)
    assert has_helper(ProgramType.TRACEPOINT, Helper.GET_ATTACH_COOKIE)
    assert not has_helper(ProgramType.XDP, Helper.GET_ATTACH_COOKIE)


def test_the_command_prints_one_json_object():
    printed = subprocess.run(
        [COMMAND, "features", "--json"], capture_output=True, check=True
    ).stdout
    report = json.loads(printed)
    assert {each["name"] for each in report["features"]} == {each.name for each in Feature}
    assert {each["answer"] for each in report["map_types"]} <= {"yes", "no", "unknown"}
    assert "BPF" in report["system"]["privileges"]["capabilities"]


def test_without_privileges_the_kernel_does_not_answer_and_why():
    printed = run_as_nobody(str(COMMAND), "features", "--json").stdout
    program_types = {each["name"]: each for each in json.loads(printed)["program_types"]}
    assert program_types["XDP"]["answer"] == "unknown"
    assert "CAP_BPF" in program_types["XDP"]["reason"]
