"""A BPF ring buffer as a source of events."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Generic, TypeVar

from bpfstream.kernel.memory import RingBufferMapping
from bpfstream.rings import Decode, Drained, RingBufferReader

T = TypeVar("T")


class RingBufferSource(Generic[T]):
    """Reads a ``BPF_MAP_TYPE_RINGBUF`` map (Linux 5.8).

    Args:
        map_fd: The map; the source takes a duplicate, so the map may be closed first.
        size: The map's ``max_entries``, in bytes.
        decode: Makes an event of a record.
        count_lost: Reads the loss counter that the program keeps, if it keeps one: the kernel
            itself tells a reader nothing of records that found no room.

    Raises:
        OSError: The ring can't be mapped.
    """

    def __init__(
        self,
        map_fd: int,
        size: int,
        decode: Decode[T],
        *,
        count_lost: Callable[[], int] | None = None,
    ) -> None:
        self._decode = decode
        self._count_lost = count_lost
        self._fd = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
        try:
            self._memory = RingBufferMapping(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        self._reader = RingBufferReader(
            self._memory.consumer, self._memory.producer, self._memory.data
        )

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def drain(self, limit: int) -> Drained[T]:
        """Decode up to `limit` records."""
        return self._reader.drain(self._decode, limit)

    def release(self, count: int) -> None:
        """Free the space of the first `count` records of the last drain."""
        self._reader.release(count)

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
    def discarded(self) -> int:
        """Records that the program gave up."""
        return self._reader.discarded

    @property
    def lost(self) -> int | None:
        """What the program counted as lost; None when it does not count."""
        return None if self._count_lost is None else self._count_lost()

    def close(self) -> None:
        """Give the ring back; idempotent."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._reader.close()
        self._memory.close()
        os.close(fd)
