"""The event stream: a ring's events as a trio receive channel."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, final

import trio

from bpfstream.rings import BatchDecoder
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import StreamStatistics

T = TypeVar("T")

BATCH_SIZE = 1024
"""Events that one drain takes at most: bounds the memory and the time between two checkpoints."""

_SWEEP_INTERVAL = 0.25
"""Seconds after which a sleeping stream looks by itself: BPF_RB_NO_WAKEUP wakes nobody."""

_BUSY_PAUSE = 0.001
"""Seconds to wait for a record that is reserved and not committed.

The kernel calls a ring readable when its positions differ (kernel/bpf/ringbuf.c,
ringbuf_map_poll_kern), whether or not the next record is ready: waiting again would spin.
"""

_SLICE_EVENTS = 64
_SLICE_SECONDS = 0.001


@final
class EventStream(trio.abc.ReceiveChannel[T]):
    """Events of one ring, in order, as a `trio.abc.ReceiveChannel`.

    ``async for event in stream`` and `receive` take single events; `batches` is the primitive
    beneath both. Nothing is lost at a cancellation: an event leaves the ring when it has been
    handed over, and what a closed stream leaves unread is there for the next stream on that ring
    buffer. (A perf buffer lives and dies with its stream.)

    A consumer that is too slow holds up nobody: the ring fills and the kernel drops, which
    `statistics` shows.

    Streams come from `bpfstream.Object.events`.

    Args:
        source: The ring; the stream closes it.
        decoder: Makes events of its records.
        max_latency: Seconds that an event may wait in the ring for others to join it. 0 wakes
            the consumer as soon as there is an event; more costs fewer wakeups.
    """

    def __init__(
        self, source: EventSource, decoder: BatchDecoder[list[T]], *, max_latency: float = 0.0
    ) -> None:
        if max_latency < 0:
            raise ValueError(f"max_latency is in seconds and can't be negative: {max_latency}")
        self._source = source
        self._decoder = decoder
        self._max_latency = max_latency
        self._pending: deque[T] = deque()  # drained and not handed over
        self._unreleased = 0  # handed over, their space in the ring not freed
        self._received = 0
        self._wakeups = 0
        self._receiving = False
        self._final: StreamStatistics | None = None
        self._slice_left = _SLICE_EVENTS
        self._slice_end = 0.0

    async def receive(self) -> T:
        """Take the next event, waiting for it if there is none.

        Raises:
            trio.ClosedResourceError: The stream was closed, before or while waiting.
            trio.BusyResourceError: Another task is receiving.
            DecodeError: The next record is not what its type says; the stream goes on behind it.
            RingCorruptedError: The ring can't be read any further.
        """
        with self._exclusively():
            await trio.lowlevel.checkpoint()
            await self._fill()
            return self._take()

    async def __anext__(self) -> T:
        # A checkpoint costs ten times what an event does. So there is one when a batch is used up
        # and one when a slice of time is, not one an event.
        if self._pending and self._within_slice():
            return self._take()
        event = await self.receive()
        self._slice_left = _SLICE_EVENTS
        self._slice_end = time.monotonic() + _SLICE_SECONDS
        return event

    async def receive_batch(self) -> list[T]:
        """Take all events that one look at the ring finds, at least one and at most 1024.

        Raises:
            The same as `receive`.
        """
        with self._exclusively():
            await trio.lowlevel.checkpoint()
            await self._fill()
            batch = list(self._pending)
            self._pending.clear()
            self._unreleased += len(batch)
            self._received += len(batch)
            return batch

    def batches(self) -> AsyncIterator[list[T]]:
        """Iterate over batches of events: ``async for batch in stream.batches()``."""
        return _Batches(self)

    @property
    def is_closed(self) -> bool:
        """Whether the stream was closed."""
        return self._final is not None

    def statistics(self) -> StreamStatistics:
        """What was counted so far; of a closed stream, what it had counted when it was closed."""
        if self._final is not None:
            return self._final
        source = self._source
        return StreamStatistics(
            received=self._received,
            lost=source.losses,
            discarded=source.discarded,
            backlog=source.backlog,
            capacity=source.capacity,
            wakeups=self._wakeups,
        )

    def close(self) -> None:
        """Close the stream at once; a task that waits for an event gets `ClosedResourceError`."""
        if self._final is not None:
            return
        if self._receiving:
            trio.lowlevel.notify_closing(self._source.fileno())
        try:
            self._pending.clear()
            self._release()
            self._final = self.statistics()
        finally:
            self._source.close()

    async def aclose(self) -> None:
        """Close the stream; idempotent."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _take(self) -> T:
        event = self._pending.popleft()
        self._unreleased += 1
        self._received += 1
        return event

    def _release(self) -> None:
        count, self._unreleased = self._unreleased, 0
        self._source.release(count)

    def _within_slice(self) -> bool:
        self._slice_left -= 1
        if self._slice_left:
            return True
        self._slice_left = _SLICE_EVENTS
        return time.monotonic() < self._slice_end

    async def _fill(self) -> None:
        """Have at least one event at hand. Between a drain and its hand-over nothing awaits."""
        while not self._pending:
            self._check_open()
            self._release()
            drained = self._source.drain(self._decoder, BATCH_SIZE)
            self._pending.extend(drained.batch)
            if self._pending:
                return
            if drained.more:  # only discarded or lost records so far: there is nothing to wait for
                await trio.lowlevel.checkpoint()
            else:
                await self._wait()

    async def _wait(self) -> None:
        self._wakeups += 1
        if self._source.busy:
            await trio.sleep(_BUSY_PAUSE)
            return
        with trio.move_on_after(_SWEEP_INTERVAL) as sweep:
            await trio.lowlevel.wait_readable(self._source.fileno())
        if self._max_latency and not sweep.cancelled_caught:
            await trio.sleep(self._max_latency)

    def _check_open(self) -> None:
        if self._final is not None:
            raise trio.ClosedResourceError("the event stream is closed")

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        self._check_open()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this event stream")
        self._receiving = True
        try:
            yield
        finally:
            self._receiving = False


@final
class _Batches(Generic[T]):
    """The batches of a stream, one an iteration."""

    def __init__(self, stream: EventStream[T]) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[list[T]]:
        return self

    async def __anext__(self) -> list[T]:
        return await self._stream.receive_batch()
