"""Rings in ordinary memory, with a producer that writes them as the kernel does."""

from __future__ import annotations

import struct

from bpfstream._native import COMPILED
from bpfstream.rings import (
    BackwardPerfReader,
    OverwriteRingBufferReader,
    PerfBufferReader,
    RingBufferReader,
    UserRingBufferWriter,
)
from bpfstream.rings.ordering import Barrier

PAGE = 4096
BUSY, DISCARD = 1 << 31, 1 << 30
SAMPLE, LOST = 9, 2
_WRAP = 1 << 64


class SimulatedRingBuffer:
    """The memory of a BPF ring buffer: two position pages and the data, which appears twice.

    The kernel maps the data twice in a row; here what is written is written to both halves. Space
    is given, records are overwritten and readers are woken as kernel/bpf/ringbuf.c does.

    Attributes:
        consumer: The consumer page.
        producer: The producer page.
        data: The data area, twice its size.
        wakeups: How often a commit woke the reader.
    """

    def __init__(self, size: int = PAGE, *, position: int = 0, overwrite: bool = False) -> None:
        self.size = size
        self.consumer = memoryview(bytearray(PAGE))
        self.producer = memoryview(bytearray(PAGE))
        self.data = memoryview(bytearray(2 * size))
        self.wakeups = 0
        self._overwrite = overwrite
        self.consumer_position = position
        self.producer_position = position
        self.pending_position = position
        self.overwrite_position = position

    @property
    def consumer_position(self) -> int:
        """How far the reader has freed the ring."""
        return int(self.consumer[:8].cast("Q")[0])

    @consumer_position.setter
    def consumer_position(self, position: int) -> None:
        self.consumer[:8].cast("Q")[0] = position % _WRAP

    @property
    def producer_position(self) -> int:
        """How far space has been reserved."""
        return int(self.producer[:8].cast("Q")[0])

    @producer_position.setter
    def producer_position(self, position: int) -> None:
        self.producer[:8].cast("Q")[0] = position % _WRAP

    @property
    def overwrite_position(self) -> int:
        """Where the oldest record begins that was not overwritten."""
        return int(self.producer[16:24].cast("Q")[0])

    @overwrite_position.setter
    def overwrite_position(self, position: int) -> None:
        self.producer[16:24].cast("Q")[0] = position % _WRAP

    def reader(self, *, native: bool = COMPILED) -> RingBufferReader:
        """A reader of this ring."""
        return RingBufferReader(self.consumer, self.producer, self.data, native=native)

    def overwrite_reader(
        self, *, native: bool = COMPILED, barrier: Barrier | None = None
    ) -> OverwriteRingBufferReader:
        """A reader of this ring, which overwrites."""
        return OverwriteRingBufferReader(
            self.consumer, self.producer, self.data, native=native, barrier=barrier
        )

    def reserve(self, length: int) -> int | None:
        """Space for a record, busy until it is committed; None when there is none.

        ``__bpf_ringbuf_reserve``: no more than the ring's size, less 1, may lie between the oldest
        record that is busy, or is not read yet, and the end of this one.
        """
        end = self.producer_position + (length + 8 + 7) // 8 * 8
        while self.pending_position != self.producer_position:
            if self._header(self.pending_position) & BUSY:
                break
            self.pending_position = self._behind(self.pending_position)
        if (end - self.pending_position) % _WRAP >= self.size:
            return None
        if self._overwrite:
            while (end - self.overwrite_position) % _WRAP >= self.size:
                self.overwrite_position = self._behind(self.overwrite_position)
        elif (end - self.consumer_position) % _WRAP >= self.size:
            return None
        place = self.producer_position % self.size
        self.write(place, struct.pack("=II", length | BUSY, place >> 12))
        self.producer_position = end
        return place

    def commit(self, place: int, payload: bytes = b"", *, discard: bool = False) -> bool:
        """Give a reserved record its payload and let the reader have it.

        Returns:
            Whether that wakes the reader. ``bpf_ringbuf_commit``: if it waits for this very record.
        """
        self.write(place + 8, payload)
        header = self._header(place) & ~BUSY
        self.write(place, struct.pack("=I", header | (DISCARD if discard else 0)))
        wakes = self.consumer_position % self.size == place
        self.wakeups += wakes
        return wakes

    def send(self, payload: bytes, *, discard: bool = False) -> bool:
        """Reserve and commit at once; False when the ring is full."""
        place = self.reserve(len(payload))
        if place is None:
            return False
        self.commit(place, payload, discard=discard)
        return True

    def write(self, place: int, data: bytes) -> None:
        """Put bytes at a place of the data, whichever half they are seen through."""
        for index, byte in enumerate(data, place):
            self.data[index % self.size] = self.data[index % self.size + self.size] = byte

    def _header(self, position: int) -> int:
        return int(struct.unpack_from("=I", self.data, position % self.size)[0])

    def _behind(self, position: int) -> int:
        length = self._header(position) & ~(BUSY | DISCARD)
        return (position + (length + 8 + 7) // 8 * 8) % _WRAP


class SimulatedPerfBuffer:
    """The memory of one CPU's perf buffer: the control page and the data.

    Attributes:
        page: The control page.
        data: The data area, mapped once.
    """

    def __init__(self, size: int = PAGE, *, position: int = 0) -> None:
        self.size = size
        self.page = memoryview(bytearray(PAGE))
        self.data = memoryview(bytearray(size))
        self._dropped = 0
        self.head = position
        self.tail = position

    @property
    def head(self) -> int:
        """How far the kernel has written."""
        return int(self.page[1024:1032].cast("Q")[0])

    @head.setter
    def head(self, position: int) -> None:
        self.page[1024:1032].cast("Q")[0] = position % _WRAP

    @property
    def tail(self) -> int:
        """How far the reader has freed the buffer."""
        return int(self.page[1032:1040].cast("Q")[0])

    @tail.setter
    def tail(self, position: int) -> None:
        self.page[1032:1040].cast("Q")[0] = position % _WRAP

    def reader(self, *, native: bool = COMPILED) -> PerfBufferReader:
        """A reader of this buffer."""
        return PerfBufferReader(self.page, self.data, native=native)

    def send(self, payload: bytes) -> bool:
        """What ``bpf_perf_event_output`` does; False, and remembered as lost, when it is full."""
        padded = payload.ljust((len(payload) + 4 + 7) // 8 * 8 - 4, b"\xee")
        body = struct.pack("=I", len(padded)) + padded
        # The kernel reserves what fits into the u16 of the header and writes all of it.
        reserved = (8 + len(body)) & 0xFFFF
        lost = struct.pack("=QQ", 7, self._dropped) if self._dropped else b""
        needed = reserved + (8 + len(lost) if lost else 0)
        if needed > self.size - (self.head - self.tail) % _WRAP:
            self._dropped += 1
            return False
        if lost:
            self.write(LOST, lost)
            self._dropped = 0
        self.write(SAMPLE, body, size=reserved)
        return True

    def write(self, kind: int, body: bytes, *, size: int | None = None) -> None:
        """Append a record of any type; `size` is what its header says and the head moves by."""
        size = 8 + len(body) if size is None else size
        record = struct.pack("=IHH", kind, 0, size) + body
        for index, byte in enumerate(record):
            self.data[(self.head + index) % self.size] = byte
        self.head += size


class SimulatedBackwardPerfBuffer:
    """The memory of one CPU's overwritable perf buffer: each record goes below the one before.

    Attributes:
        page: The control page.
        data: The data area, mapped once.
    """

    def __init__(self, size: int = PAGE) -> None:
        self.size = size
        self.page = memoryview(bytearray(PAGE))
        self.data = memoryview(bytearray(size))
        self.head = 0

    @property
    def head(self) -> int:
        """Where the newest record begins; it counts down."""
        return int(self.page[1024:1032].cast("Q")[0])

    @head.setter
    def head(self, position: int) -> None:
        self.page[1024:1032].cast("Q")[0] = position % _WRAP

    def reader(self, *, native: bool = COMPILED) -> BackwardPerfReader:
        """A reader of this buffer."""
        return BackwardPerfReader(self.page.toreadonly(), self.data.toreadonly(), native=native)

    def send(self, payload: bytes) -> None:
        """What ``bpf_perf_event_output`` does: there is always room."""
        padded = payload.ljust((len(payload) + 4 + 7) // 8 * 8 - 4, b"\xee")
        body = struct.pack("=I", len(padded)) + padded
        self.write(SAMPLE, body, size=(8 + len(body)) & 0xFFFF)

    def write(self, kind: int, body: bytes, *, size: int | None = None) -> None:
        """Put a record of any type below the others; `size` is what its header says."""
        size = 8 + len(body) if size is None else size
        self.head -= size
        for index, byte in enumerate(struct.pack("=IHH", kind, 0, size) + body):
            self.data[(self.head + index) % self.size] = byte


class SimulatedUserRingBuffer:
    """The memory of a user ring buffer, and the program that reads it, as the kernel lets it.

    Attributes:
        consumer: The consumer page.
        producer: The producer page.
        data: The data area, which appears twice.
    """

    def __init__(self, size: int = PAGE, *, position: int = 0) -> None:
        self.size = size
        self.consumer = memoryview(bytearray(PAGE))
        self.producer = memoryview(bytearray(PAGE))
        self.data = _mapped_twice(size)
        self._consumer = self.consumer[:8].cast("Q")
        self._producer = self.producer[:8].cast("Q")
        self._consumer[0] = self._producer[0] = position

    def writer(self, *, native: bool = COMPILED) -> UserRingBufferWriter:
        """A writer of this ring."""
        return UserRingBufferWriter(
            self.producer, self.consumer.toreadonly(), self.data, native=native
        )

    def peek(self) -> bytes | None:
        """``__bpf_user_ringbuf_peek`` and ``__bpf_user_ringbuf_sample_release``: the next record.

        Discarded ones are skipped. None when there is none, or the next one is busy.
        """
        while (available := (self._producer[0] - self._consumer[0]) % _WRAP) > 0:
            assert self._producer[0] % 8 == 0
            place = self._consumer[0] % self.size
            (header,) = struct.unpack_from("=I", self.data, place)
            length = header & ~(BUSY | DISCARD)
            step = (length + 8 + 7) // 8 * 8
            assert step <= min(available, self.size)
            if header & DISCARD == 0 and header & BUSY:
                return None
            record = self.data[place + 8 : place + 8 + length].tobytes()
            self._consumer[0] = (self._consumer[0] + step) % _WRAP
            if not header & DISCARD:
                return record
        return None


def _mapped_twice(size: int) -> memoryview:
    """Memory that is there twice in a row, as the kernel maps the data of its rings."""
    import ctypes
    import mmap
    import os

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    whole = mmap.mmap(-1, 2 * size)
    fd = os.memfd_create("ring")
    try:
        os.ftruncate(fd, size)
        view = (ctypes.c_char * (2 * size)).from_buffer(whole)
        address = ctypes.addressof(view)
        del view
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        fixed = mmap.MAP_SHARED | 0x10  # MAP_FIXED
        for half in (0, size):
            got = library.mmap(address + half, size, protection, fixed, fd, 0)
            assert got == address + half
    finally:
        os.close(fd)
    return memoryview(whole)
