"""``bpfstream features``: what this kernel and this process can do, asked of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Literal, TypeVar

import click
import msgspec

from bpfstream.abi.helpers import Helper
from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import ProgramType
from bpfstream.cli.output import print_json
from bpfstream.errors import KernelError
from bpfstream.kernel.features import Feature, supports
from bpfstream.kernel.system import System, read_system
from bpfstream.kernel.type_probes import (
    has_helper,
    has_map_type,
    has_program_type,
    instruction_set_version,
)

E = TypeVar("E", bound=Enum)

Answer = Literal["yes", "no", "unknown"]


class Asked(msgspec.Struct, frozen=True):
    """A question to the kernel.

    Attributes:
        kind: ``feature``, ``program_type`` or ``map_type``.
        name: The kernel's name for it, without prefix.
        answer: ``unknown`` where the kernel did not answer.
        text: Of a feature, what it is, in words.
        since: Of a feature, the version of Linux that brought it.
        reason: Why there is no answer.
        helpers: Of a program type, the helpers that its programs may call, if those were asked for.
    """

    kind: str
    name: str
    answer: Answer
    text: str = ""
    since: str = ""
    reason: str = ""
    helpers: tuple[str, ...] | None = None


class Report(msgspec.Struct, frozen=True):
    """All that `features` says."""

    system: System
    instruction_set: int | None
    features: tuple[Asked, ...]
    program_types: tuple[Asked, ...]
    map_types: tuple[Asked, ...]


@click.command("features")
@click.option("--helpers", "with_helpers", is_flag=True, help="Try every helper in every type.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def subcommand(with_helpers: bool, as_json: bool) -> None:
    """Show what the running kernel, and this process, can do with BPF.

    The kernel is asked by loading tiny programs and maps, which are closed at once. Without
    privilege it does not answer some questions.
    """
    report = ask(with_helpers=with_helpers)
    if as_json:
        print_json(report)
    else:
        print_report(report)


def ask(*, with_helpers: bool = False) -> Report:
    """Ask the kernel everything."""
    version: int | None
    try:
        version = instruction_set_version()
    except KernelError:
        version = None
    return Report(
        system=read_system(),
        instruction_set=version,
        features=tuple(
            _asked("feature", each, supports, text=each.text, since=each.since) for each in Feature
        ),
        program_types=tuple(
            _asked("program_type", each, has_program_type, helpers=with_helpers)
            for each in ProgramType
            if each
        ),
        map_types=tuple(_asked("map_type", each, has_map_type) for each in MapType if each),
    )


def _asked(
    kind: str,
    each: E,
    question: Callable[[E], bool],
    *,
    text: str = "",
    since: str = "",
    helpers: bool = False,
) -> Asked:
    answer: Answer = "unknown"
    reason = ""
    try:
        answer = "yes" if question(each) else "no"
    except KernelError as error:
        reason = error.reason or str(error)
    names = None
    if helpers and answer == "yes" and isinstance(each, ProgramType):
        names = _helpers(each)
    return Asked(kind, each.name, answer, text, since, reason, names)


def _helpers(program_type: ProgramType) -> tuple[str, ...] | None:
    found = []
    for helper in Helper:
        if helper == Helper.UNSPEC:
            continue
        has = has_helper(program_type, helper)
        if has is None:
            return None
        if has:
            found.append(f"bpf_{helper.name.lower()}")
    return tuple(found)


def print_report(report: Report) -> None:
    """Print a report for people."""
    from rich.table import Table
    from rich.text import Text

    from bpfstream.cli.console import PlainConsole

    console = PlainConsole()

    def section(title: str, rows: Iterable[tuple[str, ...]]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for row in rows:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        console.print(Text(f"\n{title}", style="bold"))
        console.print(table)

    system = report.system
    console.print(Text(f"Linux {system.release} on {system.machine}"))
    section("System", _system_rows(system, report.instruction_set))
    section(
        "Features",
        ((each.answer, each.text, f"Linux {each.since}", each.reason) for each in report.features),
    )
    for title, questions in (
        ("Program types", report.program_types),
        ("Map types", report.map_types),
    ):
        section(title, ((each.answer, each.name, each.reason) for each in questions))
    for each in report.program_types:
        if each.helpers is not None:
            section(f"Helpers of {each.name}", [(" ".join(each.helpers),)])


def _system_rows(system: System, instruction_set: int | None) -> list[tuple[str, str]]:
    privileges = system.privileges
    capabilities = (f"CAP_{each.name}" for each in sorted(privileges.capabilities))
    modules = system.security_modules
    return [
        ("capabilities", " ".join(capabilities) or "none"),
        ("user namespace", "its own" if privileges.in_user_namespace else "the first"),
        ("seccomp", "filters system calls" if privileges.seccomp_filter else "no filter"),
        ("kernel.unprivileged_bpf_disabled", _number(privileges.unprivileged_bpf_disabled)),
        ("kernel.perf_event_paranoid", _number(privileges.perf_event_paranoid)),
        ("lockdown", privileges.lockdown or "unknown"),
        ("security modules", "unknown" if modules is None else " ".join(modules)),
        ("JIT", {True: "on", False: "off", None: "unknown"}[system.jit]),
        ("instruction set", f"v{instruction_set}" if instruction_set else "unknown"),
        ("kernel BTF", "yes" if system.kernel_btf else "no"),
        *(
            (name, system.mounts.get(name, "not mounted"))
            for name in ("bpf", "tracefs", "cgroup2", "securityfs")
        ),
    ]


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)
