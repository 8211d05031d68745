"""Live maps: what is read and written with bpf(2), in Python's own idioms."""

from bpfstream.maps.array import ArrayMap
from bpfstream.maps.create import create_map
from bpfstream.maps.hash import HashMap
from bpfstream.maps.map import Map
from bpfstream.maps.per_cpu import PerCpuArrayMap, PerCpuHashMap, PerCpuValue

__all__ = [
    "ArrayMap",
    "HashMap",
    "Map",
    "PerCpuArrayMap",
    "PerCpuHashMap",
    "PerCpuValue",
    "create_map",
]
