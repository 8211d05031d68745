"""The way to programs: a user ring buffer as a trio send channel."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import TypeVar, final

import trio

from bpfstream.errors import StreamError, closed
from bpfstream.kernel.eventpoll import EventPoll
from bpfstream.kernel.memory import UserRingBufferMapping
from bpfstream.rings import Reservation, UserRingBufferWriter
from bpfstream.streams.pacing import SWEEP_INTERVAL

T_contra = TypeVar("T_contra", contravariant=True)


@final
class UserRing(trio.abc.SendChannel[T_contra]):
    """Sends to programs through a ``BPF_MAP_TYPE_USER_RINGBUF`` (Linux 6.1).

    A program takes what was sent when it calls ``bpf_user_ringbuf_drain``; nothing makes it run.
    Several tasks may send: their records are in the ring in the order in which they asked. The
    ring must have no other writer, in this process or another.

    `send` and `reserve` wait while the ring is full. A call that is cancelled has sent nothing.
    They raise

    * `trio.ClosedResourceError`: the ring was closed, before or while waiting;
    * `StreamError`: the record is larger than the ring takes;
    * `SchemaError`: the value does not fit the type of the ring.

    User rings come from `bpfstream.Object.user_ring`.

    Args:
        map_fd: The map; the ring takes a duplicate, so the map may be closed first.
        size: The map's ``max_entries``, in bytes.
        encode: Makes the bytes of a record.

    Raises:
        OSError: The ring can't be mapped, or there are no descriptors left.
    """

    def __init__(self, map_fd: int, size: int, encode: Callable[[T_contra], bytes]) -> None:
        self._encode = encode
        self._turn = trio.StrictFIFOLock()
        self._reserved: set[Reservation] = set()
        self._sent = 0
        self._is_closed = False
        with ExitStack() as undo:
            self._fd = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
            undo.callback(os.close, self._fd)
            # The descriptor polls writable while 8 bytes are free (kernel/bpf/ringbuf.c,
            # ringbuf_map_poll_user), which need not be enough. So it is watched for its wakeups,
            # one at the end of each drain, and not for its state.
            self._poll = EventPoll()
            undo.callback(self._poll.close)
            self._poll.register(self._fd, select.EPOLLOUT | select.EPOLLET)
            memory = UserRingBufferMapping(self._fd, size)
            undo.callback(memory.close)
            self._writer = UserRingBufferWriter(memory.producer, memory.consumer, memory.data)
            undo.callback(self._writer.close)
            self._undo = undo.pop_all()

    async def send(self, value: T_contra) -> None:
        """Send one record, waiting until there is room."""
        self._check_open()
        record = self._encode(value)
        async with self._turn:  # a checkpoint
            reservation = await self._room(len(record))
            # From here on nothing awaits.
            reservation.buffer[:] = record
            reservation.submit()
            self._sent += 1

    def try_send(self, value: T_contra) -> bool:
        """Send one record if there is room; False if there is none or others are waiting for it."""
        self._check_open()
        record = self._encode(value)
        if self._turn.locked():
            return False
        reservation = self._reserve(len(record))
        if reservation is None:
            return False
        reservation.buffer[:] = record
        reservation.submit()
        self._sent += 1
        return True

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[memoryview]:
        """Room for a record of `size` bytes, to be written in place.

            async with ring.reserve(64) as buffer:
                buffer[:] = ...

        The record is sent at the end of the block, and given up if the block raises: programs skip
        it then. They don't see what is sent after it before that end. The bytes hold what was
        there before; the buffer can't be used after the block.

        Args:
            size: Bytes of the record.
        """
        self._check_open()
        async with self._turn:
            reservation = await self._room(size)
            self._reserved.add(reservation)
        try:
            yield reservation.buffer
        except BaseException:
            if reservation in self._reserved:
                self._reserved.remove(reservation)
                reservation.discard()
            raise
        self._check_open()
        self._reserved.remove(reservation)
        reservation.submit()
        self._sent += 1

    @property
    def sent(self) -> int:
        """Records sent so far."""
        return self._sent

    @property
    def backlog(self) -> int:
        """Bytes that no program has taken yet, those reserved included."""
        self._check_open()
        return self._writer.backlog

    @property
    def capacity(self) -> int:
        """Bytes that the ring holds; each record takes 8 more, and is padded to a multiple of 8."""
        self._check_open()
        return self._writer.capacity

    @property
    def is_closed(self) -> bool:
        """Whether the ring was closed."""
        return self._is_closed

    def close(self) -> None:
        """Close the ring at once; what is reserved is given up. Idempotent.

        Who waits for room gets `trio.ClosedResourceError`. What was sent stays in the map.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with self._undo:
            trio.lowlevel.notify_closing(self._poll.fileno())
            while self._reserved:
                self._reserved.pop().discard()

    async def aclose(self) -> None:
        """Close the ring as `close` does; a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _reserve(self, size: int) -> Reservation | None:
        try:
            return self._writer.reserve(size)
        except ValueError as error:
            raise StreamError(str(error)) from None

    async def _room(self, size: int) -> Reservation:
        """Wait for room, and take it."""
        while True:
            self._check_open()
            reservation = self._reserve(size)
            if reservation is not None:
                return reservation
            self._poll.ready()  # forget the wakeups so far: the next one ends the wait
            if self._writer.fits(size):
                continue
            # A drain with BPF_RB_NO_WAKEUP is found by looking now and then.
            with trio.move_on_after(SWEEP_INTERVAL):
                await trio.lowlevel.wait_readable(self._poll.fileno())

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed("the user ring")
