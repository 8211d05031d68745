"""Where records lie: what a look at a ring's headers finds, before anything is decoded."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

Run: TypeAlias = tuple[int, int, int, int]
"""Records of one size, one right behind the other in a buffer: the offset of the first one's
payload, the length of each payload, the stride from payload to payload, how many there are."""

Part: TypeAlias = tuple[memoryview, list[Run]]
"""A buffer, and the runs of records in it, in the order of the ring."""


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What a look at a ring found. The records are still in the ring, and their space is theirs.

    Attributes:
        parts: Where the records are. Discarded and lost ones are left out.
        count: How many records the parts have.
        more: Looking again at once finds something: the limit was reached, or a header that is bad
            follows.
    """

    parts: list[Part]
    count: int
    more: bool


class Ring(Protocol):
    """The reader of one ring in memory; it must be the ring's only reader."""

    def take(self, limit: int) -> Taken:
        """Find up to `limit` records, and free those of the take before.

        Raises:
            RingCorruptedError: The *first* header is none that a kernel writes. The ring stays
                there: every further look says so again.
        """
        ...

    def keep(self, count: int) -> None:
        """Of the records taken, keep the first `count`: the others are unread again."""
        ...

    def release(self, *, hold_back: bool = False) -> None:
        """Hand the space of what was taken back to the kernel; idempotent.

        Args:
            hold_back: All but that of the last record, where a ring gains from it.
        """
        ...

    def position_of(self, index: int) -> int:
        """The ring position of a record that was taken."""
        ...


def payload_offset(parts: list[Part], index: int) -> tuple[memoryview, int]:
    """The buffer and the offset in it of a record's payload.

    Raises:
        IndexError: There are not as many records.
    """
    for buffer, runs in parts:
        for offset, _, stride, count in runs:
            if index < count:
                return buffer, offset + index * stride
            index -= count
    raise IndexError("no such record was taken")


def append_record(runs: list[Run], offset: int, length: int, stride: int) -> None:
    """Let the last run have this record too, where it is the next one of the same size."""
    if runs:
        first, run_length, run_stride, count = runs[-1]
        if (length, stride) == (run_length, run_stride) and offset == first + stride * count:
            runs[-1] = (first, length, stride, count + 1)
            return
    runs.append((offset, length, stride, 1))
