"""Lists of CPU numbers, as sysfs writes them, and how changes are noticed."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import BpfstreamError, KernelError
from bpfstream.kernel import cpus
from bpfstream.kernel.cpus import online_cpus, parse_cpu_list, possible_cpus


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-1\n", (0, 1)),
        ("0\n", (0,)),
        ("0-2,4,6-7\n", (0, 1, 2, 4, 6, 7)),
        ("5,3", (3, 5)),
        ("\n", ()),
    ],
)
def test_a_list_is_numbers_and_ranges(text, numbers):
    assert parse_cpu_list(text) == numbers


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "0-", "1--2", "0-99999999999", "0x2", "0;1"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(KernelError, match="CPU list"):
        parse_cpu_list(text)


@given(st.text())
def test_any_text_is_a_list_or_an_error_of_ours(text):
    try:
        numbers = parse_cpu_list(text)
    except BpfstreamError:
        return
    assert list(numbers) == sorted(set(numbers))


@given(st.sets(st.integers(0, 8191), max_size=64))
def test_every_set_of_cpus_can_be_written_as_a_list(cpus):
    assert parse_cpu_list(",".join(map(str, cpus))) == tuple(sorted(cpus))


def test_cpus_that_are_online_are_possible():
    assert set(online_cpus()) <= set(possible_cpus())
    assert online_cpus()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """What a watch looks at, to be changed."""
    machine = SimpleNamespace(online=(0, 1), events=tmp_path / "uevent_seqnum", boottime=100.0)
    machine.events.write_text("41\n")
    clock = SimpleNamespace(
        CLOCK_BOOTTIME="boottime",
        CLOCK_MONOTONIC="monotonic",
        clock_gettime=lambda which: machine.boottime if which == "boottime" else 100.0,
    )
    monkeypatch.setattr(cpus, "online_cpus", lambda: machine.online)
    monkeypatch.setattr(cpus, "_EVENT_NUMBER", machine.events)
    monkeypatch.setattr(cpus, "time", clock)
    return machine


def test_a_watch_sees_cpus_come_and_go(machine):
    watch = cpus.CpuWatch()
    assert not watch.changed()
    machine.online = (0, 1, 5)
    assert watch.changed()


def test_a_watch_sees_that_something_happened_where_the_cpus_are_the_same(machine):
    """A CPU that went and came back is online, but its perf events are dead."""
    watch = cpus.CpuWatch()
    machine.events.write_text("43\n")
    assert watch.changed()


def test_a_watch_sees_that_the_machine_was_suspended(machine):
    watch = cpus.CpuWatch()
    machine.boottime += 0.001  # the clocks are read one after the other
    assert not watch.changed()
    machine.boottime += 3600
    assert watch.changed()


def test_a_change_lasts_until_it_was_dealt_with(machine):
    watch = cpus.CpuWatch()
    machine.online = (0,)
    assert watch.changed()
    assert watch.changed()
    watch.settle()
    assert not watch.changed()


def test_a_watch_does_without_a_number_of_events(machine):
    machine.events.unlink()
    watch = cpus.CpuWatch()
    assert not watch.changed()
    machine.online = (0,)
    assert watch.changed()
