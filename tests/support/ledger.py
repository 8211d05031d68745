"""What the programs ring_producer and perf_producer sent, checked record by record."""

from __future__ import annotations

import struct
from collections import defaultdict


class Ledger:
    """What came from each producer."""

    def __init__(self) -> None:
        self.received: dict[int, int] = defaultdict(int)
        self._last: dict[int, int] = defaultdict(lambda: -1)

    def enter(self, record: bytes) -> None:
        """Count a record of the stream; it is whole, new, and behind those before it."""
        sequence, producer, words = struct.unpack_from("=QII", record)
        payload = struct.unpack_from(f"={words}Q", record, 16)
        assert set(payload) == {producer << 56 ^ sequence}, "torn"
        assert sequence > self._last[producer], "doubled or out of order"
        self._last[producer] = sequence
        self.received[producer] += 1
