"""`LinkGroup`: several attachments that live and end together."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from bpfstream.errors import KernelError
from bpfstream.links.link import Link


class LinkGroup:
    """Links in the order in which they were attached; detached in reverse.

    A context manager. Links are added while others are already live, so that whoever attaches
    several programs in a row has those that succeeded undone when one fails:

        with LinkGroup() as links:
            for program in programs:
                links.add(attach(program))
            ...
    """

    def __init__(self) -> None:
        self._links: list[Link] = []

    def add(self, link: Link) -> Link:
        """Take `link` over and return it; it is detached with the group, or earlier on its own."""
        self._links.append(link)
        return link

    def detach(self) -> None:
        """Detach every link, the last first. Idempotent.

        Every link is tried. A single error is raised with what the others said as its notes: an
        `ExceptionGroup` would slip past the ``except KernelError`` that guards a single link.

        Raises:
            KernelError: At least one link could not be detached entirely.
        """
        first: KernelError | None = None
        while self._links:
            try:
                self._links.pop().detach()
            except KernelError as error:
                if first is None:
                    first = error
                else:
                    first.add_note(f"and then: {error}")
        if first is not None:
            raise first

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()
