"""What an event stream needs of the ring beneath it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from bpfstream.rings import Drained

T = TypeVar("T")


class EventSource(Protocol[T]):
    """A ring, or several, with a descriptor that polls readable when there is something to take.

    None of it blocks and none of it knows an event loop.
    """

    def fileno(self) -> int:
        """The descriptor to wait on; level-triggered."""
        ...

    def drain(self, limit: int) -> Drained[T]:
        """Decode up to `limit` events, whose space stays taken until `release`."""
        ...

    def release(self, count: int) -> None:
        """Free the space of the first `count` events of the last drain; the others stay unread."""
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
    def discarded(self) -> int:
        """Records given up by the program."""
        ...

    @property
    def lost(self) -> int | None:
        """Events that the kernel could not write, or None when nobody counts them."""
        ...

    def close(self) -> None:
        """Give the ring back; idempotent."""
        ...
