"""What makes a batch of the records that were found in a ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Generic, Protocol, TypeAlias, TypeVar

from bpfstream.errors import DecodeError
from bpfstream.rings.runs import Part

T = TypeVar("T")
B = TypeVar("B")

Decode: TypeAlias = Callable[[memoryview, int, int], T]
"""``decode(buffer, offset, length)``: a record's value, from ``buffer[offset : offset + length]``.

What it returns must not refer to the buffer: the record's space goes back to the kernel. A record
that can't be decoded is a `DecodeError`.
"""


class BatchDecoder(Protocol[B]):
    """Makes batches of records: lists of events, arrays of columns."""

    def decode(self, parts: Sequence[Part]) -> tuple[B, int]:
        """A batch, and how many records are in it: those before the first that is bad.

        The batch must not refer to the buffers.

        Raises:
            DecodeError: The *first* record is bad.
        """
        ...

    def join(self, batches: Sequence[B]) -> B:
        """One batch of several, in their order; of none, an empty one."""
        ...


class EachRecord(Generic[T]):
    """Lists of what a function makes of each record.

    Args:
        decode: The function.
    """

    def __init__(self, decode: Decode[T]) -> None:
        self._decode = decode

    def decode(self, parts: Sequence[Part]) -> tuple[list[T], int]:
        """The values of the records, and how many there are."""
        decode = self._decode
        records: list[T] = []
        try:
            for buffer, runs in parts:
                for offset, length, stride, count in runs:
                    offsets = range(offset, offset + count * stride, stride)
                    # extend() keeps what came before an exception
                    records.extend(map(decode, repeat(buffer), offsets, repeat(length)))
        except DecodeError:
            if not records:
                raise
        return records, len(records)

    def join(self, batches: Sequence[list[T]]) -> list[T]:
        """One list of several."""
        return batches[0] if len(batches) == 1 else list(chain.from_iterable(batches))


def copy_record(buffer: memoryview, offset: int, length: int) -> bytes:
    """The `Decode` of a ring whose records have no known type: the bytes themselves."""
    return buffer[offset : offset + length].tobytes()
