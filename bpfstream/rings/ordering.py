"""The order of memory accesses between the two sides of a ring.

A reader has to see what the kernel wrote in the order in which it wrote it, and the kernel what a
writer wrote. Where the machine keeps loads in order with loads, and stores behind earlier accesses
(x86, s390x), plain accesses do. Elsewhere (arm64, riscv, powerpc) a barrier is needed at each step,
and Python has none by name. A lock has: its release orders everything before it, its acquisition
everything after it, and an acquisition that follows a release is not moved before it. So a barrier
is the release and re-acquisition of a lock that nobody else ever takes: about 100 ns, paid a few
times a batch and not once a record.

The compiled module has the atomic accesses themselves. Both are an `Ordering`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from bpfstream._native import hot

Barrier: TypeAlias = Callable[[], None]
"""What keeps all memory accesses before the call ahead of all those after it."""

STRONGLY_ORDERED_MACHINES = frozenset({"x86_64", "i386", "i486", "i586", "i686", "s390x"})
"""Machines (``uname -m``) that only ever move a load ahead of an earlier store."""


class Ordering(msgspec.Struct, frozen=True, gc=False):
    """How positions are accessed, and what orders the accesses between.

    Attributes:
        load: The position in a view of one ``"Q"``; nothing after is read before it (acquire).
        store: Writes a position; everything before is read and written before it (release).
        barrier: Keeps loads and stores before it ahead of stores after it, and loads of loads.
        fence: Keeps all before it ahead of all after it, also a store of a load.
    """

    load: Callable[[memoryview], int]
    store: Callable[[memoryview, int], None]
    barrier: Barrier
    fence: Barrier


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


def ordering_for(native: bool, barrier: Barrier | None = None) -> Ordering:
    """The ordering of one reader or writer.

    Args:
        native: Take the atomic accesses of the compiled module.
        barrier: What to use as barrier; by default what this machine needs.
    """
    if native:
        return Ordering(hot.load_position, hot.store_position, barrier or hot.fence, hot.fence)
    barrier = barrier if barrier is not None else barrier_for()

    # A memoryview of "Q" accesses an aligned word of 8 bytes at once.
    def load(view: memoryview) -> int:
        position: int = view[0]
        barrier()
        return position

    def store(view: memoryview, position: int) -> None:
        barrier()
        view[0] = position

    # On x86, s390x and arm64 the two operations on a lock keep a store ahead of a load too.
    # Elsewhere (powerpc) arming epoll does, which looks at the positions in the kernel.
    return Ordering(load, store, barrier, lock_barrier())
