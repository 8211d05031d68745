"""What event streams of all event loops have in common: everything but how they wait.

The coroutines here run in any event loop. A stream of one loop adds how to let other tasks run, how
to wait for a descriptor, and which exceptions say that a stream is closed or busy.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Collection
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import msgspec

from bpfstream._native import COMPILED
from bpfstream.errors import StreamError
from bpfstream.rings import BatchDecoder, Drained
from bpfstream.streams.batches import Batches
from bpfstream.streams.delivery import delivery
from bpfstream.streams.fan_out import FanOut
from bpfstream.streams.pacing import Wait
from bpfstream.streams.pump import Pump
from bpfstream.streams.source import EventSource
from bpfstream.streams.statistics import CpuStatistics, StreamStatistics
from bpfstream.streams.wakeups import Wakeups

if TYPE_CHECKING:
    import numpy
    import pyarrow

    from bpfstream.streams.perf_buffer import PerfBufferSource

T = TypeVar("T")
B = TypeVar("B")

ColumnFormat = Literal["numpy", "arrow"]
ColumnDecoder = Callable[[ColumnFormat, frozenset[str] | None], BatchDecoder[Any]]
"""Makes the decoder of a stream's records into columns of a format, of some fields or all."""

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
        self._looks_twice = source.cleared_by_polling
        self._at_hand = delivery(self.receive, native=native)
        self._fan_out: FanOut[T] | None = None
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
        return Batches(self.receive_batch)

    @overload
    def columns(
        self, format: Literal["numpy"] = "numpy", *, fields: Collection[str] | None = None
    ) -> AsyncIterator[numpy.ndarray[Any, Any]]: ...
    @overload
    def columns(
        self, format: Literal["arrow"], *, fields: Collection[str] | None = None
    ) -> AsyncIterator[pyarrow.RecordBatch]: ...
    def columns(
        self,
        format: ColumnFormat = "numpy",  # noqa: A002
        *,
        fields: Collection[str] | None = None,
    ) -> AsyncIterator[Any]:
        """Iterate over batches of events as columns, with no Python object an event.

        Each batch has all events that one look at the ring finds, at least one.

        Args:
            format: ``"numpy"`` for structured arrays, whose fields are those of the C struct, or
                ``"arrow"`` for record batches.
            fields: Names of the fields that are wanted, all by default. Of each record only the
                bytes from the first of them to the last are copied.

        Raises:
            StreamError: The ring carries no struct, or several.
            SchemaError: The struct has no field of a name that is wanted.
            MissingPackageError: numpy or pyarrow is not installed.
            ValueError: There is no such format.
        """
        if format not in ("numpy", "arrow"):
            raise ValueError(f"columns come as 'numpy' or 'arrow', not as {format!r}")
        if self._columns is None:
            raise StreamError("columns need a stream of one struct: open it with type=")
        decoder = self._columns(format, None if fields is None else frozenset(fields))

        async def receive_columns() -> Any:
            self._begin()
            try:
                drained = await self._drain(decoder)
                self._pump.hand_over(drained.count)
                return drained.batch
            finally:
                self._receiving = False

        return Batches(receive_columns)

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

    def look(self) -> tuple[list[T], bool]:
        """Take what one look at the ring finds, without waiting: at most a batch.

        Returns:
            The events, perhaps none, and whether that is all that had been sent: nothing is left,
            and no record is reserved and not committed.
        """
        self._check_free()
        return self._look_now()

    # The stream itself

    @property
    def is_closed(self) -> bool:
        """Whether the stream was closed."""
        return self._pump.is_closed

    def statistics(self) -> StreamStatistics:
        """What was counted so far; of a closed stream, what it had counted when it was closed."""
        statistics = self._pump.statistics(handed_over=self._at_hand.handed_over)
        if self._fan_out is None:
            return statistics
        lost = msgspec.structs.replace(statistics.lost, subscriber=self._fan_out.dropped)
        return msgspec.structs.replace(statistics, lost=lost)

    def cpu_statistics(self) -> tuple[CpuStatistics, ...]:
        """What each CPU sent, of a perf buffer's stream; in the order of their numbers.

        Raises:
            StreamError: The stream is not a perf buffer's.
        """
        return self._perf_buffer().cpus

    def pause(self) -> None:
        """Let the kernel refuse what programs send, until `resume`; idempotent.

        Only a perf buffer's stream can do that. Its entries are deleted from the array, so that
        ``bpf_perf_event_output`` fails with ENOENT: such events are not counted as lost. Events
        sent before can still be received.

        Raises:
            StreamError: The stream is not a perf buffer's.
        """
        self._perf_buffer().pause()

    def resume(self) -> None:
        """Take what programs send again; idempotent.

        Raises:
            StreamError: The stream is not a perf buffer's.
        """
        self._perf_buffer().resume()

    def close(self) -> None:
        """Close the stream at once; a task that waits for an event gets the error of a closed one.

        What was not handed over is unread: it is there for the next stream on a ring buffer. (A
        perf buffer lives and dies with its stream.) Idempotent.
        """
        if self._pump.is_closed:
            return
        if self._fan_out is not None:
            self._fan_out.close()
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

    def _shared(self) -> FanOut[T]:
        """What distributes the stream to subscribers, who are its only readers from now on."""
        self._check_open()
        if self._fan_out is None:
            self._fan_out = FanOut(
                self._receive_for_all, self._look_now, lambda: self._pump.source.losses
            )
        if not self._fan_out:
            self._check_free()
            self._settle()  # they get what is at hand
        return self._fan_out

    async def _receive_for_all(self) -> list[T]:
        self._receiving = True
        try:
            drained = await self._drain(self._decoder)
            self._pump.hand_over(drained.count)
            return drained.batch
        finally:
            self._receiving = False

    def _look_now(self) -> tuple[list[T], bool]:
        self._settle()
        pump = self._pump
        drained = pump.drain(self._decoder)
        pump.hand_over(drained.count)
        # Whoever sleeps on the ring needs its wakeups: nothing may be held back.
        if self._asleep_on >= 0 and pump.source.publish():
            self._wakeups.ring()
        return drained.batch, not drained.more and not pump.source.busy

    async def _drain(self, decoder: BatchDecoder[B], limit: int | None = None) -> Drained[B]:
        """Wait until a drain finds something. Nothing awaits between that drain and the return."""
        pump = self._pump
        self._settle()
        while True:
            wait = pump.step()
            if wait is not None:
                await self._sleep(wait)
            else:
                await self._checkpoint()
                self._check_open()
            drained = pump.drain(decoder) if limit is None else pump.drain(decoder, limit)
            if drained.count:
                return drained

    async def _sleep(self, wait: Wait) -> None:
        wakeups = self._wakeups
        self._asleep_on = wakeups.arm(wait)
        try:
            look = self._look_once_more if wait.readable and self._looks_twice else None
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

    def _perf_buffer(self) -> PerfBufferSource:
        from bpfstream.streams.perf_buffer import PerfBufferSource

        self._check_open()
        source = self._pump.source
        if not isinstance(source, PerfBufferSource):
            raise StreamError("only the stream of a perf buffer can do that")
        return source

    def _begin(self) -> None:
        self._check_free()
        self._receiving = True

    def _check_free(self) -> None:
        self._check_open()
        if self._fan_out:
            raise self.busy("this event stream is read by its subscriptions")
        if self._receiving:
            raise self.busy("another task is receiving from this event stream")

    def _check_open(self) -> None:
        if self._pump.is_closed:
            raise self.closed("the event stream")
