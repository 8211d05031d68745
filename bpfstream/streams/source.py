"""What an event stream needs of the ring beneath it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from bpfstream.rings import BatchDecoder, Drained
from bpfstream.streams.statistics import Losses

B = TypeVar("B")


class EventSource(Protocol):
    """A ring, or several, with a descriptor that polls readable when there is something to take.

    None of it blocks and none of it knows an event loop.
    """

    def fileno(self) -> int:
        """The descriptor to wait on; level-triggered."""
        ...

    def drain(self, decoder: BatchDecoder[B], limit: int) -> Drained[B]:
        """Decode up to `limit` records, whose space stays taken until `release`."""
        ...

    def release(self, count: int, *, hold_back: bool = False) -> None:
        """Free the space of the first `count` records of the last drain; the others stay unread.

        Args:
            count: How many.
            hold_back: All but the last record, so that the kernel wakes nobody for what follows;
                `publish` frees it.
        """
        ...

    def publish(self) -> bool:
        """Free what was held back; whether there is something to take, looked at after that."""
        ...

    def sweep(self) -> None:
        """Look after what changes seldom, such as the CPUs; called a few times a second."""
        ...

    @property
    def cleared_by_polling(self) -> bool:
        """Whether polling the descriptor clears its readiness.

        Event loops poll as they begin to wait, so whoever waits has to look at the ring once more
        after that.
        """
        ...

    @property
    def pending(self) -> bool:
        """Whether a drain would make progress."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the next record is reserved and not committed: then polling returns at once."""
        ...

    @property
    def backlog(self) -> int:
        """Bytes taken and not freed."""
        ...

    @property
    def capacity(self) -> int:
        """Bytes there are."""
        ...

    @property
    def fullness(self) -> float:
        """The part of the fullest ring that is taken, from 0 to 1."""
        ...

    @property
    def discarded(self) -> int:
        """Records given up by the program."""
        ...

    @property
    def losses(self) -> Losses:
        """Records that found no room."""
        ...

    def close(self) -> None:
        """Give the ring back; idempotent."""
        ...
