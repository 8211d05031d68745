"""What all benchmarks of one run share: the consumers, and what became of those that failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.benchmarks import peers
from tests.benchmarks.consumer import Consumer, ConsumerError
from tests.benchmarks.peers import Peer, UnavailableError


class Run:
    """The consumers that this machine can run.

    Args:
        only: Names of those to measure; all of them without.

    Attributes:
        libraries: A peer a library, ours among them, as plain programs.
        consumers: The ways to read events.
        left_out: Who could not be measured in what, and why.
        failed: Whether one of ours is among them.
    """

    def __init__(self, only: Sequence[str] | None = None) -> None:
        self.libraries: list[Peer] = []
        self.consumers: list[Consumer] = []
        self.left_out: dict[str, str] = {}
        self.failed = False
        self._find_consumers()
        if only:
            self.consumers = self.chosen(*only)

    def _find_consumers(self) -> None:
        ours, pure = peers.ours(), peers.ours("bpfstream-pure", pure=True)
        self.libraries += [ours, pure]
        self.consumers += [
            Consumer("bpfstream-events", ours, "events"),
            Consumer("bpfstream-batches", ours, "batches"),
            Consumer("bpfstream-columns", ours, "columns"),
            Consumer("bpfstream-pure", pure, "events"),
        ]
        if libbpf := self._peer("libbpf", peers.build_libbpf):
            self.consumers.append(Consumer("libbpf", libbpf))
        if cilium := self._peer("cilium", peers.build_cilium):
            self.consumers.append(Consumer("cilium-unsafe", cilium, "unsafe"))
            self.consumers.append(Consumer("cilium-decode", cilium, "decode"))
        if bcc := self._peer("bcc", peers.find_bcc):
            self.consumers.append(Consumer("bcc", bcc))

    def _peer(self, name: str, find: Callable[[], Peer]) -> Peer | None:
        self.progress(f"preparing {name}")
        try:
            peer = find()
        except UnavailableError as reason:
            self.left_out[name] = str(reason)
            return None
        self.libraries.append(peer)
        return peer

    def chosen(self, *names: str) -> list[Consumer]:
        """The consumers of these names, in this order, as far as they are there."""
        by_name = {consumer.name: consumer for consumer in self.consumers}
        return [by_name[name] for name in names if name in by_name]

    @contextmanager
    def failures(self, measured: Consumer | Peer, bench: str) -> Iterator[None]:
        """Leave out whoever fails in the block, by name and with the reason."""
        try:
            yield
        except (ConsumerError, UnavailableError) as reason:
            self.left_out[f"{measured.name} in {bench}"] = str(reason)
            peer = measured.peer if isinstance(measured, Consumer) else measured
            self.failed = self.failed or peer.ours

    def progress(self, text: str) -> None:
        """Say on a terminal's standard error what is under way."""
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
