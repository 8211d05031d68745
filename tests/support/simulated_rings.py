"""Rings in ordinary memory, with a producer that writes them as the kernel does."""

from __future__ import annotations

import struct

from bpfstream._native import COMPILED
from bpfstream.rings import PerfBufferReader, RingBufferReader

PAGE = 4096
BUSY, DISCARD = 1 << 31, 1 << 30
SAMPLE, LOST = 9, 2
_WRAP = 1 << 64


class SimulatedRingBuffer:
    """The memory of a BPF ring buffer: two position pages and the data, which appears twice.

    The kernel maps the data twice in a row; here what is written is written to both halves.

    Attributes:
        consumer: The consumer page.
        producer: The producer page.
        data: The data area, twice its size.
    """

    def __init__(self, size: int = PAGE, *, position: int = 0) -> None:
        self.size = size
        self.consumer = memoryview(bytearray(PAGE))
        self.producer = memoryview(bytearray(PAGE))
        self.data = memoryview(bytearray(2 * size))
        self.consumer_position = position
        self.producer_position = position

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

    def reader(self, *, native: bool = COMPILED) -> RingBufferReader:
        """A reader of this ring."""
        return RingBufferReader(self.consumer, self.producer, self.data, native=native)

    def reserve(self, length: int) -> int | None:
        """Space for a record, busy until it is committed; None when the ring is full."""
        step = (length + 8 + 7) & ~7
        used = (self.producer_position - self.consumer_position) % _WRAP
        if used + step > self.size:
            return None
        place = self.producer_position % self.size
        self.write(place, struct.pack("=II", length | BUSY, place >> 12))
        self.producer_position += step
        return place

    def commit(self, place: int, payload: bytes = b"", *, discard: bool = False) -> None:
        """Give a reserved record its payload and let the reader have it."""
        self.write(place + 8, payload)
        (header,) = struct.unpack_from("=I", self.data, place)
        self.write(place, struct.pack("=I", header & ~BUSY | (DISCARD if discard else 0)))

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
