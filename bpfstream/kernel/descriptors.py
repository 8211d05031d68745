"""Ownership of file descriptors."""

from __future__ import annotations

import os
from typing import Self

from bpfstream.errors import closed


class OwnedDescriptor:
    """Something in the kernel that lives as long as its descriptor is open; a context manager."""

    def __init__(self, fd: int, what: str) -> None:
        """Take over `fd`, the descriptor of `what`: ``"map 'events'"``."""
        self._fd = fd
        self._what = what

    @property
    def fd(self) -> int:
        """The file descriptor, which stays this object's own.

        Raises:
            trio.ClosedResourceError: It is closed.
        """
        if self._fd < 0:
            raise closed(self._what)
        return self._fd

    def close(self) -> None:
        """Give up the descriptor; idempotent. What else uses the thing keeps it alive."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd {self._fd}"
        return f"<{type(self).__name__}: {self._what}, {state}>"
