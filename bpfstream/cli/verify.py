"""``bpfstream verify``: load each program of each object on its own, and report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from bpfstream.btf import Btf
from bpfstream.cli.default_sizes import give_default_sizes, ignore_pins
from bpfstream.cli.output import print_json
from bpfstream.errors import BpfstreamError, KernelError, errno_name
from bpfstream.kernel.btf import read_btf
from bpfstream.linker import LinkedProgram, link
from bpfstream.live import load_object
from bpfstream.live.target import running_kernel
from bpfstream.spec import ObjectSpec

if TYPE_CHECKING:
    from rich.text import Text

SLOT_BYTES = 8


class Verdict(msgspec.Struct, kw_only=True):
    """What became of one program, or of an object that can't be opened.

    Attributes:
        object: The object's path, as it was given.
        program: The program's name; None for the object itself.
        section: The program's section.
        type: The program's type.
        ok: The kernel took it; with ``--no-load``, it could be relocated.
        errno: Why the kernel didn't, such as ``"EACCES"``; None where no system call failed.
        relocated: It was made ready for the kernel.
        insn_count: Instructions handed to the kernel; a wide one counts twice.
        verified_insns: Instructions that the verifier looked at, where the kernel says (5.16).
        message: What went wrong, in one line; empty when nothing did.
        instructions: The code handed to the kernel, in hexadecimal, when it was asked for. File
            descriptors are 0 in it: they differ from load to load.
    """

    object: str
    program: str | None = None
    section: str | None = None
    type: str | None = None
    ok: bool = False
    errno: str | None = None
    relocated: bool = False
    insn_count: int | None = None
    verified_insns: int | None = None
    message: str = ""
    instructions: str | msgspec.UnsetType = msgspec.UNSET


@click.command("verify")
@click.argument("objects", metavar="OBJECT...", nargs=-1, required=True)
@click.option("--program", metavar="NAME", help="Only the program of this name.")
@click.option(
    "--btf",
    "btf_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Relocate against this BTF (raw, or an ELF file's) and not the running kernel's.",
)
@click.option("--no-load", is_flag=True, help="Stop before loading: only relocate.")
@click.option("--instructions", is_flag=True, help="Print the code too, in hexadecimal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a program.")
@click.pass_context
def subcommand(
    context: click.Context,
    objects: Sequence[str],
    program: str | None,
    btf_path: Path | None,
    no_load: bool,
    instructions: bool,
    as_json: bool,
) -> None:
    """Load each program of each OBJECT on its own, and report.

    Sizes that a tool would set at run time get defaults, pins are ignored. Nothing is attached, and
    nothing stays in the kernel. The exit status is 0 when every program passed, 1 otherwise.
    """
    btf = read_btf(btf_path) if btf_path is not None else None
    report = JsonReport() if as_json else TextReport()
    passed, seen = True, False
    for path in objects:
        for verdict in verify_object(
            path, only=program, btf=btf, load=not no_load, with_instructions=instructions
        ):
            report.add(verdict)
            passed &= verdict.ok
            seen |= verdict.program is not None
    if program is not None and passed and not seen:
        raise click.ClickException(f"no object has a program {program!r}")
    report.end()
    context.exit(0 if passed else 1)


def verify_object(
    path: str,
    *,
    only: str | None = None,
    btf: Btf | None = None,
    load: bool = True,
    with_instructions: bool = False,
) -> Iterator[Verdict]:
    """The verdicts on an object's programs, as they are reached."""
    try:
        spec = ObjectSpec.from_file(path)
    except (BpfstreamError, OSError) as error:
        yield Verdict(object=path, errno=_errno_of(error), message=str(error))
        return
    give_default_sizes(spec)
    ignore_pins(spec)
    if not spec.programs:
        yield Verdict(object=path, ok=True, message="no programs")
    for name in spec.programs:
        if only in (None, name):
            yield _verify_program(
                path, spec, name, btf=btf, load=load, with_instructions=with_instructions
            )


def _verify_program(
    path: str,
    spec: ObjectSpec,
    name: str,
    *,
    btf: Btf | None,
    load: bool,
    with_instructions: bool,
) -> Verdict:
    spec = spec.copy()
    for program in spec.programs.values():
        program.autoload = program.name == name
    verdict = Verdict(
        object=path,
        program=name,
        section=spec.programs[name].section,
        type=spec.programs[name].type.name,
    )
    try:
        linked = _link_program(spec, name, btf)
        verdict.relocated = True
        verdict.insn_count = len(linked.code)
        if with_instructions:
            verdict.instructions = linked.code.hex()
        if load:
            with load_object(spec, btf=btf) as obj:
                verdict.verified_insns = obj.programs[name].info().verified_instructions or None
        verdict.ok = True
    except (BpfstreamError, OSError) as error:
        verdict.errno = _errno_of(error)
        verdict.message = str(error)
    return verdict


def _link_program(spec: ObjectSpec, name: str, btf: Btf | None) -> LinkedProgram:
    """Relocate a program, whatever the running kernel thinks of what it attaches to."""
    return link(spec, running_kernel(btf), find_attach_targets=False).programs[name]


def _errno_of(error: BpfstreamError | OSError) -> str | None:
    code = error.errno if isinstance(error, KernelError | OSError) else None
    return None if code is None else errno_name(code)


class JsonReport:
    """Prints a line of JSON a verdict."""

    def add(self, verdict: Verdict) -> None:
        """Print a verdict."""
        print_json(verdict)

    def end(self) -> None:
        """Nothing is left to print."""


class TextReport:
    """Prints verdicts as they come, and at last how many there were of each kind."""

    def __init__(self) -> None:
        from bpfstream.cli.console import PlainConsole

        self._console = PlainConsole()
        self._object: str | None = None
        self._passed = 0
        self._failed = 0

    def add(self, verdict: Verdict) -> None:
        """Print a verdict."""
        from rich.text import Text

        if verdict.object != self._object:
            self._object = verdict.object
            self._print(Text(verdict.object, style="bold"))
        mark = Text("  refused ", style="bold red")
        if verdict.ok:
            mark = Text("  ok      ", style="green")
        if verdict.program is None:
            self._print(mark + Text(verdict.message))
            self._failed += not verdict.ok
            return
        line = mark + Text(f"{verdict.program}  ", style="bold") + Text(f"{verdict.section}")
        if verdict.insn_count is not None:
            line += Text(f"  {verdict.insn_count} instructions", style="dim")
        if verdict.verified_insns is not None:
            line += Text(f", {verdict.verified_insns} verified", style="dim")
        self._print(line)
        if verdict.message:
            self._print(Text(f"          {verdict.message}"))
        if isinstance(verdict.instructions, str):
            slots = range(0, len(verdict.instructions), 2 * SLOT_BYTES)
            for slot, at in enumerate(slots):
                code = verdict.instructions[at : at + 2 * SLOT_BYTES]
                self._print(Text(f"          {slot:5}: {code}", style="dim"))
        self._passed += verdict.ok
        self._failed += not verdict.ok

    def end(self) -> None:
        """Print the totals."""
        from rich.text import Text

        self._print(Text(f"{self._passed} passed, {self._failed} refused"))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)
