"""Which struct a ring carries: what an object says about it, one way or another."""

from __future__ import annotations

from collections.abc import Callable

from bpfstream.btf.reader import Btf
from bpfstream.spec import ObjectSpec


def event_type_of(
    spec: ObjectSpec, map_name: str, *, kernel_btf: Callable[[], Btf | None] | None = None
) -> int | None:
    """The BTF id of the struct that a ring carries; None when the object does not tell."""
    return None


def loss_counter_of(spec: ObjectSpec, map_name: str) -> str | None:
    """The name of the map that counts what a ring lost; None when there is none."""
    return None
