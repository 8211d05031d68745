"""Live maps: what is read and written with bpf(2), in Python's own idioms."""

from bpfstream.maps.array import ArrayMap, PerCpuArrayMap
from bpfstream.maps.create import create_map
from bpfstream.maps.hash import HashMap, PerCpuHashMap
from bpfstream.maps.map import Map, PerCpuValue

__all__ = [
    "ArrayMap",
    "HashMap",
    "Map",
    "PerCpuArrayMap",
    "PerCpuHashMap",
    "PerCpuValue",
    "create_map",
]
