"""``bpfstream inspect``: what an object file says, without a kernel and without privilege."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf.types import Struct
from bpfstream.cli.kernel_needs import KernelNeed, kernel_needs, version_number
from bpfstream.cli.output import print_json
from bpfstream.errors import ObjectError
from bpfstream.live.target import btf_of_running_kernel
from bpfstream.records import event_type_of, loss_counter_of
from bpfstream.spec import MapSpec, ObjectSpec, Pinning

SLOT_BYTES = 8

ELEMENTS_SHOWN = 8
"""Elements of an array that people are shown; JSON has all."""


class ProgramReport(msgspec.Struct, frozen=True):
    """A program: its name, section and type, and how many instructions it has by itself."""

    name: str
    section: str
    type: str
    attach_type: str
    attach_to: str
    autoload: bool
    insn_count: int


class MapReport(msgspec.Struct, frozen=True):
    """A map: its type, its key's and value's types (or sizes in bytes) and its capacity."""

    name: str
    type: str
    key: str
    value: str
    max_entries: int
    flags: str
    pinned: bool


class VariableReport(msgspec.Struct, frozen=True):
    """A global variable: its declaration, and the value that the object gives it."""

    name: str
    declaration: str
    map: str
    value: Any


class EventReport(msgspec.Struct, frozen=True):
    """A ring: which struct it carries, that one's members, and who counts what is lost."""

    map: str
    struct: str | None
    members: tuple[str, ...]
    loss_counter: str | None


class Report(msgspec.Struct, frozen=True):
    """All that `inspect` says of an object."""

    object: str
    license: str
    byteorder: str
    programs: tuple[ProgramReport, ...]
    maps: tuple[MapReport, ...]
    variables: tuple[VariableReport, ...]
    events: tuple[EventReport, ...]
    minimum_kernel: str
    needs: tuple[KernelNeed, ...]
    warnings: tuple[str, ...]


@click.command("inspect")
@click.argument("path", metavar="OBJECT", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def subcommand(path: Path, as_json: bool) -> None:
    """Show OBJECT's programs, maps, variables and events, and what they need of a kernel.

    Needs no privilege.
    """
    report = inspect_object(ObjectSpec.from_file(path), str(path))
    if as_json:
        print_json(report)
    else:
        print_report(report)


def inspect_object(spec: ObjectSpec, path: str) -> Report:
    """The report on an object."""
    needs = kernel_needs(spec)
    return Report(
        object=path,
        license=spec.license,
        byteorder=spec.byteorder,
        programs=tuple(
            ProgramReport(
                name=program.name,
                section=program.section,
                type=program.type.name,
                attach_type=program.attach_type.name if program.attach_type else "",
                attach_to=program.attach_to,
                autoload=program.autoload,
                insn_count=len(program.instructions) // SLOT_BYTES,
            )
            for program in spec.programs.values()
        ),
        maps=tuple(_map_report(spec, each) for each in spec.maps.values() if not each.is_data),
        variables=tuple(_variable_report(spec, name) for name in spec.variables),
        events=tuple(
            _event_report(spec, name)
            for name, each in spec.maps.items()
            if each.type in (MapType.RINGBUF, MapType.PERF_EVENT_ARRAY)
        ),
        minimum_kernel=max((need.since for need in needs), key=version_number, default=""),
        needs=tuple(needs),
        warnings=spec.warnings,
    )


def _map_report(spec: ObjectSpec, each: MapSpec) -> MapReport:
    def side(type_id: int, size: int) -> str:
        if type_id and spec.btf is not None:
            return spec.btf.describe(type_id)
        return f"{size} bytes" if size else ""

    return MapReport(
        name=each.name,
        type=each.type.name if isinstance(each.type, MapType) else str(each.type),
        key=side(each.key_type_id, each.key_size),
        value=f"map {each.inner.name}" if each.inner else side(each.value_type_id, each.value_size),
        max_entries=each.max_entries,
        flags="|".join(flag.name or "" for flag in MapFlags(each.flags)),
        pinned=each.pinning is not Pinning.NONE,
    )


def _variable_report(spec: ObjectSpec, name: str) -> VariableReport:
    variable = spec.variables[name]
    value: Any
    try:
        value = variable.value
    except ObjectError:  # a type that has no value in Python: its bytes say as much
        value = variable.raw
    return VariableReport(name=name, declaration=variable.describe(), map=variable.map, value=value)


def _event_report(spec: ObjectSpec, name: str) -> EventReport:
    type_id = event_type_of(spec, name, kernel_btf=btf_of_running_kernel)
    struct: str | None = None
    members: tuple[str, ...] = ()
    if type_id is not None and spec.btf is not None:
        btf = spec.btf
        struct = btf.describe(type_id)
        resolved = btf.type(btf.resolve(type_id))
        if isinstance(resolved, Struct):
            members = tuple(
                f"{btf.describe(member.type)} {member.name}"
                + (f" : {member.bit_size}" if member.bit_size else "")
                for member in resolved.members
            )
    return EventReport(
        map=name, struct=struct, members=members, loss_counter=loss_counter_of(spec, name)
    )


def print_report(report: Report) -> None:
    """Print a report for people."""
    from rich.table import Table
    from rich.text import Text

    from bpfstream.cli.console import PlainConsole
    from bpfstream.cli.table import shown

    console = PlainConsole()

    def section(title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        if not rows:
            return
        table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        for row in rows:
            table.add_row(*(Text(shown(cell), overflow="fold") for cell in row))
        console.print(Text(f"\n{title}", style="bold"))
        console.print(table)

    license_text = f"license {report.license!r}" if report.license else "no license"
    console.print(Text(f"{report.object}: {license_text}, {report.byteorder}-endian"))
    section(
        "Programs",
        ("name", "section", "type", "instructions", "loaded"),
        [
            (each.name, each.section, each.type, str(each.insn_count), _yes(each.autoload))
            for each in report.programs
        ],
    )
    section(
        "Maps",
        ("name", "type", "key", "value", "entries", "flags"),
        [
            (
                each.name,
                each.type,
                each.key,
                each.value,
                str(each.max_entries),
                " ".join([each.flags, *(["pinned"] if each.pinned else [])]).strip(),
            )
            for each in report.maps
        ],
    )
    section(
        "Variables",
        ("declaration", "section", "value"),
        [(each.declaration, each.map, _value(each.value)) for each in report.variables],
    )
    section(
        "Events",
        ("map", "carries", "losses counted in"),
        [
            (
                each.map,
                f"{each.struct} {{ {'; '.join(each.members)} }}" if each.struct else "bytes",
                each.loss_counter or "nowhere",
            )
            for each in report.events
        ],
    )
    section(
        f"Needs Linux {report.minimum_kernel or 'of any version'}, by its programs and maps",
        ("what", "since", "by"),
        [(need.what, need.since, ", ".join(need.by)) for need in report.needs],
    )
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _value(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > ELEMENTS_SHOWN:
        return f"({', '.join(map(_value, value[:ELEMENTS_SHOWN]))}, … {len(value)} in all)"
    return repr(value) if isinstance(value, str) else str(value)
