"""Sizes for maps whose tools would set them at run time, so that objects load unattended."""

from __future__ import annotations

from typing import Final

from bpfstream.abi.maps import MapType
from bpfstream.kernel.cpus import possible_cpus
from bpfstream.spec import ObjectSpec, Pinning

ENTRIES: Final = 1024
RING_BYTES: Final = 256 * 1024
STACK_BYTES: Final = 127 * 8
"""A stack trace of PERF_MAX_STACK_DEPTH addresses (linux/perf_event.h)."""

_NEED_NO_SIZE: Final = frozenset(
    {
        MapType.PERF_EVENT_ARRAY,  # one entry a CPU, unless the object says otherwise
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
        MapType.STRUCT_OPS,
        MapType.BLOOM_FILTER,
    }
)


def give_default_sizes(spec: ObjectSpec) -> None:
    """Size the maps that have no size, and cut CPU maps to the CPUs there are."""
    for each in spec.maps.values():
        if each.max_entries == 0 and each.type not in _NEED_NO_SIZE:
            each.max_entries = RING_BYTES if each.type == MapType.RINGBUF else ENTRIES
        if each.type == MapType.CPUMAP:
            each.max_entries = min(each.max_entries, len(possible_cpus()))
        if each.type == MapType.STACK_TRACE:
            each.key_size = each.key_size or 4
            each.value_size = each.value_size or STACK_BYTES


def ignore_pins(spec: ObjectSpec) -> None:
    """Let every map be the object's own: nothing is shared through the BPF file system."""
    for each in spec.maps.values():
        each.pinning = Pinning.NONE
