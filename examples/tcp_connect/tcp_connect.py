"""Print each TCP connection over IPv4 that this machine begins, until Ctrl-C.

sudo python examples/tcp_connect/tcp_connect.py [by_fentry | by_kprobe]
"""

import contextlib
import sys
from ipaddress import IPv4Address
from pathlib import Path

import trio

import bpfstream


async def main(program: str) -> None:
    spec = bpfstream.ObjectSpec.from_file(Path(__file__).with_name("tcp_connect.bpf.o"))
    for name, candidate in spec.programs.items():
        candidate.autoload = name == program
    async with bpfstream.load(spec) as obj:
        with obj.attach():
            async with obj.events("events") as events:
                async for event in events:
                    source = f"{IPv4Address(bytes(event.source))}:{event.source_port}"
                    target = f"{IPv4Address(bytes(event.destination))}:{event.destination_port}"
                    print(f"{event.pid:<7} {event.comm:<15} {source:>21} -> {target}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "by_fentry")
