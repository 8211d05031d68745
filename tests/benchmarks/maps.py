"""The map benchmark: a hash map of u32 to u64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from bpfstream import load_object
from tests.benchmarks.consumer import output_of
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers import OBJECTS, Peer
from tests.benchmarks.run import Run

OBJECT = OBJECTS / "table.bpf.o"
ENTRIES = 100_000
ROUNDS = 3


def maps(run: Run) -> Iterator[Figure]:
    """For each library: CPU time of an operation, the best of several processes."""
    best: dict[str, dict[str, float]] = {}
    libraries = list(run.libraries)
    for number in range(ROUNDS):
        run.progress(f"maps: round {number + 1} of {ROUNDS}")
        for peer in list(libraries):
            with run.failures(peer, "maps"):
                operations = best.setdefault(peer.name, {})
                for operation, nanoseconds in parse_operations(_measure(peer)).items():
                    operations[operation] = min(operations.get(operation, nanoseconds), nanoseconds)
                continue
            libraries.remove(peer)
            best.pop(peer.name, None)
    for name, operations in best.items():
        for operation, nanoseconds in operations.items():
            yield Figure(
                bench="maps", consumer=name, operation=operation, value=nanoseconds, unit="ns/entry"
            )


def _measure(peer: Peer) -> str:
    with ExitStack() as stack:
        what: object = OBJECT
        inherited: list[int] = []
        if peer.name == "bcc":  # can't load it
            what = stack.enter_context(load_object(OBJECT)).maps["table"].fd
            inherited.append(what)
        return output_of(peer, "maps", what, ENTRIES, inherited=inherited)


def parse_operations(output: str) -> dict[str, float]:
    """Read what a consumer prints, a line for each operation: its name and ns for an entry."""
    lines = (line.rpartition(" ") for line in output.splitlines())
    return {operation: float(nanoseconds) for operation, _, nanoseconds in lines}
