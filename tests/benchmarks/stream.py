"""The stream benchmark: a steady rate for a while, with the program's default flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec

from tests.benchmarks.consumer import ConsumerError, reading
from tests.benchmarks.figures import Figure
from tests.benchmarks.run import Run

SECONDS = 10
BUFFER, EVENT_BYTES = "ring", 48
_FIRST_EVENTS = 1000


class Load(msgspec.Struct, frozen=True):
    """A rate, and who has to keep up with it.

    Attributes:
        rate: Events a second.
        consumers: Their names.
        max_latency: Seconds that bpfstream's streams are given.
    """

    rate: int
    consumers: tuple[str, ...]
    max_latency: float = 0.001


LOADS = (
    Load(10_000, ("bpfstream-events", "libbpf", "cilium-unsafe", "bcc")),
    Load(2_000_000, ("bpfstream-batches", "libbpf", "cilium-unsafe")),
    Load(4_000_000, ("bpfstream-columns", "libbpf", "cilium-unsafe")),
)


def stream(run: Run) -> Iterator[Figure]:
    """For each consumer: events sent a second, how many were lost, and its CPU time."""
    for load in LOADS:
        for consumer in run.chosen(*load.consumers):
            what = f"stream {load.rate:,}/s"
            run.progress(f"{what}: {consumer.name}")
            ours = consumer.peer.ours
            max_latency = load.max_latency if ours else None
            with run.failures(consumer, what), ExitStack() as stack:
                reader = stack.enter_context(
                    reading(consumer, BUFFER, EVENT_BYTES, max_latency=max_latency)
                )
                # What is imported or compiled with the first events is start-up.
                reader.producer.fill(_FIRST_EVENTS)
                reader.begin()
                reader.result()
                before = reader.producer.tally()
                reader.begin()
                elapsed = reader.producer.stream(load.rate, SECONDS)
                result = reader.result()
                after = reader.producer.tally()
                if result.sum != after.sum - before.sum:
                    raise ConsumerError(f"{result.sum} is not the sum of what was sent")
                sent = after.sent - before.sent - 1  # without the one that ends the run
                lost = after.lost - before.lost
                figure = Figure(
                    bench="stream",
                    consumer=consumer.name,
                    buffer=BUFFER,
                    event_bytes=EVENT_BYTES,
                    rate=load.rate,
                    max_latency=max_latency,
                    value=(sent + lost) / elapsed,
                    unit="events/s",
                )
                cpu = result.cpu_ns / 1e9 / elapsed * 100
                yield figure
                yield msgspec.structs.replace(figure, value=float(lost), unit="lost")
                yield msgspec.structs.replace(figure, value=cpu, unit="% CPU")
