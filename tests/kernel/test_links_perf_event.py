"""Programs run at the samples of perf events."""

import errno
import os

import pytest

from bpfstream import links
from bpfstream.abi.perf import PerfType, SoftwareEvent
from bpfstream.errors import AttachError
from bpfstream.kernel.cpus import online_cpus
from bpfstream.kernel.perf import PerfEventAttributes
from tests.support.counting import counting_program

CLOCK = PerfEventAttributes(
    type=PerfType.SOFTWARE, config=SoftwareEvent.CPU_CLOCK, sample_period=1_000_000
)
PAGE_FAULTS = PerfEventAttributes(
    type=PerfType.SOFTWARE, config=SoftwareEvent.PAGE_FAULTS, sample_period=1
)
ENOUGH_STEPS = 100_000_000


def work_until(condition):
    """Use CPU time until a condition holds; false when it never does."""
    return any(step % 1000 == 0 and condition() for step in range(ENOUGH_STEPS))


def touch_new_pages(count=16):
    import mmap

    with mmap.mmap(-1, count * mmap.PAGESIZE) as memory:
        for page in range(count):
            memory[page * mmap.PAGESIZE] = 1


def test_a_program_samples_this_thread():
    with counting_program("perf_event") as program:
        with links.attach_perf_event(program, CLOCK, pid=0):
            assert work_until(lambda: program.runs >= 3)
        at_the_end = program.runs
        sum(range(1_000_000))
        assert program.runs == at_the_end


def test_a_program_runs_at_each_event_of_period_one():
    with (
        counting_program("perf_event") as program,
        links.attach_perf_event(program, PAGE_FAULTS, pid=0),
    ):
        touch_new_pages(16)
        assert program.runs >= 16


def test_a_program_samples_every_cpu():
    with counting_program("perf_event") as program:
        program.count_only(0)
        with links.attach_perf_event_on_each_cpu(program, CLOCK) as group:
            assert len(group) == len(online_cpus())
            program.count_only(os.getpid())
            assert work_until(lambda: program.runs >= 3)


def test_the_section_names_no_event():
    with (
        counting_program("perf_event") as program,
        pytest.raises(AttachError, match="attach_perf_event"),
    ):
        links.attach(program)


def test_an_event_that_would_never_fire_is_refused():
    silent = PerfEventAttributes(type=PerfType.SOFTWARE, config=SoftwareEvent.CPU_CLOCK)
    with counting_program("perf_event") as program, pytest.raises(AttachError, match="never fire"):
        links.attach_perf_event(program, silent, pid=0)


def test_an_event_needs_a_task_or_a_cpu():
    with counting_program("perf_event") as program, pytest.raises(AttachError, match="each_cpu"):
        links.attach_perf_event(program, CLOCK)


@pytest.mark.parametrize(
    ("place", "code"),
    [({"cpu": 4095}, {errno.ENODEV, errno.EINVAL}), ({"pid": 2**22 - 1}, {errno.ESRCH})],
)
def test_what_does_not_exist_is_refused(place, code):
    with counting_program("perf_event") as program, pytest.raises(AttachError) as caught:
        links.attach_perf_event(program, CLOCK, **place)
    assert caught.value.errno in code
