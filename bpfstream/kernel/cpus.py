"""The machine's CPUs, as the kernel numbers them."""

from __future__ import annotations

import errno
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
