"""The drain of a ring: records are found, decoded and kept, until their space is released."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from bpfstream.errors import DecodeError
from bpfstream.rings.decoding import BatchDecoder
from bpfstream.rings.runs import Ring

B = TypeVar("B")


class Drained(msgspec.Struct, Generic[B], frozen=True, gc=False):
    """What one drain of a ring gave.

    Attributes:
        batch: The decoded records, in the order of the ring.
        count: How many records are in the batch.
        more: Draining again at once finds something: the limit was reached, or a record that is
            bad follows.
    """

    batch: B
    count: int
    more: bool


def drain(ring: Ring, decoder: BatchDecoder[B], limit: int) -> Drained[B]:
    """Decode up to `limit` records of a ring, and free those of the drain before.

    The drain ends at the first of: what the producer had written at the call; a record that is
    still busy; `limit` records, discarded ones included; a bad record, when something came before
    it. The records' space stays theirs until `Ring.release` or the next drain: the kernel writes
    nothing over what was not handed over. If the decoder raises anything but `DecodeError`, the
    exception passes through and the records stay unread.

    Args:
        ring: The ring.
        decoder: What makes a batch of the records.
        limit: The most records to take, at least 1.

    Raises:
        DecodeError: The *first* record can't be decoded. The ring then stands behind it.
        RingCorruptedError: The *first* header is none that a kernel writes. The ring stays there:
            every further drain says so again.
    """
    taken = ring.take(limit)
    if not taken.count:
        ring.release()
        return Drained(decoder.join(()), 0, taken.more)
    try:
        batch, count = decoder.decode(taken.parts)
    except DecodeError as error:
        position = ring.position_of(0)
        ring.keep(1)
        ring.release()
        raise DecodeError(
            error.reason, type_name=error.type_name, record=error.record, position=position
        ) from error.__cause__
    except BaseException:
        ring.keep(0)
        raise
    if count < taken.count:
        ring.keep(count)
        return Drained(batch, count, more=True)
    return Drained(batch, count, taken.more)
