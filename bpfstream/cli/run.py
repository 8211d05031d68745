"""``bpfstream run``: attach every program of an object and print the events that come."""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
import trio

import bpfstream
from bpfstream.abi.maps import MapType
from bpfstream.cli.assignments import lookup, resize_maps, set_variables
from bpfstream.cli.command import stop_writing
from bpfstream.cli.event_types import EventType, event_type
from bpfstream.cli.output import LineWriter, json_line
from bpfstream.live import Object
from bpfstream.spec import ObjectSpec
from bpfstream.streams import EventStream, StreamStatistics


@click.command("run")
@click.argument("path", metavar="OBJECT", type=click.Path(path_type=Path))
@click.option("--events", "ring", metavar="MAP", help="The ring to read; needed if there are many.")
@click.option(
    "--type",
    "type_name",
    metavar="STRUCT",
    help="What the ring carries: a struct of the object, or a Struct class as MODULE:CLASS or "
    "FILE.py:CLASS.",
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="NAME",
    help="Load and attach this program only; may be given several times.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End this long after attaching.",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="VAR=VALUE", help="Set a global variable."
)
@click.option(
    "--resize",
    "sizes",
    multiple=True,
    metavar="MAP=N",
    help="Set a map's number of entries, or a ring's bytes: 4096, 256K, 1M.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def subcommand(
    path: Path,
    ring: str | None,
    type_name: str | None,
    programs: Sequence[str],
    count: int | None,
    duration: float | None,
    assignments: Sequence[str],
    sizes: Sequence[str],
    as_json: bool,
) -> None:
    """Attach every program of OBJECT and print the events that come.

    Ctrl-C, SIGTERM, --count and --duration end it, and then it prints its statistics on stderr;
    so does a reader of its output that goes away. The exit status is then 0.

    JSON: one line an event; {"lost": N, "stage": "kernel"} where the kernel had no space.
    """
    spec = ObjectSpec.from_file(path)
    if programs:
        select_programs(spec, programs)
    set_variables(spec, assignments)
    resize_maps(spec, sizes)
    name = ring_of(spec, ring)
    kind = event_type(type_name) if type_name is not None else None
    printer = JsonPrinter() if as_json else TablePrinter()
    statistics = trio.run(stream, spec, name, kind, printer, count, duration)
    if statistics is not None:
        click.echo(summary(statistics), err=True)


def select_programs(spec: ObjectSpec, names: Sequence[str]) -> None:
    """Leave out all programs but these."""
    for name in names:
        lookup(spec.programs, name, "program")
    for program in spec.programs.values():
        program.autoload = program.name in names


class Printer(Protocol):
    """Shows what a stream gives."""

    async def show(self, events: Sequence[Any], lost: int) -> None:
        """Show a batch of events, and how many were lost before or among them."""


class JsonPrinter:
    """Prints JSON lines."""

    def __init__(self) -> None:
        self._writer = LineWriter()

    async def show(self, events: Sequence[Any], lost: int) -> None:
        """Print a line for each event, and one for the loss."""
        lines = [
            json_line({"bytes": event} if isinstance(event, bytes) else event) for event in events
        ]
        if lost:
            lines.append(json_line({"lost": lost, "stage": "kernel"}))
        await self._writer.write(lines)


class TablePrinter:
    """Prints a table."""

    def __init__(self) -> None:
        from bpfstream.cli.console import PlainConsole
        from bpfstream.cli.table import EventTable

        self._table = EventTable(PlainConsole())

    async def show(self, events: Sequence[Any], lost: int) -> None:
        """Print a row for each event, and one for the loss."""
        for event in events:
            self._table.print_event(event)
        if lost:
            self._table.print_loss(lost)


async def stream(
    spec: ObjectSpec,
    ring: str,
    kind: EventType | None,
    printer: Printer,
    count: int | None,
    duration: float | None,
) -> StreamStatistics | None:
    """Load, attach and print until something ends it.

    Returns:
        The stream's last statistics, or None when it ended before there was a stream.
    """
    statistics: StreamStatistics | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
        async with bpfstream.load(spec) as obj, open_events(obj, ring, kind) as events:
            reported = 0
            try:
                # The stream is open before programs are attached: no event comes too early.
                with obj.attach(), trio.move_on_after(duration or math.inf):
                    async for batch in limited(events, count):
                        lost = events.statistics().lost.total or 0
                        new, reported = lost - reported, lost
                        await printer.show(batch, new)
            except BrokenPipeError:
                stop_writing()
            finally:
                statistics = events.statistics()
                if (statistics.lost.total or 0) > reported:
                    with trio.CancelScope(shield=True):
                        await printer.show((), (statistics.lost.total or 0) - reported)
        nursery.cancel_scope.cancel()
    return statistics


def open_events(obj: Object, ring: str, kind: EventType | None) -> EventStream[Any]:
    """The stream, typed as the user said or else as the object says."""
    return obj.events(ring) if kind is None else obj.events(ring, type=kind)


async def limited(events: EventStream[Any], count: int | None) -> AsyncIterator[Sequence[Any]]:
    """Batches as they come; with a `count`, so many single events, and no more are taken."""
    if count is None:
        async for batch in events.batches():
            yield batch
    else:
        for _ in range(count):
            yield (await events.receive(),)


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    """End the stream as a user or a service manager asks for it."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


def ring_of(spec: ObjectSpec, name: str | None) -> str:
    """The map that the events come through: the one asked for, or the only one."""
    kinds = (MapType.RINGBUF, MapType.PERF_EVENT_ARRAY)
    if name is not None:
        if lookup(spec.maps, name, "map").type not in kinds:
            raise click.ClickException(f"map {name!r} is neither a ring buffer nor a perf buffer")
        return name
    rings = [map_.name for map_ in spec.maps.values() if map_.type in kinds]
    if not rings:
        raise click.ClickException("the object has no map that events could come through")
    if len(rings) > 1:
        raise click.ClickException(f"choose a map with --events: {', '.join(rings)}")
    return rings[0]


def summary(statistics: StreamStatistics) -> str:
    """Statistics as one line."""
    lost = "unknown" if statistics.lost.total is None else statistics.lost.total
    return (
        f"received {statistics.received}, lost {lost}, discarded {statistics.discarded}, "
        f"{statistics.backlog} of {statistics.capacity} bytes unread, {statistics.wakeups} wakeups"
    )
