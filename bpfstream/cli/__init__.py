"""The ``bpfstream`` command. It needs the extra ``cli``: ``pip install 'bpfstream[cli]'``."""

import sys

EXTRA = frozenset({"click", "rich"})
"""The packages of the extra ``cli``."""


def main() -> None:
    """Run the command with the process's arguments; the console script's entry point."""
    try:
        from bpfstream.cli.command import command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        sys.exit(
            f"bpfstream: the command needs the package {error.name!r}: pip install 'bpfstream[cli]'"
        )
    command()
