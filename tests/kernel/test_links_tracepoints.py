"""Attaching to tracepoints: raw, by BTF, and through perf events."""

import errno
import os

import pytest

from bpfstream import links
from bpfstream.abi.links import LinkType
from bpfstream.errors import AttachError
from bpfstream.kernel import bpf
from bpfstream.kernel.features import Feature, supports
from tests.support.counting import counting_program
from tests.support.requirements import require

GETPGID = "tracepoint/syscalls/sys_enter_getpgid"


def call_getpgid(times=5):
    for _ in range(times):
        os.getpgid(0)


@pytest.mark.parametrize("section", ["raw_tp/sys_enter", "raw_tp.w/sys_enter"])
def test_a_raw_tracepoint_program_runs_until_it_is_detached(section):
    with counting_program(section) as program:
        with links.attach(program) as link:
            call_getpgid()
            assert program.runs >= 5
            info = link.info()
            assert (info.type, info.program) == (LinkType.RAW_TRACEPOINT, "count")
        at_the_end = program.runs
        call_getpgid()
        assert program.runs == at_the_end


def test_a_btf_tracepoint_program_runs_until_it_is_detached():
    with counting_program("tp_btf/sys_enter") as program:
        with links.attach(program) as link:
            call_getpgid()
            assert program.runs >= 5
            assert link.target == "BTF tracepoint sys_enter"
        at_the_end = program.runs
        call_getpgid()
        assert program.runs == at_the_end


def test_a_tracepoint_program_runs_at_each_hit(tracefs):
    with counting_program(GETPGID) as program:
        with links.attach(program) as link:
            call_getpgid(5)
            assert program.runs == 5
            assert link.target == "tracepoint syscalls/sys_enter_getpgid"
            assert link.info().type == (
                LinkType.PERF_EVENT if supports(Feature.PERF_LINK) else None
            )
        call_getpgid()
        assert program.runs == 5


def test_without_perf_links_the_program_is_set_on_the_event(tracefs, monkeypatch):
    def link_create_of_an_old_kernel(*arguments, **options):
        raise OSError(errno.EINVAL, "as before Linux 5.15")

    monkeypatch.setattr(bpf, "link_create", link_create_of_an_old_kernel)
    monkeypatch.setattr("bpfstream.links.perf_link.supports", lambda feature: False)
    with counting_program(GETPGID) as program:
        with links.attach(program) as link:
            call_getpgid(5)
            assert program.runs == 5
            assert link.info() == links.LinkInfo(program="count", target=link.target)
        call_getpgid()
        assert program.runs == 5


def test_a_program_reads_its_cookie(tracefs):
    require(Feature.PERF_LINK, Feature.ATTACH_COOKIE)
    cookie = 0x1234_5678_9ABC_DEF0
    with (
        counting_program(GETPGID, reads_cookie=True) as program,
        links.attach(program, cookie=cookie),
    ):
        call_getpgid(1)
        assert program.cookie == cookie


def test_the_explicit_call_needs_no_section(tracefs):
    with (
        counting_program("tracepoint") as program,
        links.attach_tracepoint(program, "syscalls", "sys_enter_getpgid"),
    ):
        call_getpgid(3)
        assert program.runs == 3


def test_an_unknown_tracepoint_is_named_with_those_like_it(tracefs):
    with (
        counting_program("tracepoint/sched/sched_process_exek") as program,
        pytest.raises(AttachError, match="sched/sched_process_exec") as caught,
    ):
        links.attach(program)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.target == "tracepoint sched/sched_process_exek"


def test_an_unknown_raw_tracepoint_is_named_with_those_like_it(tracefs):
    with (
        counting_program("raw_tp/sched_process_exek") as program,
        pytest.raises(AttachError, match="did you mean sched_process_exec") as caught,
    ):
        links.attach(program)
    assert caught.value.errno == errno.ENOENT


def test_a_tracepoint_takes_a_program_once(tracefs):
    with counting_program(GETPGID) as program, links.attach(program):
        with pytest.raises(AttachError, match="already attached") as caught:
            links.attach(program)
        assert caught.value.errno == errno.EEXIST
        call_getpgid(2)
        assert program.runs == 2
