"""What an object needs of a kernel, read off its programs and maps without asking any kernel.

Versions are those in which mainline Linux brought a thing (the kernel's own documentation and
history of include/uapi/linux/bpf.h); distributions carry some of them back. Helpers and kfuncs that
programs call may need more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.spec import ObjectSpec, ProgramSpec


class KernelNeed(msgspec.Struct, frozen=True):
    """Something that a kernel must have.

    Attributes:
        what: What it is.
        since: The version of Linux that brought it; empty where it is no matter of versions.
        by: The programs, maps or symbols that need it.
    """

    what: str
    since: str
    by: tuple[str, ...]


PROGRAM_TYPES: Final = {
    ProgramType.SOCKET_FILTER: "3.19",
    ProgramType.KPROBE: "4.1",
    ProgramType.SCHED_CLS: "4.1",
    ProgramType.SCHED_ACT: "4.1",
    ProgramType.TRACEPOINT: "4.7",
    ProgramType.XDP: "4.8",
    ProgramType.PERF_EVENT: "4.9",
    ProgramType.CGROUP_SKB: "4.10",
    ProgramType.CGROUP_SOCK: "4.10",
    ProgramType.LWT_IN: "4.10",
    ProgramType.LWT_OUT: "4.10",
    ProgramType.LWT_XMIT: "4.10",
    ProgramType.SOCK_OPS: "4.13",
    ProgramType.SK_SKB: "4.14",
    ProgramType.CGROUP_DEVICE: "4.15",
    ProgramType.SK_MSG: "4.17",
    ProgramType.RAW_TRACEPOINT: "4.17",
    ProgramType.CGROUP_SOCK_ADDR: "4.17",
    ProgramType.LWT_SEG6LOCAL: "4.18",
    ProgramType.LIRC_MODE2: "4.18",
    ProgramType.SK_REUSEPORT: "4.19",
    ProgramType.FLOW_DISSECTOR: "4.20",
    ProgramType.CGROUP_SYSCTL: "5.2",
    ProgramType.RAW_TRACEPOINT_WRITABLE: "5.2",
    ProgramType.CGROUP_SOCKOPT: "5.3",
    ProgramType.TRACING: "5.5",
    ProgramType.STRUCT_OPS: "5.6",
    ProgramType.EXT: "5.6",
    ProgramType.LSM: "5.7",
    ProgramType.SK_LOOKUP: "5.9",
    ProgramType.SYSCALL: "5.14",
    ProgramType.NETFILTER: "6.4",
}

ATTACH_TYPES: Final = {
    AttachType.MODIFY_RETURN: "5.7",
    AttachType.TRACE_ITER: "5.8",
    AttachType.XDP_DEVMAP: "5.8",
    AttachType.XDP_CPUMAP: "5.9",
    AttachType.SK_REUSEPORT_SELECT_OR_MIGRATE: "5.14",
    AttachType.TRACE_KPROBE_MULTI: "5.18",
    AttachType.LSM_CGROUP: "6.0",
    AttachType.TCX_INGRESS: "6.6",
    AttachType.TCX_EGRESS: "6.6",
    AttachType.TRACE_UPROBE_MULTI: "6.6",
    AttachType.NETKIT_PRIMARY: "6.7",
    AttachType.NETKIT_PEER: "6.7",
    AttachType.TRACE_KPROBE_SESSION: "6.10",
    AttachType.TRACE_UPROBE_SESSION: "6.13",
}

MAP_TYPES: Final = {
    MapType.PROG_ARRAY: "4.2",
    MapType.PERF_EVENT_ARRAY: "4.3",
    MapType.PERCPU_HASH: "4.6",
    MapType.PERCPU_ARRAY: "4.6",
    MapType.STACK_TRACE: "4.6",
    MapType.CGROUP_ARRAY: "4.8",
    MapType.LRU_HASH: "4.10",
    MapType.LRU_PERCPU_HASH: "4.10",
    MapType.LPM_TRIE: "4.11",
    MapType.ARRAY_OF_MAPS: "4.12",
    MapType.HASH_OF_MAPS: "4.12",
    MapType.DEVMAP: "4.14",
    MapType.SOCKMAP: "4.14",
    MapType.CPUMAP: "4.15",
    MapType.XSKMAP: "4.18",
    MapType.SOCKHASH: "4.18",
    MapType.CGROUP_STORAGE: "4.19",
    MapType.REUSEPORT_SOCKARRAY: "4.19",
    MapType.PERCPU_CGROUP_STORAGE: "4.20",
    MapType.QUEUE: "4.20",
    MapType.STACK: "4.20",
    MapType.SK_STORAGE: "5.2",
    MapType.DEVMAP_HASH: "5.4",
    MapType.STRUCT_OPS: "5.6",
    MapType.RINGBUF: "5.8",
    MapType.INODE_STORAGE: "5.10",
    MapType.TASK_STORAGE: "5.11",
    MapType.BLOOM_FILTER: "5.16",
    MapType.USER_RINGBUF: "6.1",
    MapType.CGRP_STORAGE: "6.2",
    MapType.ARENA: "6.9",
}


def kernel_needs(spec: ObjectSpec) -> list[KernelNeed]:
    """What the object's programs and maps need, the newest first."""
    found: dict[tuple[str, str], list[str]] = {}
    for what, since, by in _needs(spec):
        found.setdefault((what, since), []).append(by)
    needs = [KernelNeed(what, since, tuple(by)) for (what, since), by in found.items()]
    return sorted(needs, key=lambda need: version_number(need.since), reverse=True)


def version_number(version: str) -> tuple[int, ...]:
    """A version to compare: ``"5.10"`` is (5, 10), the empty one comes before all."""
    return tuple(int(part) for part in version.split(".") if part)


def _needs(spec: ObjectSpec) -> Iterator[tuple[str, str, str]]:
    for program in spec.programs.values():
        yield from _program_needs(program)
    for each in spec.maps.values():
        if each.is_data:
            yield "global variables", "5.2", each.name
        elif each.type in MAP_TYPES:
            yield f"map type {MapType(each.type).name}", MAP_TYPES[MapType(each.type)], each.name
    if spec.btf_ext is not None:
        for section in dict.fromkeys(each.section for each in spec.btf_ext.relocations):
            yield "kernel BTF, or BTF given when loading (CO-RE relocations)", "", section
    for extern in spec.externs:
        optional = " (may be absent)" if extern.weak else ""
        if extern.section == ".kconfig":
            yield f"kernel configuration{optional}", "", extern.name
        elif extern.is_function:
            yield f"kernel functions (kfuncs){optional}", "5.13", extern.name
        else:
            yield f"kernel symbols{optional}", "", extern.name


def _program_needs(program: ProgramSpec) -> Iterator[tuple[str, str, str]]:
    if program.type in PROGRAM_TYPES:
        yield f"program type {program.type.name}", PROGRAM_TYPES[program.type], program.name
    if program.attach_type in ATTACH_TYPES:
        since = ATTACH_TYPES[program.attach_type]
        yield f"attach type {program.attach_type.name}", since, program.name
    if ProgramFlags.SLEEPABLE in program.flags and program.type != ProgramType.SYSCALL:
        yield "sleepable programs", "5.10", program.name
    if program.definition is not None and program.definition.needs_btf_target:
        yield "BTF of the running kernel (CONFIG_DEBUG_INFO_BTF)", "", program.name
