"""What event streams of all event loops have in common: everything but how they wait.

The coroutines here run in any event loop. A stream of one loop adds how to let other tasks run, how
to wait for a descriptor, and which exceptions say that a stream is closed or busy.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from bpfstream._native import COMPILED
from bpfstream.errors import StreamError
from bpfstream.rings import BatchDecoder, Drained
from bpfstream.streams.delivery import delivery
from bpfstream.streams.pacing import Wait
from bpfstream.streams.pump import Pump
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import StreamStatistics
from bpfstream.streams.wakeups import Wakeups

if TYPE_CHECKING:
    import numpy
    import pyarrow

T = TypeVar("T")
B = TypeVar("B")

ColumnFormat = Literal["numpy", "arrow"]
ColumnDecoder = Callable[[ColumnFormat], BatchDecoder[Any]]
"""Makes the decoder of a stream's records into columns of a format."""

DEFAULT_MAX_LATENCY = 0.001
"""Seconds that an event may wait in the ring when there are many."""

_AT_HAND = 1024
"""Events drained at most to be handed over one by one: their space stays taken meanwhile."""


class BaseEventStream(Generic[T]):
    """An event stream that does not know its event loop."""

    def __init__(
        self,
        source: EventSource,
        decoder: BatchDecoder[list[T]],
        *,
        max_latency: float = DEFAULT_MAX_LATENCY,
        columns: ColumnDecoder | None = None,
        native: bool = COMPILED,
    ) -> None:
        self._decoder = decoder
        self._columns = columns
        self._pump = Pump(source, max_latency=max_latency)
        self._wakeups = Wakeups(source.fileno())
        self._at_hand = delivery(self.receive, native=native)
        self._receiving = False
        self._asleep_on = -1

    # What an event loop adds

    @abstractmethod
    async def _checkpoint(self) -> None:
        """Let other tasks run; a point of cancellation."""

    @abstractmethod
    async def _wait_readable(self, fd: int, look: Callable[[], None] | None) -> None:
        """Wait until `fd` is readable; call `look` once the wait has begun. A checkpoint."""

    @abstractmethod
    def _stop_waiting(self, fd: int) -> None:
        """The descriptor is about to be closed: end the wait for it with the error of `closed`."""

    @staticmethod
    @abstractmethod
    def closed(what: str) -> Exception:
        """What is raised by something that is closed."""

    @staticmethod
    @abstractmethod
    def busy(why: str) -> Exception:
        """What is raised by something that serves one task at a time."""

    # Receiving

    async def receive(self) -> T:
        """Take the next event, waiting for it if there is none."""
        self._begin()
        try:
            if self._at_hand.left:
                await self._checkpoint()
                self._check_open()
            else:
                drained = await self._drain(self._decoder, _AT_HAND)
                self._at_hand.fill(drained.batch)
            return self._at_hand.take()
        finally:
            self._receiving = False

    async def receive_batch(self) -> list[T]:
        """Take all events that one look at the ring finds, waiting for one if there is none.

        At least one; at most so many as can be decoded in about a millisecond.
        """
        self._begin()
        try:
            if self._at_hand.left:
                await self._checkpoint()
                self._check_open()
                return self._at_hand.rest()
            drained = await self._drain(self._decoder)
            self._pump.hand_over(drained.count)
            return drained.batch
        finally:
            self._receiving = False

    def batches(self) -> AsyncIterator[list[T]]:
        """Iterate over batches of events: ``async for batch in stream.batches()``."""
        return _Batches(self.receive_batch)

    @overload
    def columns(self) -> AsyncIterator[numpy.ndarray[Any, Any]]: ...
    @overload
    def columns(self, format: Literal["numpy"]) -> AsyncIterator[numpy.ndarray[Any, Any]]: ...
    @overload
    def columns(self, format: Literal["arrow"]) -> AsyncIterator[pyarrow.RecordBatch]: ...
    def columns(self, format: ColumnFormat = "numpy") -> AsyncIterator[Any]:  # noqa: A002
        """Iterate over batches of events as columns, with no Python object an event.

        Each batch has all events that one look at the ring finds, at least one.

        Args:
            format: ``"numpy"`` for structured arrays, whose fields are those of the C struct, or
                ``"arrow"`` for record batches.

        Raises:
            StreamError: The ring carries no struct, or several.
            MissingPackageError: numpy or pyarrow is not installed.
            ValueError: There is no such format.
        """
        if format not in ("numpy", "arrow"):
            raise ValueError(f"columns come as 'numpy' or 'arrow', not as {format!r}")
        if self._columns is None:
            raise StreamError("columns need a stream of one struct: open it with type=")
        decoder = self._columns(format)

        async def receive_columns() -> Any:
            self._begin()
            try:
                drained = await self._drain(decoder)
                self._pump.hand_over(drained.count)
                return drained.batch
            finally:
                self._receiving = False

        return _Batches(receive_columns)

    async def flush(self) -> list[T]:
        """Take all events that are in the ring now, perhaps none, without waiting for any.

        For the end of a program, or of a test: it finds what was sent with ``BPF_RB_NO_WAKEUP``
        too. A record that is reserved and not committed hides those behind it.
        """
        self._begin()
        try:
            await self._checkpoint()
            self._check_open()
            self._settle()  # what is at hand comes first: it is unread again
            drained = self._pump.flush(self._decoder)
            self._pump.hand_over(drained.count)
            return drained.batch
        finally:
            self._receiving = False

    # The stream itself

    @property
    def is_closed(self) -> bool:
        """Whether the stream was closed."""
        return self._pump.is_closed

    def statistics(self) -> StreamStatistics:
        """What was counted so far; of a closed stream, what it had counted when it was closed."""
        return self._pump.statistics(handed_over=self._at_hand.handed_over)

    def close(self) -> None:
        """Close the stream at once; a task that waits for an event gets the error of a closed one.

        What was not handed over is unread: it is there for the next stream on a ring buffer. (A
        perf buffer lives and dies with its stream.) Idempotent.
        """
        if self._pump.is_closed:
            return
        self._settle()
        try:
            self._pump.close()
        finally:
            if self._asleep_on >= 0:
                self._stop_waiting(self._asleep_on)
            self._wakeups.close()

    async def aclose(self) -> None:
        """Close the stream as `close` does; a checkpoint."""
        self.close()
        await self._checkpoint()

    # Inside

    async def _drain(self, decoder: BatchDecoder[B], limit: int | None = None) -> Drained[B]:
        """Wait until a drain finds something. Nothing awaits between that drain and the return."""
        pump = self._pump
        self._settle()
        rested = False
        while True:
            wait = pump.step()
            if wait is not None:
                await self._sleep(wait)
                rested = True
            elif not rested:
                await self._checkpoint()
                rested = True
            else:
                drained = pump.drain(decoder) if limit is None else pump.drain(decoder, limit)
                if drained.count:
                    return drained
                rested = False
            self._check_open()

    async def _sleep(self, wait: Wait) -> None:
        wakeups = self._wakeups
        self._asleep_on = wakeups.arm(wait)
        try:
            look = self._look_once_more if wait.readable else None
            await self._wait_readable(self._asleep_on, look)
        finally:
            self._asleep_on = -1
        self._check_open()
        self._pump.woken(readable=wakeups.readable())

    def _look_once_more(self) -> None:
        if self._pump.source.pending:
            self._wakeups.ring()

    def _settle(self) -> None:
        """Tell the pump what was taken of the events at hand; the others are unread again."""
        at_hand = self._at_hand
        handed_over = at_hand.handed_over
        if handed_over or at_hand.left:
            at_hand.fill([])
            self._pump.hand_over(handed_over)

    def _begin(self) -> None:
        self._check_open()
        if self._receiving:
            raise self.busy("another task is receiving from this event stream")
        self._receiving = True

    def _check_open(self) -> None:
        if self._pump.is_closed:
            raise self.closed("the event stream")


class _Batches(Generic[B]):
    """What a coroutine function gives, one an iteration."""

    def __init__(self, receive: Callable[[], Awaitable[B]]) -> None:
        self._receive = receive

    def __aiter__(self) -> AsyncIterator[B]:
        return self

    async def __anext__(self) -> B:
        return await self._receive()
