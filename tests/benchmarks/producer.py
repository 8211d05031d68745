"""The producer: sends events by running its program, whichever consumer loaded it."""

from __future__ import annotations

import os
import struct
import time
from random import Random
from types import TracebackType
from typing import NamedTuple, Self

from bpfstream.kernel.bpf import ObjectKind, fd_by_id, map_lookup
from bpfstream.kernel.info import map_info, program_info
from bpfstream.kernel.program_run import program_test_run

END = 0
"""The value of the event that ends a run; it changes no sum."""

_LONGEST_BURST = 4096
_CATCH_UP_SECONDS = 0.025
_CONTEXT = struct.Struct("=2Q")  # the first event's value and how many events
_TALLY = struct.Struct("=3Q")


class Tally(NamedTuple):
    """What became of all events: sent, lost for want of space, the sum of the values sent."""

    sent: int
    lost: int
    sum: int


class Producer:
    """Sends events through the buffer of one consumer. Values are 1, 2, 3 and so on.

    Args:
        program_fd: One of the programs of producer.bpf.c; the producer takes a duplicate.
    """

    def __init__(self, program_fd: int) -> None:
        self._program = os.dup(program_fd)
        self._tallies = _map_of(self._program, "tallies")
        self._next = 1

    @classmethod
    def by_id(cls, program_id: int) -> Self:
        """Take a program that another process has loaded."""
        fd = fd_by_id(ObjectKind.PROGRAM, program_id)
        try:
            return cls(fd)
        finally:
            os.close(fd)

    def fill(self, count: int) -> int:
        """Send so many events and the one that ends the run, into an empty buffer.

        Returns:
            The sum of their values.
        """
        before = self.tally()
        self._next = 1
        while (left := count + 1 - self._next) > 0:
            self._send(min(left, _LONGEST_BURST))
        self._run(END, 1)
        after = self.tally()
        if after.lost != before.lost or after.sent - before.sent != count + 1:
            raise RuntimeError(f"{count} events did not fit: {before}, then {after}")
        return after.sum - before.sum

    def stream(self, rate: int, seconds: float) -> float:
        """Send at a constant rate, and end the run.

        It spins and sends what is due: an event at a time at low rates, bursts at high ones. Who
        has been kept from its CPU for long does not catch up, which would be another rate.

        Returns:
            Seconds that it took: more than asked for where the rate could not be kept.
        """
        total, sent = int(rate * seconds), 0
        self._next = 1
        begun = start = time.perf_counter()
        while sent < total:
            now = time.perf_counter()
            late = now - start - sent / rate
            if late > _CATCH_UP_SECONDS:
                start += late - _CATCH_UP_SECONDS
            due = min(int((now - start) * rate) - sent, total - sent)
            if due > 0:
                burst = min(due, _LONGEST_BURST)
                self._send(burst)
                sent += burst
        elapsed = time.perf_counter() - begun
        self.end()
        return elapsed

    def trickle(self, count: int, mean_pause: float, seed: int) -> None:
        """Send single events after random pauses (a Poisson process), and end the run."""
        chance = Random(seed)
        self._next = 1
        for _ in range(count):
            time.sleep(chance.expovariate(1 / mean_pause))
            self._send(1)
        self.end()

    def end(self) -> None:
        """Send the event that ends the run, however long it takes to find room."""
        sent = self.tally().sent
        while self.tally().sent == sent:
            self._run(END, 1)
            time.sleep(0.001)

    def tally(self) -> Tally:
        """What became of all events so far."""
        value = map_lookup(self._tallies, bytes(4), _TALLY.size)
        assert value is not None  # an array has all its elements
        return Tally(*_TALLY.unpack(value))

    def _send(self, count: int) -> None:
        self._run(self._next, count)
        self._next += count

    def _run(self, first: int, count: int) -> None:
        program_test_run(self._program, context=_CONTEXT.pack(first, count))

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._program)
        os.close(self._tallies)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _map_of(program_fd: int, name: str) -> int:
    for map_id in program_info(program_fd).map_ids:
        fd = fd_by_id(ObjectKind.MAP, map_id)
        if map_info(fd).name == name:
            return fd
        os.close(fd)
    raise RuntimeError(f"the program uses no map {name!r}")
