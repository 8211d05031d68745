"""What one drain of a ring gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from bpfstream.errors import DecodeError

T = TypeVar("T")

Decode = Callable[[memoryview, int, int], T]
"""``decode(buffer, offset, length)``: a record's value, from ``buffer[offset : offset + length]``.

What it returns must not refer to the buffer: the record's space goes back to the kernel. A record
that can't be decoded is a `DecodeError`.
"""


class Drained(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """What one drain of a ring gave.

    Attributes:
        records: The decoded records, in ring order.
        more: Draining again at once finds something: the limit was reached, or a record that is
            bad follows.
    """

    records: list[T]
    more: bool


def copy_record(buffer: memoryview, offset: int, length: int) -> bytes:
    """The `Decode` of a ring whose records have no known type: the bytes themselves."""
    return buffer[offset : offset + length].tobytes()


def at_position(error: DecodeError, position: int) -> DecodeError:
    """The same error, with the ring position that the decoder could not know."""
    return DecodeError(
        error.reason, type_name=error.type_name, record=error.record, position=position
    )
