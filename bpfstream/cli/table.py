"""A table of events that grows while one looks at it, and stays readable on any terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

NARROWEST = 6
"""Columns that text may be cut down to before the table gives way to one block an event."""

MARK = "…"
"""Stands for what was cut off."""

_GAP = "  "


class EventTable:
    """Prints events as rows under a heading; nested structs become dotted columns.

    Columns are as wide as what they have shown so far. Where they don't fit the terminal, the
    widest text is cut; where that isn't enough, each event is a block of ``name=value`` lines.
    A stdout that is no terminal gets whole rows, however long.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._columns: list[Column] = []
        self._rows_until_heading = 0

    def print_event(self, event: Any) -> None:
        """Print one event."""
        cells = list(flatten(event))
        if [name for name, _ in cells] != [column.name for column in self._columns]:
            self._columns = [Column(name, value) for name, value in cells]
            self._rows_until_heading = 0
        for column, (_, value) in zip(self._columns, cells, strict=True):
            if column.widen(value) and column is not self._columns[-1]:
                self._rows_until_heading = 0
        widths = self._widths()
        if widths is None:
            self._print_block(cells)
            return
        if self._rows_until_heading == 0:
            self._rows_until_heading = max(self._console.height - 2, 10)
            heading = (column.fit(column.name, width) for column, width in self._with(widths))
            self._print(Text(_GAP.join(heading).rstrip(), style="bold"))
        self._rows_until_heading -= 1
        row = (
            column.fit(shown(value), width)
            for (column, width), (_, value) in zip(self._with(widths), cells, strict=True)
        )
        self._print(Text(_GAP.join(row).rstrip()))

    def print_loss(self, lost: int) -> None:
        """Print that events were lost, where in the stream that showed."""
        events = "event" if lost == 1 else "events"
        self._print(Text(f"-- lost {lost} {events}: the ring was full --", style="bold red"))

    def _with(self, widths: Sequence[int]) -> Iterator[tuple[Column, int]]:
        return zip(self._columns, widths, strict=True)

    def _widths(self) -> list[int] | None:
        """The width of each column, or None when they can't be shown side by side."""
        widths = [column.width for column in self._columns]
        if not self._console.is_terminal:
            return widths
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - self._console.width
        while excess > 0:
            text = [i for i, column in enumerate(self._columns) if not column.is_number]
            widest = max(text, key=lambda i: widths[i], default=None)
            if widest is None or widths[widest] <= NARROWEST:
                return None
            others = [widths[i] for i in text if widths[i] < widths[widest]]
            cut = min(excess, widths[widest] - max([NARROWEST, *others]))
            cut = max(cut, 1)
            widths[widest] -= cut
            excess -= cut
        return widths

    def _print_block(self, cells: Sequence[tuple[str, Any]]) -> None:
        """Print ``name=value`` pairs, as many a line as fit."""
        line = Text()
        for name, value in cells:
            pair = Text.assemble((name, "bold"), "=", shown(value) or '""')
            pair.truncate(self._console.width - len(_GAP), overflow="ellipsis")
            if line and line.cell_len + len(_GAP) + pair.cell_len > self._console.width:
                self._print(line)
                line = Text(_GAP)
            elif line:
                line.append(_GAP)
            line.append_text(pair)
        self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, crop=False, overflow="ignore", soft_wrap=True)


class Column:
    """A column of the table.

    Args:
        name: Its heading.
        value: A value that it will show: numbers are aligned to the right and never cut.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.is_number = isinstance(value, int | float) and not isinstance(value, bool | Enum)
        self.width = cell_len(name)
        if isinstance(value, Enum):
            self.width = max(self.width, *(cell_len(member.name) for member in type(value)))

    def widen(self, value: Any) -> bool:
        """Make room for a value; whether that changed the width."""
        width = cell_len(shown(value))
        if width <= self.width:
            return False
        self.width = width
        return True

    def fit(self, text: str, width: int) -> str:
        """Text made exactly as wide as asked: filled up, or cut with a mark."""
        if self.is_number:
            return " " * (width - cell_len(text)) + text
        if cell_len(text) > width:
            return set_cell_size(text, width - 1) + MARK
        return set_cell_size(text, width)


def flatten(event: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of an event, with dotted names."""
    if not isinstance(event, msgspec.Struct):
        yield prefix or "bytes", event
        return
    for name in event.__struct_fields__:
        yield from flatten(getattr(event, name), f"{prefix}.{name}" if prefix else name)


def shown(value: Any) -> str:
    """A value as printable text: a process's name must not be able to talk to the terminal."""
    match value:
        case Enum():
            return value.name or str(value.value)
        case bytes():
            return value.hex(" ")
        case tuple() | list():
            return f"[{' '.join(shown(inner) for inner in value)}]"
        case msgspec.Struct():
            return f"({', '.join(f'{name}={shown(inner)}' for name, inner in flatten(value))})"
        case str():
            return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in value)
    return str(value)
