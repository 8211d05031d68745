"""The benchmarks: ``python -m tests.benchmarks [--only BENCH] [--json]``, as root.

docs/benchmarks.md says what each figure means.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator

from tests.benchmarks import claims
from tests.benchmarks.consumer import on_cpu, producer_cpu
from tests.benchmarks.drain import drain
from tests.benchmarks.figures import Figure, json_line, tables
from tests.benchmarks.latency import latency
from tests.benchmarks.maps import maps
from tests.benchmarks.run import Run
from tests.benchmarks.startup import startup
from tests.benchmarks.stream import stream

BENCHES: dict[str, Callable[[Run], Iterator[Figure]]] = {
    "drain": drain,
    "stream": stream,
    "latency": latency,
    "startup": startup,
    "maps": maps,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHES, help="run this one; repeatable")
    parser.add_argument("--consumer", action="append", help="measure this one; repeatable")
    parser.add_argument("--json", action="store_true", help="a JSON object a line for each figure")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the benchmarks need root")

    run = Run(options.consumer)
    figures: list[Figure] = []
    with on_cpu(producer_cpu()):
        for name, bench in BENCHES.items():
            if options.only and name not in options.only:
                continue
            for figure in bench(run):
                figures.append(figure)
                if options.json:
                    print(json_line(figure), flush=True)
    run.progress("")
    if not options.json:
        print(tables(figures), claims.report(figures), sep="\n\n")
    for name, reason in run.left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr if options.json else sys.stdout)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
