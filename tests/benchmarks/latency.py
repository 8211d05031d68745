"""The latency benchmark: from the making of an event to its use, event-driven."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tests.benchmarks.consumer import Reading, reading
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.producer import Producer
from tests.benchmarks.run import Run

CONSUMERS = ("bpfstream-events", "libbpf", "cilium-unsafe", "bcc")
ROUNDS = 4
STEADY = 10_000
RARE = 1_000
"""Events a second: at a steady rate, and after random pauses of that mean."""
EVENTS = 1000
"""Events of a round."""
BUFFER, EVENT_BYTES = "ring", 48


def latency(run: Run) -> Iterator[Figure]:
    """For each consumer and rate: the median and the 99th percentile of all rounds.

    Consumers take turns.
    """
    latencies: dict[tuple[str, int], list[int]] = {}
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
            for rate in (STEADY, RARE):
                for reader in readers:
                    with run.failures(reader.consumer, "latency"):
                        reader.begin("latency")
                        _send(reader.producer, rate, seed=number)
                        taken = reader.result().latencies
                        latencies.setdefault((reader.consumer.name, rate), []).extend(taken)
    for reader in readers:
        name = reader.consumer.name
        for rate in (STEADY, RARE):
            for statistic, percent in (("median", 50), ("p99", 99)):
                if (name, rate) in latencies:
                    yield Figure(
                        bench="latency",
                        consumer=name,
                        buffer=BUFFER,
                        event_bytes=EVENT_BYTES,
                        rate=rate,
                        max_latency=0.0 if reader.consumer.peer.ours else None,
                        statistic=statistic,
                        value=percentile(latencies[name, rate], percent) / 1000,
                        unit="us",
                    )


def _send(producer: Producer, rate: int, seed: int) -> None:
    if rate == STEADY:
        producer.stream(rate, EVENTS / rate)
    else:
        producer.trickle(EVENTS, 1 / rate, seed=seed)
