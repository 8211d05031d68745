"""The terminal, by rich: for what people read."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console


class PlainConsole(Console):
    """A console that takes text as it is: no markup, no emoji codes, no colours it guesses.

    A reader that goes away is an exception, as it is for everything else that writes; rich's own
    console would end the process.
    """

    def __init__(self) -> None:
        super().__init__(highlight=False, emoji=False, markup=False)

    def on_broken_pipe(self) -> NoReturn:
        """Say so."""
        raise BrokenPipeError
