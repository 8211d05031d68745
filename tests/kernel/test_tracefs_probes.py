"""Probes by the files of tracefs, for kernels whose perf events can't make them."""

import errno
import os

import pytest

from bpfstream.abi.perf import PerfType
from bpfstream.errors import KernelError
from bpfstream.kernel import perf, tracefs

PROBED = "do_nanosleep"


@pytest.fixture
def root():
    try:
        return tracefs.find_tracefs()
    except KernelError as error:
        pytest.skip(f"needs tracefs: {error}")


def require_file(name):
    if not tracefs.has_file(name):
        pytest.skip(f"needs {name} in tracefs")


def test_a_tracepoint_has_a_number(root):
    assert tracefs.event_id("sched", "sched_switch") > 0


def test_an_unknown_tracepoint_is_named(root):
    with pytest.raises(KernelError, match="sched/no_such_thing") as caught:
        tracefs.event_id("sched", "no_such_thing")
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("returns", [False, True])
def test_a_kprobe_is_an_event_until_it_is_removed(root, returns):
    require_file("kprobe_events")
    with tracefs.create_kprobe(PROBED, returns=returns) as probe:
        attributes = perf.PerfEventAttributes(type=PerfType.TRACEPOINT, config=probe.id)
        os.close(perf.perf_event_open(attributes))
        assert probe.name in (root / "kprobe_events").read_text()
    assert probe.name not in (root / "kprobe_events").read_text()
    probe.remove()


@pytest.mark.parametrize("returns", [False, True])
def test_a_uprobe_is_an_event_until_it_is_removed(root, returns, tmp_path):
    require_file("uprobe_events")
    executable = tmp_path / "sh"
    executable.write_bytes(bytes(4096))
    with tracefs.create_uprobe(str(executable), 64, returns=returns) as probe:
        assert f"{executable}:0x" in (root / "uprobe_events").read_text()
        assert tracefs.event_id(probe.group, probe.name) == probe.id
    assert probe.name not in (root / "uprobe_events").read_text()


def test_a_probe_in_use_can_not_be_removed(root):
    require_file("kprobe_events")
    probe = tracefs.create_kprobe(PROBED)
    try:
        event = perf.perf_event_open(
            perf.PerfEventAttributes(type=PerfType.TRACEPOINT, config=probe.id)
        )
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
                probe.remove()
            assert caught.value.errno == errno.EBUSY
        finally:
            os.close(event)
    finally:
        probe.remove()


def test_an_unknown_symbol_leaves_no_probe(root):
    require_file("kprobe_events")
    before = (root / "kprobe_events").read_text()
    with pytest.raises(OSError):  # noqa: PT011 - ENOENT, or EINVAL for return probes up to 5.10
        tracefs.create_kprobe("no_such_function_at_all")
    assert (root / "kprobe_events").read_text() == before


def test_a_path_that_the_file_can_not_express_is_refused(root):
    with pytest.raises(KernelError, match="':'"):
        tracefs.create_uprobe("/tmp/a:b", 64)
