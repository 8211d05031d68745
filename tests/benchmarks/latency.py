"""The latency benchmark: from the making of an event to its use, while events are rare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tests.benchmarks.consumer import Reading, reading
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.run import Run

CONSUMERS = ("bpfstream-events", "libbpf", "cilium-unsafe", "bcc")
ROUNDS = 4
EVENTS = 1000
"""Events of a round."""
MEAN_PAUSE = 0.001
BUFFER, EVENT_BYTES = "ring", 48


def latency(run: Run) -> Iterator[Figure]:
    """For each consumer, event-driven: the median and the 99th percentile of all rounds.

    Consumers take turns, each waiting for events that come after random pauses.
    """
    latencies: dict[str, list[int]] = {}
    with ExitStack() as stack:
        readers: list[Reading] = []
        for consumer in run.chosen(*CONSUMERS):
            max_latency = 0.0 if consumer.peer.ours else None
            with run.failures(consumer, "latency"):
                readers.append(
                    stack.enter_context(
                        reading(consumer, BUFFER, EVENT_BYTES, max_latency=max_latency)
                    )
                )
        for number in range(ROUNDS):
            run.progress(f"latency: round {number + 1} of {ROUNDS}")
            for reader in readers:
                with run.failures(reader.consumer, "latency"):
                    reader.begin("latency")
                    reader.producer.trickle(EVENTS, MEAN_PAUSE, seed=number)
                    taken = reader.result().latencies
                    latencies.setdefault(reader.consumer.name, []).extend(taken)
    for reader in readers:
        name = reader.consumer.name
        for statistic, percent in (("median", 50), ("p99", 99)):
            if name in latencies:
                yield Figure(
                    bench="latency",
                    consumer=name,
                    buffer=BUFFER,
                    event_bytes=EVENT_BYTES,
                    max_latency=0.0 if reader.consumer.peer.ours else None,
                    statistic=statistic,
                    value=percentile(latencies[name], percent) / 1000,
                    unit="us",
                )
