"""How large the rings of a perf buffer are, and when the kernel wakes who reads them."""

from __future__ import annotations

import msgspec

from bpfstream.kernel.memory import PAGE_SIZE

DEFAULT_PAGES = 64
"""Data pages a CPU: 256 KiB where a page has 4 KiB."""


class PerfOptions(msgspec.Struct, frozen=True):
    """The settings of a perf buffer.

    Without `watermark` and `wakeup_events` the reader is woken for each event that it is not about
    to find by itself.

    Attributes:
        pages: Data pages of each CPU's ring, a power of two.
        watermark: Bytes that a CPU's ring must gain to wake the reader.
        wakeup_events: Events that a CPU must send to wake the reader.

    Raises:
        ValueError: A number is out of range, or both ways to be woken are set.
    """

    pages: int = DEFAULT_PAGES
    watermark: int | None = None
    wakeup_events: int | None = None

    def __post_init__(self) -> None:
        if self.pages < 1 or self.pages & (self.pages - 1):
            raise ValueError(f"a perf ring has a power of two of pages, not {self.pages}")
        if self.watermark is not None and self.wakeup_events is not None:
            raise ValueError("watermark and wakeup_events exclude each other")
        # The kernel itself takes whatever is out of range for half the ring.
        if self.watermark is not None and not 0 < self.watermark < self.size:
            raise ValueError(f"watermark has to be from 1 to {self.size - 1}, not {self.watermark}")
        if self.wakeup_events is not None and not 0 < self.wakeup_events < 1 << 32:
            raise ValueError(f"wakeup_events has to be positive, not {self.wakeup_events}")

    @property
    def size(self) -> int:
        """Bytes of each CPU's ring."""
        return self.pages * PAGE_SIZE

    @property
    def is_default(self) -> bool:
        """Whether it is left to the stream when it is woken."""
        return self.watermark is None and self.wakeup_events is None
