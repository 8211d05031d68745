"""What the figures have to show: ratios between figures of one run, and their bounds.

Each claim names its figures; where one of them was not measured, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tests.benchmarks.figures import Figure, aligned, find


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A bound for a figure, or for its ratio to another one.

    Attributes:
        text: What is claimed.
        of: Facts that name the figure; see `tests.benchmarks.figures.find`.
        to: Facts that name the figure it is divided by; None to take it as it is.
        bound: The limit.
        at_least: Whether the bound is the smallest value allowed; otherwise it is the largest.
    """

    text: str
    of: dict[str, object]
    to: dict[str, object] | None = None
    bound: float
    at_least: bool = False

    def measured(self, figures: Sequence[Figure]) -> float | None:
        """The ratio; None where a figure is missing, or one divides by 0."""
        value = find(figures, **self.of)
        if self.to is None or value is None:
            return value
        divisor = find(figures, **self.to)
        return value / divisor if divisor else None

    def holds(self, measured: float) -> bool:
        """Whether a measured ratio keeps the bound."""
        return measured >= self.bound if self.at_least else measured <= self.bound


def _drain(consumer: str, peer: str, bound: float, buffer: str = "ring", size: int = 48) -> Claim:
    shared = {"bench": "drain", "buffer": buffer, "event_bytes": size}
    return Claim(
        text=f"drain {buffer} {size}: {consumer} / {peer}",
        of={**shared, "consumer": consumer},
        to={**shared, "consumer": peer},
        bound=bound,
    )


def _stream(consumer: str, rate: int) -> list[Claim]:
    shared = {"bench": "stream", "consumer": consumer, "rate": rate}
    text = f"stream {rate:,} events/s: {consumer}"
    return [
        Claim(
            text=f"{text}: events/s",
            of={**shared, "unit": "events/s"},
            bound=0.99 * rate,
            at_least=True,
        ),
        Claim(text=f"{text}: lost", of={**shared, "unit": "lost"}, bound=0),
    ]


_LATENCY = {"bench": "latency", "rate": 10_000, "statistic": "median"}

CLAIMS = [
    _drain("bpfstream-events", "cilium-decode", 0.75),
    Claim(
        text="drain ring 48: bcc / bpfstream-events",
        of={"bench": "drain", "buffer": "ring", "event_bytes": 48, "consumer": "bcc"},
        to={"bench": "drain", "buffer": "ring", "event_bytes": 48, "consumer": "bpfstream-events"},
        bound=8,
        at_least=True,
    ),
    _drain("bpfstream-batches", "cilium-decode", 0.65),
    _drain("bpfstream-columns", "cilium-unsafe", 0.5),
    _drain("bpfstream-pure", "cilium-decode", 2),
    _drain("bpfstream-columns", "cilium-unsafe", 0.5, size=128),
    _drain("bpfstream-events", "cilium-decode", 0.35, size=128),
    _drain("bpfstream-events", "cilium-decode", 0.8, buffer="perf"),
    *_stream("bpfstream-batches", 2_000_000),
    *_stream("bpfstream-columns", 4_000_000),
    Claim(
        text="stream 10,000 events/s: CPU of bpfstream-events, max_latency=0.001 / libbpf",
        of={"bench": "stream", "consumer": "bpfstream-events", "rate": 10_000, "unit": "% CPU"},
        to={"bench": "stream", "consumer": "libbpf", "rate": 10_000, "unit": "% CPU"},
        bound=0.5,
    ),
    Claim(
        text="latency at 10,000 events/s: median of bpfstream-events, max_latency=0 / libbpf",
        of={**_LATENCY, "consumer": "bpfstream-events"},
        to={**_LATENCY, "consumer": "libbpf"},
        bound=1.5,
    ),
    Claim(
        text="startup: bpfstream to the first event / import trio",
        of={"bench": "startup", "consumer": "bpfstream", "unit": "ms"},
        to={"bench": "startup", "consumer": "import-trio", "unit": "ms"},
        bound=1.6,
    ),
    Claim(
        text="startup: MB of bpfstream",
        of={"bench": "startup", "consumer": "bpfstream", "unit": "MB"},
        bound=48,
    ),
]


def report(figures: Sequence[Figure]) -> str:
    """A table of the claims that the figures tell something about."""
    rows = [["claim", "measured", "bound", "holds"]]
    for claim in CLAIMS:
        measured = claim.measured(figures)
        if measured is not None:
            sign = ">=" if claim.at_least else "<="
            answer = "yes" if claim.holds(measured) else "NO"
            rows.append(
                [
                    claim.text,
                    f"{measured:,.3g}" if measured < 1000 else f"{measured:,.0f}",
                    f"{sign} {claim.bound:,g}",
                    answer,
                ]
            )
    return aligned(rows) if len(rows) > 1 else ""
