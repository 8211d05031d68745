"""What makes lists of events: a compiled plan, or Python for whole runs, or record by record."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, Generic, TypeVar

from bpfstream._native import COMPILED, hot
from bpfstream.errors import DecodeError
from bpfstream.records.decoder import DecodeRun, functions
from bpfstream.records.plan import describe
from bpfstream.records.shapes import ByteOrder, Shape
from bpfstream.rings import Decode, Part, Run

T = TypeVar("T")


class RecordDecoder(Generic[T]):
    """A `BatchDecoder` of lists.

    Whatever the fast ways can't do, among it every record that is bad, is left to `one`: it alone
    knows what a record is worth, and what is wrong with it.

    Args:
        one: Decodes one record.
        run: Decodes many records of one size in Python, if that can be done.
        size: Bytes that each of these has at least.
        plan: Decodes runs in the compiled twin, if that can be done.

    Attributes:
        one: As given.
    """

    def __init__(
        self,
        one: Decode[T],
        *,
        run: DecodeRun | None = None,
        size: int = 0,
        plan: hot.Plan | None = None,
    ) -> None:
        self.one = one
        self._run = run
        self._size = max(size, 1)
        self._plan = plan

    def decode(self, parts: Sequence[Part]) -> tuple[list[T], int]:
        """The values of the records, and how many there are.

        Raises:
            DecodeError: The first record can't be decoded.
        """
        records: list[T] = []
        try:
            for buffer, runs in parts:
                if self._plan is not None:
                    self._by_plan(self._plan, buffer, runs, records)
                else:
                    self._in_python(buffer, runs, records)
        except DecodeError:
            if not records:
                raise
        return records, len(records)

    def join(self, batches: Sequence[list[T]]) -> list[T]:
        """One list of several."""
        return batches[0] if len(batches) == 1 else list(chain.from_iterable(batches))

    def _by_plan(
        self, plan: hot.Plan, buffer: memoryview, runs: list[Run], records: list[T]
    ) -> None:
        stopped = plan.decode(buffer, runs, records, 0, 0)
        while stopped is not None:
            number, index = stopped
            offset, length, stride, _ = runs[number]
            records.append(self.one(buffer, offset + index * stride, length))
            stopped = plan.decode(buffer, runs, records, number, index + 1)

    def _in_python(self, buffer: memoryview, runs: list[Run], records: list[T]) -> None:
        run = self._run
        for offset, length, stride, count in runs:
            done = 0
            if run is not None and count > 1 and length >= self._size and stride >= length:
                # What is behind the last record may lie outside of the buffer.
                whole = count if offset + count * stride <= len(buffer) else count - 1
                try:
                    records += run(buffer, offset, stride, whole)
                    done = whole
                except (DecodeError, TypeError, ValueError):
                    pass  # one of them is refused: which, and why, comes out one by one
            places = range(offset + done * stride, offset + count * stride, stride)
            # extend() keeps what came before an exception
            records.extend(map(self.one, repeat(buffer), places, repeat(length)))


def record_decoder(
    shape: Shape, byteorder: ByteOrder, *, native: bool = COMPILED
) -> RecordDecoder[Any]:
    """The decoder of records of one shape.

    Args:
        shape: The shape.
        byteorder: Of its numbers.
        native: Whether the compiled twin does what it can.

    Raises:
        SchemaError: The shape has more values than an event may have.
    """
    made = functions(shape, byteorder)
    layout = describe(shape) if native else None
    plan = hot.Plan((layout,), byteorder == "big", None, ()) if layout is not None else None
    return RecordDecoder(made.one, run=made.run, size=shape.size, plan=plan)
