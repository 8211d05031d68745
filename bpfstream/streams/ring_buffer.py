"""A BPF ring buffer as a source of events."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import TypeVar

from bpfstream.kernel.memory import RingBufferMapping
from bpfstream.rings import (
    BatchDecoder,
    Drained,
    OverwriteRingBufferReader,
    RingBufferReader,
    drain,
)
from bpfstream.streams.statistics import Losses

B = TypeVar("B")


class RingBufferSource:
    """Reads a ``BPF_MAP_TYPE_RINGBUF`` map (Linux 5.8).

    Args:
        map_fd: The map; the source takes a duplicate, so the map may be closed first.
        size: The map's ``max_entries``, in bytes.
        count_lost: Reads the loss counter that the program keeps, if it keeps one: the kernel
            itself tells a reader nothing of records that found no room.
        overwrite: Whether the map has ``BPF_F_RB_OVERWRITE`` (Linux 6.19): then new records
            overwrite old ones that were not read.

    Raises:
        OSError: The ring can't be mapped.
    """

    def __init__(
        self,
        map_fd: int,
        size: int,
        *,
        count_lost: Callable[[], int] | None = None,
        overwrite: bool = False,
    ) -> None:
        self._count_lost = count_lost
        self._fd = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
        try:
            self._memory = RingBufferMapping(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        kind = OverwriteRingBufferReader if overwrite else RingBufferReader
        memory = self._memory
        self._reader = kind(memory.consumer, memory.producer, memory.data)
        self._overwrite = overwrite

    cleared_by_polling = False
    """The kernel compares the positions each time (kernel/bpf/ringbuf.c, ringbuf_map_poll_kern)."""

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def drain(self, decoder: BatchDecoder[B], limit: int) -> Drained[B]:
        """Decode up to `limit` records."""
        return drain(self._reader, decoder, limit)

    def release(self, count: int, *, hold_back: bool = False) -> None:
        """Free the space of the first `count` records of the last drain."""
        self._reader.keep(count)
        self._reader.release(hold_back=hold_back)

    def publish(self) -> bool:
        """Free what was held back; whether there is something to take."""
        return self._reader.publish()

    def sweep(self) -> None:
        """Nothing changes."""

    @property
    def pending(self) -> bool:
        """Whether a record can be taken."""
        return self._reader.pending

    @property
    def busy(self) -> bool:
        """Whether the next record is reserved and not committed."""
        return self._reader.busy

    @property
    def backlog(self) -> int:
        """Bytes not released yet."""
        return self._reader.backlog

    @property
    def capacity(self) -> int:
        """Bytes that fit."""
        return self._reader.capacity

    @property
    def fullness(self) -> float:
        """The part of the ring that is taken."""
        return self._reader.backlog / self._reader.capacity

    @property
    def discarded(self) -> int:
        """Records that the program gave up."""
        return self._reader.discarded

    @property
    def losses(self) -> Losses:
        """What the program counted as lost, if it does, and what was overwritten unread."""
        if self._count_lost is None and not self._overwrite:
            return Losses(kernel=None)
        counted = self._count_lost() if self._count_lost is not None else 0
        return Losses(kernel=counted + self._reader.lost)

    def close(self) -> None:
        """Give the ring back; idempotent."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._reader.close()
        self._memory.close()
        os.close(fd)
