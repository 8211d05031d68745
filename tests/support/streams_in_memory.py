"""Streams without a ring: what fan-out and merge take for an event stream."""

from __future__ import annotations

from collections import deque

import trio

from bpfstream.errors import DecodeError
from bpfstream.streams.fan_out import FanOut
from bpfstream.streams.statistics import Losses


class MemoryStream:
    """Gives batches of what a test puts into it, as `EventStream` does.

    Attributes:
        content: What was put in and not taken: events, and errors that take the place of one.
        losses: What the kernel has lost.
        blocked: Whether something is on its way that nothing shows yet: a busy record.
        receiving: Tasks that wait for a batch now.
        batches: Batches that were taken.
    """

    batch_size = 1024

    def __init__(self) -> None:
        self.content: deque[int | Exception] = deque()
        self.losses = Losses()
        self.blocked = False
        self.receiving = 0
        self.batches = 0
        self.is_closed = False
        self._changed = trio.lowlevel.ParkingLot()

    def put(self, *events: object) -> None:
        self.content.extend(events)
        self._changed.unpark_all()

    async def receive_batch(self):
        if self.receiving:
            raise trio.BusyResourceError
        self.receiving += 1
        try:
            await trio.lowlevel.checkpoint()
            while not self.content and not self.is_closed:
                await self._changed.park()
            return self._take()
        finally:
            self.receiving -= 1

    def look(self):
        batch = self._take() if self.content or self.is_closed else []
        return batch, not self.content and not self.blocked

    def close(self) -> None:
        self.is_closed = True
        self._changed.unpark_all()

    def _take(self):
        if self.is_closed:
            raise trio.ClosedResourceError
        if isinstance(self.content[0], Exception):
            raise self.content.popleft()
        batch = []
        while self.content and len(batch) < self.batch_size:
            if isinstance(self.content[0], Exception):
                break
            batch.append(self.content.popleft())
        self.batches += 1
        return batch


def bad_record() -> DecodeError:
    return DecodeError("too short", type_name="event", record=b"")


def fan_out_of(stream: MemoryStream) -> FanOut[object]:
    return FanOut(stream.receive_batch, stream.look, lambda: stream.losses)
