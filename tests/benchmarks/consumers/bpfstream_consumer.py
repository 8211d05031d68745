"""The benchmarks' consumer with bpfstream.

    python bpfstream_consumer.py read OBJECT (ring|perf) PAGES (events|batches|columns) EVENT_BYTES
                                 [MAX_LATENCY]
    python bpfstream_consumer.py maps OBJECT ENTRIES

Each way to take events is the loop that a user writes, with one field touched. The last event's
value is 0.
"""

import sys
import time

import trio

import bpfstream


async def take_events(stream):
    total = 0
    async for event in stream:
        value = event.value
        if not value:
            break
        total += value
    return total


async def take_batches(stream):
    total = 0
    async for batch in stream.batches():
        for event in batch:
            total += event.value
        if not batch[-1].value:
            break
    return total


async def take_columns(stream):
    total = 0
    async for batch in stream.columns(fields=["value"]):
        values = batch["value"]
        total += int(values.sum())
        if not values[-1]:
            break
    return total


async def take_latencies(stream, latencies):
    total = 0
    async for event in stream:
        value = event.value
        if not value:
            break
        latencies.append(time.monotonic_ns() - event.timestamp)
        total += value
    return total


TAKERS = {"events": take_events, "batches": take_batches, "columns": take_columns}


async def read_events(path, buffer, pages, way, event_bytes, max_latency=None):
    options = {} if max_latency is None else {"max_latency": float(max_latency)}
    async with (
        bpfstream.load(path) as obj,
        obj.events(buffer, type=f"event_{event_bytes}", pages=int(pages), **options) as stream,
    ):
        programs = (f"{name}={each.info().id}" for name, each in obj.programs.items())
        print("ready", *programs, flush=True)
        for command in sys.stdin:
            latencies = []
            start = time.process_time_ns()
            if command == "latency\n":
                total = await take_latencies(stream, latencies)
            else:
                total = await TAKERS[way](stream)
            print(time.process_time_ns() - start, total, *latencies, flush=True)


def maps(path, entries):
    with bpfstream.load_object(path) as obj:
        table = obj.maps["table"]
        expected = entries * (entries - 1) // 2

        def timed(name, work):
            start = time.process_time_ns()
            total = work()
            print(name, (time.process_time_ns() - start) / entries)
            assert total in (None, expected), name

        def update():
            for key in range(entries):
                table[key] = key

        timed("update", update)
        timed("lookup", lambda: sum(table[key] for key in range(entries)))
        timed("iterate", lambda: sum(value for _, value in table.items()))
        # An iteration goes by batches already; this one keeps them all.
        timed("batch lookup", lambda: sum(dict(table.items()).values()))
        elements = {key: key for key in range(entries)}
        timed("batch update", lambda: table.update(elements))


def main(command, *arguments):
    if command == "read":
        trio.run(read_events, *arguments)
    else:
        path, entries = arguments
        maps(path, int(entries))


if __name__ == "__main__":
    main(*sys.argv[1:])
