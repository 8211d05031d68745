"""Attaching to functions of the kernel: kprobes, system calls, trampolines, LSM hooks.

Every program hangs on the way of statvfs(2), which this process then goes a known number of times.
"""

import errno
import os

import pytest

from bpfstream import links
from bpfstream.abi.links import LinkType
from bpfstream.errors import AttachError
from bpfstream.kernel import perf
from bpfstream.kernel.features import Feature, supports
from tests.support.counting import counting_program
from tests.support.requirements import require


def call_statfs(times=5):
    for _ in range(times):
        os.statvfs("/proc")  # not "/", which may be an overlay: it asks the layer below too


@pytest.mark.parametrize("section", ["kprobe/security_sb_statfs", "kretprobe/security_sb_statfs"])
def test_a_kprobe_program_runs_at_each_call(section):
    require(Feature.KPROBE_PMU)
    with counting_program(section) as program:
        with links.attach(program) as link:
            call_statfs(5)
            assert program.runs == 5
            assert link.info().type == (
                LinkType.PERF_EVENT if supports(Feature.PERF_LINK) else None
            )
        call_statfs()
        assert program.runs == 5


@pytest.mark.parametrize("section", ["ksyscall/getpgid", "kretsyscall/getpgid"])
def test_a_system_call_is_found_whatever_its_function_is_called(section):
    require(Feature.KPROBE_PMU)
    with counting_program(section) as program, links.attach(program):
        for _ in range(5):
            os.getpgid(0)
        assert program.runs == 5


@pytest.mark.parametrize("section", ["kprobe/security_sb_statfs", "kretprobe/security_sb_statfs"])
def test_without_the_pmu_a_kprobe_is_made_by_tracefs_and_removed(section, tracefs, monkeypatch):
    require(Feature.TRACEFS_KPROBES)
    monkeypatch.setattr(perf, "pmu_type", lambda name: None)
    before = (tracefs / "kprobe_events").read_text()
    with counting_program(section) as program:
        with links.attach(program):
            call_statfs(5)
            assert program.runs == 5
            assert (tracefs / "kprobe_events").read_text() != before
        assert (tracefs / "kprobe_events").read_text() == before


def test_a_kernel_program_reads_its_cookie():
    require(Feature.KPROBE_PMU, Feature.PERF_LINK, Feature.ATTACH_COOKIE)
    with (
        counting_program("kprobe/security_sb_statfs", reads_cookie=True) as program,
        links.attach(program, cookie=7),
    ):
        call_statfs(1)
        assert program.cookie == 7


@pytest.mark.parametrize("section", ["kprobe/security_sb_statfz", "kretprobe/security_sb_statfz"])
def test_an_unknown_function_is_named_with_those_like_it(section):
    require(Feature.KPROBE_PMU)
    with (
        counting_program(section) as program,
        pytest.raises(AttachError, match=r"no function 'security_sb_statfz'.*security_sb_statfs"),
    ):
        links.attach(program)


def test_a_function_that_must_not_be_probed_says_so():
    require(Feature.KPROBE_PMU)
    with (
        counting_program("kprobe/kprobe_dispatcher") as program,
        pytest.raises(AttachError, match="must not be probed") as caught,
    ):
        links.attach(program)
    assert caught.value.errno == errno.EINVAL


def test_the_middle_of_an_instruction_is_refused():
    require(Feature.KPROBE_PMU)
    with counting_program("kprobe/security_sb_statfs+0x1") as program, pytest.raises(AttachError):
        links.attach(program)


def test_a_kernel_without_kprobes_says_so(tracefs):
    if supports(Feature.KPROBE_PMU) or supports(Feature.TRACEFS_KPROBES):
        pytest.skip("needs a kernel without kprobes")
    from bpfstream.errors import NotSupportedError

    with (
        counting_program("kprobe/security_sb_statfs") as program,
        pytest.raises(NotSupportedError, match="CONFIG_KPROBES"),
    ):
        links.attach(program)


@pytest.mark.parametrize(
    "section",
    ["fentry/security_sb_statfs", "fexit/security_sb_statfs", "fmod_ret/security_sb_statfs"],
)
def test_a_tracing_program_runs_at_each_call(section):
    require(Feature.TRACING)
    with counting_program(section) as program:
        with links.attach(program) as link:
            call_statfs(5)
            assert program.runs == 5
            assert link.info().type == LinkType.TRACING
        call_statfs()
        assert program.runs == 5


def test_an_lsm_program_runs_at_each_check():
    require(Feature.LSM, Feature.LSM_ACTIVE)
    with counting_program("lsm/sb_statfs") as program:
        with links.attach(program) as link:
            call_statfs(5)
            assert program.runs == 5
            assert link.target == "LSM hook sb_statfs"
        call_statfs()
        assert program.runs == 5
