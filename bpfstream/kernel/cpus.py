"""The machine's CPUs, as the kernel numbers them."""

from __future__ import annotations

import errno
import time
from functools import cache
from pathlib import Path

from bpfstream.errors import KernelError

_DIRECTORY = Path("/sys/devices/system/cpu")
_MAX_CPUS = 1 << 16
"""More than any kernel is built for (CONFIG_NR_CPUS ends at 8192): a bound for malformed lists."""


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Read a list such as ``0-3,8,10-11`` (bitmap_print_to_pagebuf, lib/bitmap-str.c).

    Returns:
        The numbers, ascending; none for an empty line.

    Raises:
        KernelError: The text is not such a list.
    """
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        try:
            begin, end = int(first), int(last if dash else first)
        except ValueError:
            begin, end = 0, -1
        if not 0 <= begin <= end < _MAX_CPUS:
            raise KernelError(
                "read a CPU list", errno.EINVAL, reason=f"{part!r} in {text[:80]!r} is no range"
            )
        numbers.update(range(begin, end + 1))
    return tuple(sorted(numbers))


def _read(name: str) -> tuple[int, ...]:
    path = _DIRECTORY / name
    try:
        return parse_cpu_list(path.read_text())
    except OSError as error:
        raise KernelError(
            f"read {path}", error.errno or errno.EIO, hint="is sysfs mounted at /sys?"
        ) from error


@cache
def possible_cpus() -> tuple[int, ...]:
    """The CPUs that can ever come up, ascending; numbers may be missing in between.

    A per-CPU map has one value slot for each of these.
    """
    return _read("possible")


def online_cpus() -> tuple[int, ...]:
    """The CPUs that run now, ascending. They come and go."""
    return _read("online")


_EVENT_NUMBER = Path("/sys/kernel/uevent_seqnum")
"""How many events the kernel has told user space of; one is a CPU that comes or goes."""

_SUSPENDED = 0.05
"""Seconds by which the clocks must have come apart to show that the machine was suspended."""


class CpuWatch:
    """Tells when CPUs may have come or gone, which costs two reads of small files a look.

    A CPU that went and came back between two looks is missed by the list of those online. So what
    else changes then is looked at: the number of events of the kernel, and for suspend, which
    takes all CPUs but one offline and tells nobody, the time that only CLOCK_BOOTTIME counts.
    """

    def __init__(self) -> None:
        self._settled = self._latest = self._look()

    def changed(self) -> bool:
        """Whether something happened since the state was settled that may have been a CPU's.

        Raises:
            KernelError: The CPUs can't be read.
        """
        self._latest = self._look()
        *states, suspended = self._latest
        *settled_states, settled_suspended = self._settled
        return states != settled_states or suspended - settled_suspended > _SUSPENDED

    def settle(self) -> None:
        """What the last look saw was dealt with."""
        self._settled = self._latest

    def _look(self) -> tuple[tuple[int, ...], str, float]:
        suspended = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(
            time.CLOCK_MONOTONIC
        )
        return online_cpus(), _read_text(_EVENT_NUMBER), suspended


def _read_text(path: Path) -> str:
    """A small file's text; empty when it can't be read, which then says nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""
