"""Consumers: processes that read one buffer, and are told when.

A consumer loads producer.bpf.o with its own library, says ``ready ring_48=ID ...`` (the ids of its
programs), then answers each line of its standard input with one of its own:

    consume     takes events until the one whose value is 0: CPU_NS SUM
    latency     the same, and each event's latency: CPU_NS SUM NS NS ...

CPU_NS is CPU time of the process from the command to the last event, SUM that of all values. Only
BCC, which can't load a compiled object, gets its map from here.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

import msgspec

from bpfstream import load_object
from tests.benchmarks.peers import OBJECTS, Peer, last_line
from tests.benchmarks.producer import Producer

OBJECT = OBJECTS / "producer.bpf.o"
PERF_PAGES = 1024
"""Data pages of each CPU's perf buffer; 4 MiB where a page has 4 KiB."""

_TIME_LIMIT = 60


class ConsumerError(Exception):
    """A consumer ended, or did not answer; the message is the last that it said."""


class Consumer(msgspec.Struct, frozen=True):
    """A way to read events with a library.

    Attributes:
        name: What it is called in the figures.
        peer: The library.
        way: How its program is to take the events, where there are several.
    """

    name: str
    peer: Peer
    way: str = ""


class Result(msgspec.Struct, frozen=True):
    """What a consumer says of a run.

    Attributes:
        cpu_ns: CPU time that it took.
        sum: Of all events' values.
        latencies: Nanoseconds from the making of each event to its use, if they were asked for.
    """

    cpu_ns: int
    sum: int
    latencies: Sequence[int] = ()


class Reading:
    """A consumer at work, and the producer of what it reads."""

    def __init__(self, consumer: Consumer, process: subprocess.Popen[bytes], errors: IO[bytes]):
        self.consumer = consumer
        self.producer: Producer
        self._process = process
        self._errors = errors
        self._output = b""

    def begin(self, command: str = "consume") -> None:
        """Tell it to take events."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("ended") from None

    def result(self) -> Result:
        """Wait for its answer."""
        cpu_ns, total, *latencies = map(int, self.line().split())
        return Result(cpu_ns, total, latencies)

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        pipe, deadline = self._process.stdout.fileno(), time.monotonic() + _TIME_LIMIT
        while b"\n" not in self._output:
            readable, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
            if not readable:
                raise self._failure(f"did not answer within {_TIME_LIMIT} s")
            data = os.read(pipe, 1 << 20)
            if not data:
                raise self._failure("ended")
            self._output += data
        line, _, self._output = self._output.partition(b"\n")
        return line.decode()

    def _failure(self, what: str) -> ConsumerError:
        self._errors.seek(0)
        said = last_line(self._errors.read().decode(errors="replace"))
        return ConsumerError(f"{what}: {said}" if said else what)


@contextmanager
def reading(
    consumer: Consumer, buffer: str, event_bytes: int, *, max_latency: float | None = None
) -> Iterator[Reading]:
    """Start a consumer of a buffer.

    Args:
        consumer: Who reads.
        buffer: "ring" or "perf".
        event_bytes: 48 or 128.
        max_latency: Seconds that bpfstream's stream is given; None for its default.

    Raises:
        ConsumerError: It can't.
    """
    peer, program = consumer.peer, f"{buffer}_{event_bytes}"
    with ExitStack() as stack:
        if peer.name == "bcc":
            loaded = stack.enter_context(load_object(OBJECT))
            map_fd, program_fd = loaded.maps[buffer].fd, loaded.programs[program].fd
            arguments = ["read", map_fd, buffer, event_bytes, PERF_PAGES]
            inherited = [map_fd]
        else:
            arguments = ["read", OBJECT, buffer, PERF_PAGES]
            arguments += [consumer.way, event_bytes] if consumer.way else []
            arguments += [] if max_latency is None else [max_latency]
            inherited = []
        errors = stack.enter_context(tempfile.TemporaryFile())
        process = stack.enter_context(_running(peer, arguments, inherited, errors))
        reader = Reading(consumer, process, errors)
        word, *programs = reader.line().split()
        assert word == "ready", word
        if peer.name != "bcc":
            ids = dict(each.split("=") for each in programs)
            reader.producer = stack.enter_context(Producer.by_id(int(ids[program])))
        else:
            reader.producer = stack.enter_context(Producer(program_fd))
        yield reader


@contextmanager
def _running(
    peer: Peer, arguments: list[object], inherited: list[int], errors: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with on_cpu(consumer_cpu()):
        process = peer.start(*arguments, stdin=pipe, stdout=pipe, stderr=errors, pass_fds=inherited)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output_of(peer: Peer, *arguments: object, inherited: Sequence[int] = ()) -> str:
    """Run a program of a library to its end, where consumers run.

    Returns:
        What it prints.

    Raises:
        ConsumerError: It fails, or does not end.
    """
    pipe = subprocess.PIPE
    with on_cpu(consumer_cpu()):
        process = peer.start(*arguments, stdout=pipe, stderr=pipe, pass_fds=inherited)
    with process:
        try:
            output, errors = process.communicate(timeout=_TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise ConsumerError(f"did not end within {_TIME_LIMIT} s") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ConsumerError(last_line(errors.decode(errors="replace")))
    return output.decode()


def producer_cpu() -> int:
    """Where this process, which produces, runs: the first CPU there is."""
    return min(_CPUS)


def consumer_cpu() -> int:
    """Where consumers run: the last CPU there is."""
    return max(_CPUS)


_CPUS = frozenset(os.sched_getaffinity(0))


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Run on one CPU; processes started meanwhile stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
