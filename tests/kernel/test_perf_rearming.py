"""An event that comes just before a stream begins to wait is not overlooked on perf buffers.

Polling a perf event clears its readiness (kernel/events/core.c, perf_poll), and event loops poll
twice as they begin to wait. So the stream looks at the rings once more after that. The sweep that
would find the event anyway is made rare here.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
import trio

import bpfstream
import bpfstream.aio
from bpfstream.kernel.features import Feature
from bpfstream.kernel.program_run import program_test_run
from bpfstream.live import load_object
from bpfstream.live.loader import load_as
from bpfstream.streams import pacing
from bpfstream.streams.base import BaseEventStream
from bpfstream.streams.wakeups import Wakeups
from tests.support.requirements import program_path, require

EVENTS = 40
RARE_SWEEPS = pacing.Wait(600, readable=True)


@pytest.fixture(autouse=True)
def rare_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "UNTIL_READABLE", RARE_SWEEPS)


@pytest.fixture(params=sorted(os.sched_getaffinity(0)), ids=lambda cpu: f"cpu{cpu}")
def on_each_cpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """The program runs on this CPU, and so does the test."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {request.param})
    yield
    os.sched_setaffinity(0, before)


class Producer:
    """Sends one event in the moment in which the stream begins to wait, after its last look."""

    def __init__(self, program_fd: int) -> None:
        self._program_fd = program_fd
        self.sent = 0

    def send(self) -> None:
        self.sent += 1
        program_test_run(self._program_fd, context=struct.pack("=2Q", 0, 1))

    def before_each_wait(self) -> AbstractContextManager[None]:
        arm = Wakeups.arm

        def send_and_arm(wakeups: Wakeups, wait: pacing.Wait) -> int:
            if wait.readable:
                self.send()
            return arm(wakeups, wait)

        return patched(Wakeups, "arm", send_and_arm)


@contextmanager
def patched(owner: type, name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


def perf_producer() -> bpfstream.ObjectSpec:
    require(Feature.RAW_TRACEPOINT_TEST_RUN)
    spec = bpfstream.ObjectSpec.from_file(program_path("perf_producer"))
    spec.programs["on_syscall"].autoload = False
    return spec


async def test_trio(on_each_cpu: None) -> None:
    with load_object(perf_producer()) as obj, ExitStack() as sending:
        async with obj.events("events", type=bytes, pages=1) as events:
            producer = Producer(obj.programs["produce"].fd)
            sending.enter_context(producer.before_each_wait())
            for _ in range(EVENTS):
                with trio.fail_after(60):
                    await events.receive()
            assert producer.sent == EVENTS


def test_asyncio(on_each_cpu: None) -> None:
    async def main() -> None:
        with (
            load_as(bpfstream.aio.Object, perf_producer(), None) as obj,
            ExitStack() as sending,
        ):
            async with obj.events("events", type=bytes, pages=1) as events:
                producer = Producer(obj.programs["produce"].fd)
                sending.enter_context(producer.before_each_wait())
                for _ in range(EVENTS):
                    await asyncio.wait_for(events.receive(), 60)
                assert producer.sent == EVENTS

    asyncio.run(main())


async def test_without_the_second_look_it_would_be_overlooked() -> None:
    """What these tests rest upon: were it not so, they would show nothing."""
    with load_object(perf_producer()) as obj, ExitStack() as patches:
        async with obj.events("events", type=bytes, pages=1) as events:
            producer = Producer(obj.programs["produce"].fd)
            patches.enter_context(producer.before_each_wait())
            patches.enter_context(patched(BaseEventStream, "_look_once_more", lambda _: None))
            with trio.move_on_after(0.5) as scope:
                await events.receive()
            assert scope.cancelled_caught
            assert len(await events.flush()) == 1
