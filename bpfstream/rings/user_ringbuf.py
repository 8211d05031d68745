"""The producer of a user ring buffer (Linux 6.1), over memory that the caller mapped. No I/O.

In a ``BPF_MAP_TYPE_USER_RINGBUF`` user space writes and a program reads, with
``bpf_user_ringbuf_drain``. The memory looks like that of a BPF ring buffer (kernel/bpf/ringbuf.c):
a page with the consumer position, here the kernel's and read-only; a page with the producer
position; the data, mapped twice in a row.

The writer pairs with these accesses of kernel/bpf/ringbuf.c:

* ``__bpf_user_ringbuf_peek`` does ``smp_load_acquire(&rb->producer_pos)``: a record's header,
  marked as busy, is written before the producer position.
* It does ``smp_load_acquire(hdr)`` after that: the payload is written before the header loses its
  busy mark.
* ``__bpf_user_ringbuf_sample_release`` does ``smp_store_release(&rb->consumer_pos)``: space is
  written to after the consumer position was loaded.
"""

from __future__ import annotations

from contextlib import suppress

from bpfstream._native import COMPILED
from bpfstream.abi.ringbuf import (
    POSITION_MASK,
    RECORD_ALIGNMENT,
    RECORD_HEADER_SIZE,
    USER_RECORD_LARGEST,
    RecordFlags,
)
from bpfstream.errors import RingCorruptedError
from bpfstream.rings.ordering import Barrier, ordering_for

_BUSY = int(RecordFlags.BUSY)
_DISCARD = int(RecordFlags.DISCARD)


class UserRingBufferWriter:
    """Writes records into one user ring buffer. It must be the ring's only writer.

    Several reservations may be open at a time and end in any order; programs see them in the order
    in which they were reserved, and none behind one that is still open.

    Args:
        producer_page: The producer page, writable: its first 8 bytes are the producer position.
        consumer_page: The consumer page: its first 8 bytes are the consumer position.
        data: The data area, writable, mapped twice: 2 x `capacity` bytes.
        barrier: What orders memory accesses; by default what this machine needs.
        native: Use the compiled module.

    Raises:
        ValueError: The data area is not twice a power of two (of at least 16 bytes).
    """

    def __init__(
        self,
        producer_page: memoryview,
        consumer_page: memoryview,
        data: memoryview,
        *,
        barrier: Barrier | None = None,
        native: bool = COMPILED,
    ) -> None:
        capacity = data.nbytes // 2
        if capacity < 16 or capacity & (capacity - 1) or data.nbytes != 2 * capacity:
            raise ValueError(f"data area of {data.nbytes} bytes is not twice a power of two")
        self._producer = producer_page.cast("B")[:8].cast("Q")
        self._consumer = consumer_page.cast("B")[:8].cast("Q")
        self._data = data.cast("B")
        self._headers = self._data.cast("I")
        self._mask = capacity - 1
        self._ordering = ordering_for(native, barrier)
        self._closed = False

    @property
    def capacity(self) -> int:
        """Bytes that the ring holds, headers included."""
        return self._mask + 1

    @property
    def largest(self) -> int:
        """Bytes of the largest record that can ever be reserved.

        Besides the ring's size that is what a dynptr can have: the kernel would refuse to go on at
        a larger one (``bpf_dynptr_check_size``).
        """
        return min(self.capacity - RECORD_HEADER_SIZE, USER_RECORD_LARGEST)

    @property
    def backlog(self) -> int:
        """Bytes that no program has read yet, reserved ones included."""
        return (self._producer[0] - self._consumer[0]) & POSITION_MASK

    def fits(self, size: int) -> bool:
        """Whether `reserve` would find room for so many bytes now.

        The map's descriptor polls writable as soon as any 8 bytes are free
        (``ringbuf_map_poll_user``): who waits for more room has to look here, and to back off.
        """
        return self.backlog + _step(size) <= self.capacity

    def reserve(self, size: int) -> Reservation | None:
        """Room for one record, to be written to, then submitted or discarded.

        Args:
            size: The record's length in bytes.

        Returns:
            The reservation, or None when the ring is too full for it now.

        Raises:
            ValueError: The record is larger than `largest`, and will never fit.
            RingCorruptedError: The consumer position is none that a kernel writes.
        """
        if not 0 <= size <= self.largest:
            raise ValueError(f"a record of {size} bytes in a ring that takes up to {self.largest}")
        consumer = self._ordering.load(self._consumer)  # before the space is written to
        position: int = self._producer[0]
        backlog = (position - consumer) & POSITION_MASK
        if backlog > self.capacity:
            raise RingCorruptedError(
                f"the producer is {backlog} bytes ahead in a ring of {self.capacity}",
                position=consumer,
            )
        step = _step(size)
        if backlog + step > self.capacity:
            return None
        offset = position & self._mask
        self._headers[offset >> 2] = size | _BUSY
        self._headers[(offset >> 2) + 1] = 0  # the page offset, of no use to the kernel here
        self._ordering.store(self._producer, (position + step) & POSITION_MASK)
        begin = offset + RECORD_HEADER_SIZE
        return Reservation(self, offset >> 2, self._data[begin : begin + size])

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped; idempotent.

        What is reserved and not submitted stays busy, and no program reads anything behind it. Its
        buffers keep the memory until they are released.
        """
        if self._closed:
            return
        self._closed = True
        for view in (self._headers, self._data, self._consumer, self._producer):
            view.release()

    def _commit(self, index: int, header: int) -> None:
        """Clear the busy mark of the header at `index`."""
        if self._closed:
            raise ValueError("the ring is closed")
        self._ordering.barrier()  # payload before header
        self._headers[index] = header


class Reservation:
    """Room for one record in a user ring buffer.

    Attributes:
        buffer: The record's bytes, writable. They hold whatever was there before. Released when the
            record is submitted or discarded.
    """

    __slots__ = ("_index", "_writer", "buffer")

    def __init__(self, writer: UserRingBufferWriter, index: int, buffer: memoryview) -> None:
        self._writer: UserRingBufferWriter | None = writer
        self._index = index
        self.buffer = buffer

    def submit(self) -> None:
        """Let programs have the record.

        Raises:
            ValueError: It was submitted or discarded before, or the writer is closed.
        """
        self._finish(0)

    def discard(self) -> None:
        """Give the record up: programs skip it.

        Raises:
            ValueError: It was submitted or discarded before, or the writer is closed.
        """
        self._finish(_DISCARD)

    def _finish(self, flags: int) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            raise ValueError("the reservation has ended")
        header = self.buffer.nbytes | flags
        with suppress(BufferError):  # somebody made a view of it, and may still write
            self.buffer.release()
        writer._commit(self._index, header)


def _step(size: int) -> int:
    """Bytes that a record takes in the ring."""
    return (size + RECORD_HEADER_SIZE + RECORD_ALIGNMENT - 1) & -RECORD_ALIGNMENT
