"""How long events wait at the longest while a program sends and pauses at random.

    python -m tests.benchmarks.stalls [--seconds SECONDS]

An event that waits longer than ``max_latency`` and 5 ms has met a stall: a wakeup was lost, or a
timer was late. A busy machine makes stalls of its own, so a process that does nothing but sleep for
a millisecond on the consumer's CPU is measured beside: what it overslept is the machine's.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

import bpfstream
from bpfstream.kernel.program_run import program_test_run

LATENCIES = (0, 0.001, 0.01)
BUFFERS = ("ring", "perf")
ALLOWED = 0.005
"""Seconds above ``max_latency``."""

PROGRAM = Path(__file__).parent / "programs" / "producer.bpf.o"


class Stalls(msgspec.Struct):
    """What a consumer met.

    Attributes:
        events: Events received.
        lost: Those that found no room.
        uncounted: Those that were sent and neither received nor counted as lost.
        longest: The longest that an event waited, in seconds.
        stalls: How many batches waited longer than they may.
        cancellations: How often the consumer was cancelled.
        overslept: The longest that the machine kept a sleeping process waiting, in seconds.
    """

    events: int = 0
    lost: int = 0
    uncounted: int = 0
    longest: float = 0.0
    stalls: int = 0
    cancellations: int = 0
    overslept: float = 0.0


def produce(program_fd: int, seconds: float) -> None:
    """Send bursts on random CPUs, with random pauses; the end is an event of value 0."""
    chance = random.Random(20_261)
    cpus = sorted(os.sched_getaffinity(0))
    end = time.monotonic() + seconds
    value = 1
    while time.monotonic() < end:
        os.sched_setaffinity(0, {chance.choice(cpus)})
        for _ in range(chance.randint(1, 300)):  # on
            count = chance.choice([1, 1, 1, 1, 10, 200])
            program_test_run(program_fd, context=struct.pack("=2Q", value, count))
            value += count
            time.sleep(chance.choice([0, 0, 0, 0.0001, 0.001]))
        time.sleep(min(chance.expovariate(20), 0.5))  # off
    program_test_run(program_fd, context=struct.pack("=2Q", 0, 1))


def oversleep() -> None:
    """Sleep for a millisecond until standard input ends; print the longest delay beyond that."""
    os.set_blocking(0, False)
    longest = 0.0
    while True:
        start = time.monotonic()
        time.sleep(0.001)
        longest = max(longest, time.monotonic() - start - 0.001)
        try:
            if not os.read(0, 1):
                break
        except BlockingIOError:
            continue
    print(longest)


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Run on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def producing(program_fd: int, cpu: int, seconds: float, found: Stalls) -> Iterator[None]:
    """Have a producer run, and on the consumer's CPU a process that only sleeps."""
    script = [sys.executable, "-m", __spec__.name]
    with on_cpu(cpu):
        sleeper = subprocess.Popen(
            [*script, "--oversleep"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    arguments = ["--produce", str(program_fd), "--seconds", str(seconds)]
    with sleeper, subprocess.Popen([*script, *arguments], pass_fds=[program_fd]):
        try:
            with on_cpu(cpu):
                yield
        finally:
            found.overslept = float(sleeper.communicate()[0])


async def measure(buffer: str, max_latency: float, seconds: float) -> Stalls:
    """Consume what `produce` sends, cancelled at random, by all ways to receive."""
    found = Stalls()
    chance = random.Random(4)
    async with (
        bpfstream.load(PROGRAM) as obj,
        obj.events(buffer, type="event_48", max_latency=max_latency, pages=256) as events,
    ):
        program_fd = obj.programs[f"{buffer}_48"].fd
        with producing(program_fd, max(os.sched_getaffinity(0)), seconds, found):
            while not await receive_some(events, chance, max_latency, found):
                found.cancellations += 1
        await events.flush()  # of other CPUs' perf buffers
        tally = obj.maps["tallies"][0]
        found.events = events.statistics().received
        found.lost = tally.lost
        found.uncounted = tally.sent - found.events
        if buffer == "perf":
            found.uncounted += tally.lost - events.statistics().lost.perf
        return found


async def receive_some(
    events: bpfstream.EventStream, chance: random.Random, max_latency: float, found: Stalls
) -> bool:
    """Receive until the end, or a cancellation at a random time; whether it was the end."""
    with trio.move_on_after(chance.choice([0, 0.0005, 0.003, 0.05, 1, math.inf])):
        while True:
            match chance.randrange(3):
                case 0:
                    batch = [await events.receive()]
                case 1:
                    batch = await events.receive_batch()
                case _:
                    batch = [await anext(aiter(events))]
            waited = (time.monotonic_ns() - batch[0].timestamp) / 1e9
            found.longest = max(found.longest, waited)
            found.stalls += waited > max_latency + ALLOWED
            if not batch[-1].value:
                return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stalls", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--produce", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--oversleep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce is not None:
        produce(options.produce, options.seconds)
        return 0
    if options.oversleep:
        oversleep()
        return 0
    print(
        "buffer  max_latency    events  lost  uncounted  stalls  longest ms  machine ms  cancelled"
    )
    failed = False
    for buffer in BUFFERS:
        for max_latency in LATENCIES:
            found = trio.run(measure, buffer, max_latency, options.seconds)
            failed = failed or found.uncounted != 0 or found.stalls != 0
            print(
                f"{buffer:6}  {max_latency:11}  {found.events:8}  {found.lost:4}  "
                f"{found.uncounted:9}  {found.stalls:6}  {found.longest * 1000:10.1f}  "
                f"{found.overslept * 1000:10.1f}  {found.cancellations:9}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
