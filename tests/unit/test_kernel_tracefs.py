"""Where tracefs is, by /proc/self/mountinfo."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import KernelError
from bpfstream.kernel import tracefs
from bpfstream.kernel.tracefs import parse_mountinfo

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
DEBUGFS = "30 22 0:7 / /sys/kernel/debug rw shared:2 - debugfs debugfs rw\n"
TRACEFS = "31 22 0:12 / /sys/kernel/tracing rw shared:3 - tracefs tracefs rw\n"


def test_its_own_mount_is_preferred():
    assert parse_mountinfo(ROOT + DEBUGFS + TRACEFS) == Path("/sys/kernel/tracing")


def test_it_is_in_debugfs_too():
    assert parse_mountinfo(ROOT + DEBUGFS) == Path("/sys/kernel/debug/tracing")


def test_it_may_be_mounted_anywhere():
    line = "31 22 0:12 / /mnt/my\\040trace rw - tracefs nodev rw\n"
    assert parse_mountinfo(line) == Path("/mnt/my trace")


def test_a_part_of_it_is_not_it():
    line = "31 22 0:12 /events/sched /mnt/sched rw - tracefs nodev rw\n"
    assert parse_mountinfo(line) is None


@given(st.text())
def test_any_text_can_be_read(text):
    assert isinstance(parse_mountinfo(text), Path | None)


def test_when_it_is_not_mounted_the_error_says_how_to(tmp_path, monkeypatch):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(ROOT)
    monkeypatch.setattr(tracefs, "_MOUNTINFO", mountinfo)
    with pytest.raises(KernelError, match="mount -t tracefs"):
        tracefs.event_id("sched", "sched_switch")


@pytest.mark.parametrize(("category", "name"), [("..", "x"), ("sched", "a/../b"), ("", "x")])
def test_a_tracepoint_is_no_path(category, name):
    with pytest.raises(KernelError, match="no tracepoint"):
        tracefs.event_id(category, name)
