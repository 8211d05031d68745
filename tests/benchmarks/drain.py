"""The drain benchmark: what taking one event from a full buffer costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tests.benchmarks.consumer import ConsumerError, Reading, reading
from tests.benchmarks.figures import Figure
from tests.benchmarks.run import Run

ROUNDS = 9

# About 7/8 of the buffer, by what an event takes of it: its header, and padding to 8 bytes.
CASES = {
    ("ring", 48): 250_000,  # 16 MiB, 56 bytes each
    ("ring", 128): 105_000,  # 136 bytes
    ("perf", 48): 55_000,  # 4 MiB, 64 bytes
    ("perf", 128): 25_000,  # 144 bytes
}


def drain(run: Run) -> Iterator[Figure]:
    """CPU time of each consumer for an event: the best of several fills.

    All consumers take turns, so that a noisy moment of the machine meets them alike.
    """
    for (buffer, event_bytes), events in CASES.items():
        best = _best(run, buffer, event_bytes, events)
        for name, nanoseconds in best.items():
            yield Figure(
                bench="drain",
                consumer=name,
                buffer=buffer,
                event_bytes=event_bytes,
                value=nanoseconds / events,
                unit="ns/event",
            )


def _best(run: Run, buffer: str, event_bytes: int, events: int) -> dict[str, int]:
    best: dict[str, int] = {}
    with ExitStack() as stack:
        readers: list[Reading] = []
        for consumer in run.consumers:
            with run.failures(consumer, f"drain {buffer} {event_bytes}"):
                readers.append(stack.enter_context(reading(consumer, buffer, event_bytes)))
        for number in range(ROUNDS):
            run.progress(f"drain {buffer} {event_bytes}: round {number + 1} of {ROUNDS}")
            for reader in list(readers):
                with run.failures(reader.consumer, f"drain {buffer} {event_bytes}"):
                    taken = _drain_once(reader, events)
                    name = reader.consumer.name
                    best[name] = min(best.get(name, taken), taken)
                    continue
                readers.remove(reader)
                best.pop(reader.consumer.name, None)
    return best


def _drain_once(reader: Reading, events: int) -> int:
    total = reader.producer.fill(events)
    reader.begin()
    result = reader.result()
    if result.sum != total:
        raise ConsumerError(f"the values add up to {result.sum}, not {total}")
    return result.cpu_ns
