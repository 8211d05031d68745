"""The start-up benchmark's program with bpfstream: ends with the first event.

python bpfstream_startup.py startup OBJECT
"""

import sys
import time

import trio

import bpfstream


async def first_event(path):
    async with bpfstream.load(path) as obj, obj.events("events") as events:
        with obj.attach():
            await events.receive()
            print(time.monotonic_ns(), time.process_time_ns())


def main(path):
    trio.run(first_event, path)
    with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib would be measured
        print(next(line for line in status if line.startswith("VmHWM:")), end="")


main(sys.argv[2])
