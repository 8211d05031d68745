"""Links as resources: they end once, take everything with them, and outlive a process by a pin."""

import errno
import gc
import os
import time
from contextlib import ExitStack

import pytest
import trio

from bpfstream import links
from bpfstream.errors import AttachError, KernelError, NotSupportedError
from bpfstream.kernel import bpf
from tests.support.counting import counting_program

SECTION = "raw_tp/sys_enter"
PATIENCE = 1000


def make_a_system_call():
    os.getpgid(0)


def runs_no_more(program):
    """Whether a program comes to rest; kernels may put off what the end of a pin ends."""
    for _ in range(PATIENCE):
        before = program.runs
        make_a_system_call()
        if program.runs == before:
            return True
        time.sleep(0.01)
    return False


def test_detaching_twice_is_harmless_and_use_afterwards_is_an_error():
    with counting_program(SECTION) as program:
        link = links.attach(program)
        link.detach()
        link.detach()
        assert link.is_detached
        for use in (lambda: link.fd, link.info, lambda: link.pin("/nowhere"), link.__enter__):
            with pytest.raises(trio.ClosedResourceError, match="raw tracepoint sys_enter"):
                use()


def test_a_link_that_is_dropped_is_detached_with_a_warning():
    with counting_program(SECTION) as program:
        link = links.attach(program)
        assert link.target == "raw tracepoint sys_enter"
        with pytest.warns(ResourceWarning, match="never detached"):  # noqa: PT031
            del link
            gc.collect()
        at_the_end = program.runs
        make_a_system_call()
        assert program.runs == at_the_end


def test_a_pinned_link_stays_until_its_pin_is_gone(bpffs):
    with counting_program(SECTION) as program:
        with links.attach(program) as link:
            link.pin(bpffs / "link")
        before = program.runs
        make_a_system_call()
        assert program.runs > before
        (bpffs / "link").unlink()
        assert runs_no_more(program)


def test_a_pin_that_can_not_be_made_says_why(bpffs, tmp_path_factory):
    with counting_program(SECTION) as program, links.attach(program) as link:
        link.pin(bpffs / "taken")
        with pytest.raises(KernelError) as taken:
            link.pin(bpffs / "taken")
        assert taken.value.errno == errno.EEXIST
        with pytest.raises(KernelError, match="BPF file system") as elsewhere:
            link.pin(tmp_path_factory.mktemp("plain") / "link")
        assert elsewhere.value.errno == errno.EPERM
        (bpffs / "taken").unlink()


def test_without_perf_links_there_is_nothing_to_pin(tracefs, monkeypatch):
    def link_create_of_an_old_kernel(*arguments, **options):
        raise OSError(errno.EINVAL, "as before Linux 5.15")

    monkeypatch.setattr(bpf, "link_create", link_create_of_an_old_kernel)
    monkeypatch.setattr("bpfstream.links.perf_link.supports", lambda feature: False)
    with (
        counting_program("tracepoint/syscalls/sys_enter_getpgid") as program,
        links.attach(program) as link,
        pytest.raises(NotSupportedError, match=r"5\.15"),
    ):
        link.pin("/sys/fs/bpf/never")


def test_a_group_detaches_what_was_attached_before_another_failed():
    with (
        counting_program(SECTION) as first,
        counting_program("raw_tp/no_such_tracepoint") as second,
    ):
        with links.LinkGroup() as group:
            group.add(links.attach(first))
            with pytest.raises(AttachError, match="no_such_tracepoint"):
                links.attach(second)
        at_the_end = first.runs
        make_a_system_call()
        assert at_the_end > 0
        assert first.runs == at_the_end


def test_a_group_detaches_in_reverse_and_tries_every_link(monkeypatch):
    order = []
    original = links.Link.detach

    def detach(link):
        order.append(link)
        original(link)
        raise KernelError("detach", errno.EBUSY, reason=f"number {len(order)}")

    sections = ("raw_tp/sys_enter", "raw_tp/sys_exit", "raw_tp/sched_process_exec")
    with ExitStack() as programs:
        group = links.LinkGroup()
        attached = [
            group.add(links.attach(programs.enter_context(counting_program(section))))
            for section in sections
        ]
        monkeypatch.setattr(links.Link, "detach", detach)
        with pytest.raises(KernelError, match="number 1") as caught:
            group.detach()
    assert order == attached[::-1]
    assert [note.count("number") for note in caught.value.__notes__] == [1, 1]
    assert len(group) == 0
