"""bpfstream.h: what its macros promise, and that objects made with it load elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import trio

import bpfstream
from bpfstream.kernel.features import Feature
from tests.support.mounts import mounted
from tests.support.requirements import program_path, require, require_program


def test_another_loader_takes_an_object_with_event_rings(tmp_path):
    require(Feature.RINGBUF)
    bpftool = require_program("bpftool")
    folder = Path("/sys/fs/bpf")
    with mounted("bpf", folder):
        command = [bpftool, "prog", "loadall", program_path("tagged"), folder / "programs"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert {path.name for path in (folder / "programs").iterdir()} == {"on_enter", "on_exit"}


async def test_copied_and_reserved_events_are_counted_alike():
    """One program sends an event into each of two rings: the sums must agree."""
    require(Feature.RINGBUF)
    spec = bpfstream.ObjectSpec.from_file(program_path("types"))
    spec.variables["target_pid"].value = os.getpid()
    async with bpfstream.load(spec) as obj:
        copied = obj.events("events", type=bytes)
        reserved = obj.events("packed_events", type=bytes)
        async with copied, reserved:
            with obj.attach():
                for _ in range(500):
                    os.getppid()
            sums = []
            for stream in (copied, reserved):
                with trio.move_on_after(0.5):
                    async for _ in stream.batches():
                        pass
                statistics = stream.statistics()
                assert statistics.lost.kernel, "the ring was never full"
                sums.append(statistics.received + statistics.lost.kernel)
    assert sums[0] == sums[1] > 500


async def test_a_discarded_event_is_neither_received_nor_lost():
    require(Feature.RINGBUF)
    spec = bpfstream.ObjectSpec.from_file(program_path("ring_producer"))
    spec.programs["produce"].autoload = False
    spec.variables["target_pid"].value = os.getpid()
    spec.variables["discard_every"].value = 1
    async with bpfstream.load(spec) as obj, obj.events("events", type=bytes) as events:
        with obj.attach():
            for _ in range(20):
                os.getppid()
        with trio.move_on_after(0.5):
            await events.receive()
            pytest.fail("an event came")
        statistics = events.statistics()
    assert statistics.received == 0
    assert statistics.lost.kernel == 0
    assert statistics.discarded >= 20
