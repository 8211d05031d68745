"""Memory that the kernel shares with this process: rings, and its own BTF.

The mapping of a ring hands out memoryviews. Closing it releases them, so that late users get a
ValueError. A view that somebody made of them (a slice that a decoder kept) stays valid: the memory
is unmapped when the last such view goes.
"""

from __future__ import annotations

import mmap
import sys
from types import TracebackType
from typing import Self

from bpfstream.kernel.syscalls import kernel_error

PAGE_SIZE = mmap.PAGESIZE


def _map(fd: int, length: int, protection: int, offset: int = 0) -> mmap.mmap:
    """Map `length` bytes of `fd`, shared.

    Python keeps a duplicate of the descriptor with the mapping; from 3.13 on it can do without.
    """
    if sys.version_info >= (3, 13):
        return mmap.mmap(
            fd, length, flags=mmap.MAP_SHARED, prot=protection, offset=offset, trackfd=False
        )
    return mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=protection, offset=offset)


class _Mapping:
    """Several mapped pieces, given back together."""

    def __init__(self) -> None:
        self._pieces: list[mmap.mmap] = []
        self._views: list[memoryview] = []

    def _view(self, piece: mmap.mmap, begin: int, end: int) -> memoryview:
        with memoryview(piece) as whole:
            view = whole[begin:end]
        self._views.append(view)
        return view

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._views

    def close(self) -> None:
        """Release the views and unmap the memory; idempotent."""
        views, self._views = self._views, []
        pieces, self._pieces = self._pieces, []
        for view in views:
            try:
                view.release()
            except BufferError:
                # Somebody exported the view itself (a ctypes object); it goes with that one.
                continue
        for piece in pieces:
            try:
                piece.close()
            except BufferError:
                # Views of the views exist. They hold the mapping, which goes with the last one.
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RingBufferMapping(_Mapping):
    """The memory of a BPF ring buffer (kernel/bpf/ringbuf.c, ringbuf_map_mmap_kern; Linux 5.8).

    Attributes:
        consumer: The page whose first 8 bytes are the consumer position; writable.
        producer: The page whose first 8 bytes are the producer position; read-only.
        data: The data area twice, one after another, so that no record is in two parts; read-only,
            2 x `size` bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        """Map the ring buffer `fd` of `size` bytes (its map's max_entries).

        Raises:
            OSError: With the kernel's errno: EPERM for a wrong size, EBADF, ENODEV.
        """
        super().__init__()
        consumer = _map(fd, PAGE_SIZE, mmap.PROT_READ | mmap.PROT_WRITE)
        self._pieces.append(consumer)
        try:
            rest = _map(fd, PAGE_SIZE + 2 * size, mmap.PROT_READ, PAGE_SIZE)
        except BaseException:
            self.close()
            raise
        self._pieces.append(rest)
        self.consumer = self._view(consumer, 0, PAGE_SIZE)
        self.producer = self._view(rest, 0, PAGE_SIZE)
        self.data = self._view(rest, PAGE_SIZE, PAGE_SIZE + 2 * size)


class UserRingBufferMapping(_Mapping):
    """The memory of a user ring buffer (kernel/bpf/ringbuf.c, ringbuf_map_mmap_user; Linux 6.1).

    Attributes:
        consumer: The page whose first 8 bytes are the consumer position; read-only.
        producer: The page whose first 8 bytes are the producer position; writable.
        data: The data area twice, one after another, so that no record is in two parts; writable,
            2 x `size` bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        """Map the user ring buffer `fd` of `size` bytes (its map's max_entries).

        Raises:
            OSError: With the kernel's errno: EPERM for a wrong size, EBADF, ENODEV.
        """
        super().__init__()
        consumer = _map(fd, PAGE_SIZE, mmap.PROT_READ)
        self._pieces.append(consumer)
        try:
            rest = _map(fd, PAGE_SIZE + 2 * size, mmap.PROT_READ | mmap.PROT_WRITE, PAGE_SIZE)
        except BaseException:
            self.close()
            raise
        self._pieces.append(rest)
        self.consumer = self._view(consumer, 0, PAGE_SIZE)
        self.producer = self._view(rest, 0, PAGE_SIZE)
        self.data = self._view(rest, PAGE_SIZE, PAGE_SIZE + 2 * size)


class PerfBufferMapping(_Mapping):
    """The memory of a perf event's ring (kernel/events/core.c, perf_mmap).

    Attributes:
        header: ``struct perf_event_mmap_page``, one page; writable, for the data tail.
        data: `pages` pages of records, which may wrap at the end.
    """

    def __init__(self, fd: int, pages: int, *, overwrite: bool = False) -> None:
        """Map the event `fd` with `pages` data pages, a power of two.

        Args:
            fd: The event.
            pages: How many pages of data.
            overwrite: Map read-only: then nobody stores a data tail, and the kernel writes over
                what is oldest instead of dropping what is new.

        Raises:
            OSError: With the kernel's errno: EPERM when that is more locked memory than
                kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK allow, EINVAL for a wrong size.
        """
        super().__init__()
        protection = mmap.PROT_READ if overwrite else mmap.PROT_READ | mmap.PROT_WRITE
        whole = _map(fd, (1 + pages) * PAGE_SIZE, protection)
        self._pieces.append(whole)
        self.header = self._view(whole, 0, PAGE_SIZE)
        self.data = self._view(whole, PAGE_SIZE, (1 + pages) * PAGE_SIZE)


def map_for_good(fd: int, size: int) -> memoryview:
    """Map the first `size` bytes of a file, read-only, for the rest of the process's life.

    For files that never change, as those of sysfs. The descriptor may be closed, other than with
    `mmap.mmap`, which keeps a duplicate before Python 3.13.

    Raises:
        OSError: With the kernel's errno; ENODEV for a file that can't be mapped.
    """
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    address = function(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise kernel_error(ctypes.get_errno())
    contents = (ctypes.c_char * size).from_address(address)
    return memoryview(contents).cast("B").toreadonly()
