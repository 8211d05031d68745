"""The compiled twin of a few hot loops. Where it was not built, their Python does all the work.

``BPFSTREAM_PURE=1`` in the environment leaves it out although it is there. `hot` is the compiled
module; use it only where `COMPILED` is true.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

COMPILED: bool
"""Whether the compiled module is in use."""

if TYPE_CHECKING:
    from bpfstream._native import hot
elif os.environ.get("BPFSTREAM_PURE", "0") not in ("", "0"):
    hot = None
else:
    try:
        from bpfstream._native import hot
    except ImportError:
        hot = None

COMPILED = hot is not None

__all__ = ["COMPILED", "hot"]
