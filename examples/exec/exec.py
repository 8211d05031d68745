"""Print each process that executes a program or ends: until Ctrl-C, or while a COMMAND runs."""

import signal
import sys
from pathlib import Path

import trio

import bpfstream


async def stop_when_done(command: list[str], scope: trio.CancelScope) -> None:
    if command:
        await trio.run_process(command)
        await trio.sleep(0.3)  # a moment for the last events
    else:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            await anext(signals)
    scope.cancel()


async def main(command: list[str]) -> None:
    async with bpfstream.load(Path(__file__).with_name("exec.bpf.o")) as obj:
        with obj.attach():
            async with obj.events("events") as events, trio.open_nursery() as nursery:
                nursery.start_soon(stop_when_done, command, nursery.cancel_scope)
                async for event in events:
                    who = f"{event.kind.name} {event.pid:<7} {event.comm:<15} uid {event.uid:<5}"
                    ran = f"ran {event.duration_ns / 1e6:.1f} ms" if event.duration_ns else ""
                    print(f"{who} parent {event.ppid:<7} {event.filename or ran}", flush=True)
            print(events.statistics(), file=sys.stderr)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1:])
    except bpfstream.BpfstreamError as error:
        sys.exit(f"exec.py: {error}")
