"""Which types of programs and maps the running kernel has, asked like the features are.

A type is asked for with the smallest program or map of it. An answer is yes or no; a kernel that
refuses to answer, for want of privilege, raises and is asked again the next time.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from functools import cache

from bpfstream.abi.helpers import Helper
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.errors import ENOTSUPP
from bpfstream.kernel import bpf
from bpfstream.kernel import probe_objects as probe
from bpfstream.kernel.privileges import explain

_UNKNOWN = frozenset({errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP})
"""What a kernel answers to a type that it does not know."""

_ATTACH_TYPES: Mapping[ProgramType, AttachType] = {
    ProgramType.CGROUP_SOCK: AttachType.CGROUP_INET_SOCK_CREATE,
    ProgramType.CGROUP_SOCK_ADDR: AttachType.CGROUP_INET4_CONNECT,
    ProgramType.CGROUP_SOCKOPT: AttachType.CGROUP_GETSOCKOPT,
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
    ProgramType.LIRC_MODE2: AttachType.LIRC_MODE2,
    ProgramType.NETFILTER: AttachType.NETFILTER,
    ProgramType.SK_REUSEPORT: AttachType.SK_REUSEPORT_SELECT,
    ProgramType.TRACING: AttachType.TRACE_FENTRY,
    ProgramType.LSM: AttachType.LSM_MAC,
}
"""Types whose programs are refused without the hook that they are for."""

_ANSWERS_BEHIND_THE_TYPE: Mapping[ProgramType, str] = {
    ProgramType.TRACING: "is not a function",
    ProgramType.LSM: "is not a function",
    ProgramType.EXT: "Cannot replace kernel functions",
}
"""What a kernel says of type 1 of its BTF as a target, when it knows the type of program."""

_NOT_BY_LOADING = frozenset(
    {ProgramType.TRACING, ProgramType.LSM, ProgramType.EXT, ProgramType.STRUCT_OPS}
)
"""Types whose programs need a target in the kernel, so that no helper can be tried in them."""


@cache  # which keeps answers, not exceptions
def has_program_type(program_type: ProgramType) -> bool:
    """Whether programs of a type can be loaded.

    Raises:
        PermissionDeniedError: This process may not ask.
        KernelError: The kernel could not answer now.
    """
    try:
        return _asks_for_program_type(program_type)
    except OSError as error:
        raise explain(
            f"ask the kernel for programs of type {program_type.name}",
            error,
            program_type=program_type,
        ) from error


def _asks_for_program_type(program_type: ProgramType) -> bool:
    try:
        _load(program_type, probe.RETURN_ZERO)
    except bpf.ProgramLoadFailed as error:
        said = _ANSWERS_BEHIND_THE_TYPE.get(program_type)
        if said is not None and said in error.log:
            return True
        if program_type == ProgramType.STRUCT_OPS and error.errno == ENOTSUPP:
            return True  # it looks for the struct that the program belongs to
        if error.errno in _UNKNOWN:
            return False
        raise
    return True


def _load(program_type: ProgramType, code: bytes) -> None:
    """Load and close a program.

    Raises:
        ProgramLoadFailed: It was refused.
    """
    needs_target = program_type in _ANSWERS_BEHIND_THE_TYPE
    os.close(
        bpf.program_load(
            program_type,
            code,
            license="GPL",
            attach_type=_ATTACH_TYPES.get(program_type, 0),
            attach_btf_id=1 if needs_target else 0,
            flags=ProgramFlags.SLEEPABLE if program_type == ProgramType.SYSCALL else 0,
            log_level=1,
        )
    )


@cache
def has_helper(program_type: ProgramType, helper: Helper) -> bool | None:
    """Whether programs of a type may call a helper; None where no program of it can be tried.

    Raises:
        PermissionDeniedError: This process may not ask.
        KernelError: The kernel could not answer now.
    """
    if program_type in _NOT_BY_LOADING:
        return None
    if not has_program_type(program_type):
        return False
    try:
        return _asks_for_helper(program_type, helper)
    except OSError as error:
        raise explain(
            f"ask the kernel for the helper {helper.name.lower()}",
            error,
            program_type=program_type,
        ) from error


def _asks_for_helper(program_type: ProgramType, helper: Helper) -> bool:
    try:
        _load(program_type, probe.calling(helper))
    except bpf.ProgramLoadFailed as error:
        # kernel/bpf/verifier.c, check_helper_call: "program of this type cannot use helper NAME#N"
        # (before 6.11 "unknown func NAME#N"), and "invalid func unknown#N"
        if re.search(rf"(cannot use helper|unknown func|invalid func) \S*#{helper:d}\b", error.log):
            return False
        if f"call bpf_{helper.name.lower()}#{helper:d}" in error.log or "R1 " in error.log:
            return True  # it came as far as to look at the arguments, of which there are none
        if error.errno in (errno.EACCES, errno.EINVAL) and error.log:
            return True
        raise
    return True


@cache
def has_map_type(map_type: MapType) -> bool:
    """Whether maps of a type can be created.

    Raises:
        PermissionDeniedError: This process may not ask.
        KernelError: The kernel could not answer now.
    """
    try:
        return _asks_for_map_type(map_type)
    except OSError as error:
        raise explain(
            f"ask the kernel for maps of type {map_type.name}", error, map_type=map_type
        ) from error


def _asks_for_map_type(map_type: MapType) -> bool:
    expected = _EXPECTED_REFUSALS.get(map_type)
    try:
        os.close(_create(map_type))
    except OSError as error:
        if error.errno == expected:
            return True
        if error.errno in _UNKNOWN:
            return False
        raise
    return True


_EXPECTED_REFUSALS: Mapping[MapType, int] = {
    MapType.ARRAY_OF_MAPS: errno.EBADF,  # of the inner map, -1
    MapType.HASH_OF_MAPS: errno.EBADF,
    MapType.SK_STORAGE: errno.EBADF,  # of the BTF, -1
    MapType.INODE_STORAGE: errno.EBADF,
    MapType.TASK_STORAGE: errno.EBADF,
    MapType.CGRP_STORAGE: errno.EBADF,
    MapType.STRUCT_OPS: ENOTSUPP,  # of the struct, which is type 1
}
"""What a kernel answers, when it knows a type, to a map that can't be created."""


def _create(map_type: MapType) -> int:
    """Create the smallest map of a type; what can't be created by this leaves an errno."""
    page = os.sysconf("SC_PAGE_SIZE")
    match map_type:
        case MapType.RINGBUF | MapType.USER_RINGBUF:
            return bpf.map_create(map_type, 0, 0, page)
        case MapType.ARENA:
            return bpf.map_create(map_type, 0, 0, 1, MapFlags.MMAPABLE)
        case MapType.QUEUE | MapType.STACK | MapType.BLOOM_FILTER:
            return bpf.map_create(map_type, 0, 4, 1)
        case MapType.LPM_TRIE:
            return bpf.map_create(map_type, 8, 8, 1, MapFlags.NO_PREALLOC)
        case MapType.STACK_TRACE:
            return bpf.map_create(map_type, 4, 8, 1)
        case MapType.CGROUP_STORAGE | MapType.PERCPU_CGROUP_STORAGE:
            return bpf.map_create(map_type, 16, 8, 0)
        case MapType.ARRAY_OF_MAPS | MapType.HASH_OF_MAPS:
            return bpf.map_create(map_type, 4, 4, 1, inner_map_fd=-1)
        case (
            MapType.SK_STORAGE | MapType.INODE_STORAGE | MapType.TASK_STORAGE | MapType.CGRP_STORAGE
        ):
            return bpf.map_create(
                map_type,
                4,
                4,
                0,
                MapFlags.NO_PREALLOC,
                btf_fd=-1,
                btf_key_type_id=1,
                btf_value_type_id=1,
            )
        case MapType.STRUCT_OPS:
            return bpf.map_create(map_type, 4, 4, 1, btf_vmlinux_value_type_id=1)
        case MapType.CPUMAP | MapType.DEVMAP | MapType.DEVMAP_HASH:
            return bpf.map_create(map_type, 4, 4, 1)
        case MapType.REUSEPORT_SOCKARRAY | MapType.SOCKMAP | MapType.SOCKHASH | MapType.XSKMAP:
            return bpf.map_create(map_type, 4, 4, 1)
        case MapType.INSN_ARRAY:
            return bpf.map_create(map_type, 4, 16, 1)
    return bpf.map_create(map_type, 4, 4, 1)


_JUMP_LESS = probe.instruction(0xA5, 0, immediate=1)
_JUMP32 = probe.instruction(0xA6, 0, immediate=1)
_GOTO_LONG = probe.instruction(0x06, immediate=0)

_ISA_TRIALS: Mapping[int, bytes] = {2: _JUMP_LESS, 3: _JUMP32, 4: _GOTO_LONG}
"""An instruction that came with each version: ``if r0 < 1 goto +0`` in 64 and 32 bits, and
``gotol +0`` (Documentation/bpf/standardization/instruction-set.rst)."""


@cache
def instruction_set_version() -> int:
    """The newest version of the instruction set that programs can use, 1 to 4 (``clang -mcpu``).

    Raises:
        PermissionDeniedError: This process may not ask.
        KernelError: The kernel could not answer now.
    """
    newest = 1
    move = probe.RETURN_ZERO[:8]
    for version, instruction in _ISA_TRIALS.items():
        try:
            _load(ProgramType.SOCKET_FILTER, move + instruction + probe.RETURN_ZERO)
        except bpf.ProgramLoadFailed as error:
            if error.errno in _UNKNOWN:
                break
            raise explain(
                "ask the kernel for its instruction set",
                error,
                program_type=ProgramType.SOCKET_FILTER,
            ) from error
        newest = version
    return newest
