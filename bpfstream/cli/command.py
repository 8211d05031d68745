"""The command itself: finds its subcommands, and turns what goes wrong into one message."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final

import click

from bpfstream.errors import BpfstreamError, VerifierError

SUBCOMMANDS: Final = {
    "features": "bpfstream.cli.features",
    "inspect": "bpfstream.cli.inspect",
    "run": "bpfstream.cli.run",
    "verify": "bpfstream.cli.verify",
}
"""The module of each subcommand; its `subcommand` is imported only when it is asked for."""


class LazyGroup(click.Group):
    """A group whose subcommands are modules, imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name, or None."""
        if cmd_name not in SUBCOMMANDS:
            return None
        subcommand = importlib.import_module(SUBCOMMANDS[cmd_name]).subcommand
        assert isinstance(subcommand, click.Command)
        return subcommand

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; what it raises becomes a message and exit status 1."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.UsageError):
            raise
        except click.ClickException as error:
            click.echo(f"bpfstream: {error.format_message()}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            stop_writing()
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exception(error)
            for cause in leaves(error):
                click.echo(f"bpfstream: {message_of(cause)}", err=True)
                if ctx.params["debug"] and isinstance(cause, VerifierError):
                    click.echo(cause.log, err=True)
            ctx.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks and whole verifier logs.")
@click.version_option(package_name="bpfstream")
def command(debug: bool) -> None:
    """Load eBPF objects, and stream the events that they send."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside nested exception groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def message_of(error: BaseException) -> str:
    """What a user is told: one message, with no traceback."""
    match error:
        case BpfstreamError():
            return str(error)
        case OSError(strerror=str(), filename=str() | bytes() | os.PathLike() as name):
            return f"{os.fsdecode(name)}: {error.strerror}"
        case _:
            kind = type(error).__name__
            return f"internal error: {kind}: {error} (bpfstream --debug shows where)"


def stop_writing() -> None:
    """Whoever read our output is gone: throw away what Python would still write at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
