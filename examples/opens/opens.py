"""Print each file that any process opens, until Ctrl-C; with --failed only what can't be opened.

sudo python examples/opens/opens.py [--failed]
"""

import contextlib
import errno
import sys
from pathlib import Path

import trio

import bpfstream


async def main(*, only_failed: bool) -> None:
    spec = bpfstream.ObjectSpec.from_file(Path(__file__).with_name("opens.bpf.o"))
    spec.variables["only_failed"].value = only_failed
    async with bpfstream.load(spec) as obj:
        with obj.attach():
            async with obj.events("events") as events:
                async for event in events:
                    result = event.result if event.result >= 0 else errno.errorcode[-event.result]
                    line = f"{event.pid:<7} {event.comm:<15} {result:>7} {event.path}"
                    print(line, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(lambda: main(only_failed="--failed" in sys.argv))
