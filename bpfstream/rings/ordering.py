"""The order of memory accesses between a ring's producer and its reader.

A reader has to see what the kernel wrote in the order in which it wrote it. Where the machine keeps
loads in order with loads, and stores behind earlier loads (x86, s390x), plain accesses do.
Elsewhere (arm64, riscv, powerpc) the reader needs a barrier at each step, and Python has none by
name. A lock has: its release orders everything before it, its acquisition everything after it, and
an acquisition that follows a release is not moved before it. So a barrier is the release and
re-acquisition of a lock that nobody else ever takes: about 100 ns, paid a few times a batch and not
once a record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

Barrier = Callable[[], None]
"""What keeps all memory accesses before the call ahead of all those after it."""

STRONGLY_ORDERED_MACHINES = frozenset({"x86_64", "i386", "i486", "i586", "i686", "s390x"})
"""Machines (``uname -m``) that only ever move a load ahead of an earlier store."""


def no_barrier() -> None:
    """The barrier of a machine that needs none."""


def lock_barrier() -> Barrier:
    """A barrier made from a lock of its own, good on every machine. Not for use by two threads."""
    lock = threading.Lock()
    lock.acquire()

    def barrier() -> None:
        lock.release()
        lock.acquire()

    return barrier


def barrier_for(machine: str | None = None) -> Barrier:
    """The cheapest sufficient barrier on `machine` (``uname -m``), by default on this one."""
    if (machine or os.uname().machine) in STRONGLY_ORDERED_MACHINES:
        return no_barrier
    return lock_barrier()
