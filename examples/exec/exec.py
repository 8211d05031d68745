"""Print each process that executes a program or ends: until Ctrl-C, or while a COMMAND runs."""

import signal
import sys
from pathlib import Path

import trio

import bpfstream


async def main(command: list[str]) -> None:
    path = Path(__file__).with_name("exec.bpf.o")
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with bpfstream.load(path) as obj, obj.events("events") as events:
            async with trio.open_nursery() as nursery:

                async def stop() -> None:
                    if command:
                        await trio.run_process(command)
                        await trio.sleep(0.3)  # a moment for the last events
                    else:
                        await anext(interrupts)
                    nursery.cancel_scope.cancel()

                with obj.attach():
                    nursery.start_soon(stop)
                    async for event in events:
                        who = f"{event.kind.name} {event.pid:<7} {event.comm:15} uid {event.uid:5}"
                        ran = f"ran {event.duration_ns / 1e6:.1f} ms" if event.duration_ns else ""
                        print(f"{who} parent {event.ppid:<7} {event.filename or ran}", flush=True)
            print(events.statistics(), file=sys.stderr)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1:])
    except bpfstream.BpfstreamError as error:
        sys.exit(f"exec.py: {error}")
