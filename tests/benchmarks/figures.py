"""What a benchmark gives: figures, and the table that people read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured number.

    Attributes:
        bench: Which benchmark it is of.
        consumer: Who was measured.
        buffer: "ring" or "perf".
        event_bytes: Size of an event.
        rate: Events that the producer was to send in a second.
        max_latency: Seconds that bpfstream's stream was given.
        operation: Of the map benchmark.
        statistic: Which one, of several that have the same unit.
        value: The number.
        unit: What it counts.
    """

    bench: str
    consumer: str
    buffer: str = ""
    event_bytes: int = 0
    rate: int = 0
    max_latency: float | None = None
    operation: str = ""
    statistic: str = ""
    value: float
    unit: str


def json_line(figure: Figure) -> str:
    """The figure as a JSON object on one line; what does not apply to it is left out."""
    rounded = msgspec.structs.replace(figure, value=_short(figure.value))
    return json.dumps(msgspec.to_builtins(rounded))


def find(figures: Iterable[Figure], **facts: object) -> float | None:
    """The value of the figure with these facts; None if it was not measured."""
    for figure in figures:
        if all(getattr(figure, name) == fact for name, fact in facts.items()):
            return figure.value
    return None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least so many percent of them do not exceed."""
    if not values:
        raise ValueError("no values")
    rank = -(-len(values) * percent // 100)  # rounded up
    return sorted(values)[max(int(rank), 1) - 1]


def tables(figures: Sequence[Figure]) -> str:
    """All figures for people: a table a benchmark, a row a consumer, a column a kind of figure."""
    benches = dict.fromkeys(figure.bench for figure in figures)
    return "\n\n".join(_table(bench, figures) for bench in benches)


def _table(bench: str, figures: Sequence[Figure]) -> str:
    figures = [figure for figure in figures if figure.bench == bench]
    buffers = dict.fromkeys(map(_buffer, figures))
    cells: dict[str, dict[str, str]] = {}
    for figure in figures:
        parts = (
            _buffer(figure) if len(buffers) > 1 else "",
            figure.operation,
            figure.statistic,
            figure.unit,
        )
        row = cells.setdefault(_who(figure), {})
        row[" ".join(filter(None, parts))] = f"{_short(figure.value):,}"
    headings = list(dict.fromkeys(heading for row in cells.values() for heading in row))
    title = bench if len(buffers) > 1 else f"{bench} {next(iter(buffers))}".rstrip()
    rows = [[title, *headings]]
    rows += [[name, *(row.get(each, "-") for each in headings)] for name, row in cells.items()]
    return aligned(rows)


def _buffer(figure: Figure) -> str:
    return f"{figure.buffer} {figure.event_bytes}" if figure.buffer else ""


def _who(figure: Figure) -> str:
    rate = f" at {figure.rate:,}/s" if figure.rate else ""
    latency = "" if figure.max_latency is None else f" max_latency={figure.max_latency:g}"
    return figure.consumer + rate + latency


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _short(value: float) -> float:
    """The value with no more digits than were measured."""
    if value >= 1000 or value == int(value):
        return round(value)
    return round(value, 1 if value >= 10 else 2)
