"""What stands in a stream where events are missing."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Stage: TypeAlias = Literal["kernel", "perf", "subscriber"]
"""Where events are lost; the names of the fields of `Losses`."""


class Lost(msgspec.Struct, frozen=True):
    """Events that are missing, at the place in the stream where they would have been.

    Attributes:
        count: How many.
        stage: Where they were lost: they found no room in a ring buffer (``"kernel"``) or in a perf
            buffer (``"perf"``), or the subscriber itself was too slow (``"subscriber"``).
    """

    count: int
    stage: Stage
