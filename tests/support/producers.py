"""Processes that make a test's BPF program send events, several at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]

_SCRIPT = """
import os, random, struct, sys
from bpfstream.kernel.program_run import program_test_run

fd, producer, total, cpu, layout = int(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5]
os.sched_setaffinity(0, {cpu})
chance = random.Random(producer)
left = total
while left:
    burst = min(left, chance.randint(1, 200))
    arguments = (producer, burst, *map(int, sys.argv[6:]))
    program_test_run(fd, context=struct.pack(layout, *arguments))
    left -= burst
    if chance.random() < 0.05:
        os.sched_yield()
"""


def start_producer(
    program_fd: int, producer: int, records: int, layout: str, *more: int
) -> subprocess.Popen[bytes]:
    """Start a process that runs a program until it has tried to send `records` records.

    Producers are spread over the CPUs that this process may use.

    Args:
        program_fd: The program; the process inherits it.
        producer: The producer's number, the first member of the program's context.
        records: How many records; their count in each run is the context's second member.
        layout: The context, as a `struct` format.
        more: The context's other members.
    """
    cpus = sorted(os.sched_getaffinity(0))
    arguments = (program_fd, producer, records, cpus[producer % len(cpus)], layout, *more)
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, *map(str, arguments)],
        pass_fds=[program_fd],
        cwd=_CHECKOUT,
    )
