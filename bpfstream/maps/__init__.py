"""Live maps: what is read and written with bpf(2), in Python's own idioms.

The file of a family is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bpfstream.maps.create import create_map
from bpfstream.maps.map import Map

if TYPE_CHECKING:
    from bpfstream.maps.array import ArrayMap
    from bpfstream.maps.hash import HashMap
    from bpfstream.maps.per_cpu import PerCpuArrayMap, PerCpuHashMap, PerCpuValue

_HOMES = {
    "ArrayMap": "bpfstream.maps.array",
    "HashMap": "bpfstream.maps.hash",
    "PerCpuArrayMap": "bpfstream.maps.per_cpu",
    "PerCpuHashMap": "bpfstream.maps.per_cpu",
    "PerCpuValue": "bpfstream.maps.per_cpu",
}

__all__ = [
    "ArrayMap",
    "HashMap",
    "Map",
    "PerCpuArrayMap",
    "PerCpuHashMap",
    "PerCpuValue",
    "create_map",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
