"""The start-up benchmark: from the start of a process to its first event."""

from __future__ import annotations

import compileall
import resource
import sys
import time
from collections.abc import Iterator

import msgspec

from tests.benchmarks import peers
from tests.benchmarks.consumer import output_of
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers import OBJECTS, ROOT, Peer
from tests.benchmarks.run import Run

OBJECT = OBJECTS / "startup.bpf.o"
ROUNDS = 10

IMPORT_TRIO = Peer("import-trio", [sys.executable, "-c", "import trio"])
"""What no program that uses trio can do without."""


class Start(msgspec.Struct, frozen=True):
    """What one start took.

    Attributes:
        ms: Milliseconds from start to first event.
        cpu_ms: CPU time until then.
        megabytes: The most memory that was resident.
    """

    ms: float
    cpu_ms: float
    megabytes: float | None = None


def startup(run: Run) -> Iterator[Figure]:
    """For each library: time, CPU time and memory, each the best of several starts."""
    # As pip leaves an installed package: a start that compiles is another measurement.
    compileall.compile_dir(ROOT / "bpfstream", quiet=2)
    started = [
        IMPORT_TRIO,
        *(
            peers.ours(peer.name, pure=peer.name == "bpfstream-pure", script="bpfstream_startup")
            if peer.ours
            else peer
            for peer in run.libraries
        ),
    ]
    starts: dict[str, list[Start]] = {}
    for number in range(ROUNDS):
        run.progress(f"startup: round {number + 1} of {ROUNDS}")
        for peer in list(started):
            with run.failures(peer, "startup"):
                starts.setdefault(peer.name, []).append(_start(peer))
                continue
            started.remove(peer)
            starts.pop(peer.name, None)
    for name, measured in starts.items():
        for field, unit in (("ms", "ms"), ("cpu_ms", "ms CPU"), ("megabytes", "MB")):
            values = [getattr(each, field) for each in measured]
            if None not in values:
                yield Figure(bench="startup", consumer=name, value=min(values), unit=unit)


def _start(peer: Peer) -> Start:
    begun = time.monotonic_ns()
    if peer is IMPORT_TRIO:
        before = _cpu_seconds_of_children()
        output_of(peer)
        cpu = _cpu_seconds_of_children() - before
        return Start((time.monotonic_ns() - begun) / 1e6, cpu * 1000)
    return parse_start(output_of(peer, "startup", OBJECT), begun)


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def parse_start(output: str, begun: int) -> Start:
    """Read what a consumer prints: ``NOW CPU_TIME``, both in ns, then VmHWM as /proc has it.

    Args:
        output: Its lines.
        begun: When it was started, by CLOCK_MONOTONIC, in ns.
    """
    times, memory = output.splitlines()
    now, cpu = map(int, times.split())
    kilobytes = int(memory.split()[1])  # KiB, fs/proc/task_mmu.c
    return Start((now - begun) / 1e6, cpu / 1e6, kilobytes * 1024 / 1e6)
