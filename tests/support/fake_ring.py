"""A ring of numbers in memory, to test streams with."""

from __future__ import annotations

import os

from bpfstream.rings import BatchDecoder, Drained, EachRecord, copy_record
from bpfstream.streams import Losses

NUMBERS = EachRecord(copy_record)
"""The decoder of a stream of a FakeRing, which does not use it: it has values, not records."""


class FakeRing:
    """An `EventSource`: like a ring buffer it is readable while something in it is not freed.

    Exceptions among the values are bad records: a drain raises the one that comes first.
    """

    capacity = 1 << 20
    discarded = 0

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        self._readable = False
        self.content: list[int | Exception] = []
        self.held_back = 0
        self.losses = Losses()
        self.busy = False
        self.silent = False  # as with BPF_RB_NO_WAKEUP
        self.sweeps = 0
        self.closed = 0
        self._taken = 0

    def put(self, *values: int | Exception) -> None:
        """Send."""
        self.content += values
        if not self.silent:
            self._announce()

    def reserve(self) -> None:
        """As after bpf_ringbuf_reserve: readable, yet nothing to take."""
        self.busy = True
        self._announce()

    def commit(self, value: int) -> None:
        """Send what was reserved."""
        self.busy = False
        self.content.append(value)

    cleared_by_polling = True

    def fileno(self) -> int:
        return self._read_end

    def drain(self, decoder: BatchDecoder[list[int]], limit: int) -> Drained[list[int]]:
        self.release(self._taken)
        if self.content and isinstance(self.content[0], Exception):
            error = self.content.pop(0)
            assert isinstance(error, Exception)
            raise error
        taken: list[int] = []
        for value in [] if self.busy else self.content[:limit]:
            if isinstance(value, Exception):
                break
            taken.append(value)
        self._taken = len(taken)
        return Drained(taken, len(taken), len(self.content) > len(taken))

    def release(self, count: int, *, hold_back: bool = False) -> None:
        freed = min(count, self._taken)
        del self.content[:freed]
        self._taken = 0
        if freed:
            self.held_back = int(hold_back)
        elif not hold_back:
            self.held_back = 0
        self._hush()

    def publish(self) -> bool:
        self.release(0)
        return self.pending

    def sweep(self) -> None:
        self.sweeps += 1

    @property
    def pending(self) -> bool:
        return len(self.content) > self._taken and not self.busy

    @property
    def backlog(self) -> int:
        return (len(self.content) + self.held_back) * 16

    @property
    def fullness(self) -> float:
        return self.backlog / self.capacity

    def close(self) -> None:
        self.closed += 1
        os.close(self._read_end)
        os.close(self._write_end)

    def _announce(self) -> None:
        if not self._readable:
            os.write(self._write_end, b"!")
            self._readable = True

    def _hush(self) -> None:
        if self._readable and not self.content and not self.held_back and not self.busy:
            os.read(self._read_end, 1)
            self._readable = False
