"""What the running kernel can do, asked of the kernel when it is first needed.

A question has three outcomes: yes, no, and no answer, where the process may not ask or has run out
of memory or descriptors. The third is an exception and is not remembered: asked again with more
privilege, the kernel may say yes.

Questions leave nothing behind. They load tiny programs or BTF and close them at once; none attaches
anything.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path

import msgspec

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.errors import ENOTSUPP, KernelError, MissingBtfError, NotSupportedError
from bpfstream.kernel import bpf, info, memlock, perf, privileges, symbols, syscalls, tracefs
from bpfstream.kernel import probe_objects as probe
from bpfstream.kernel.btf import kernel_btf
from bpfstream.kernel.program_run import program_test_run

_REFUSALS = frozenset({errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP})
"""What a kernel answers to something that it does not know."""

_GET_ATTACH_COOKIE = 174
_PROBE_READ_KERNEL = 113
_SECURITY_MODULES = Path("/sys/kernel/security/lsm")

_SYSCALL_WRAPPERS = {
    "x86_64": "__x64_sys_bpf",
    "i386": "__ia32_sys_bpf",
    "i686": "__ia32_sys_bpf",
    "aarch64": "__arm64_sys_bpf",
    "s390x": "__s390x_sys_bpf",
    "riscv64": "__riscv_sys_bpf",
    "ppc64": "__powerpc_sys_bpf",
    "ppc64le": "__powerpc_sys_bpf",
}
"""What bpf(2) is called in the kernel where system calls take a ``struct pt_regs``."""


class Feature(Enum):
    """Something that not every kernel has.

    Attributes:
        text: What it is, in words.
        since: The version of Linux that brought it.
    """

    PROGRAM_NAMES = "names of programs", "4.15"
    EXPECTED_ATTACH_TYPE = "expected attach types", "4.17"
    GLOBAL_DATA = "global variables", "5.2"
    ARRAY_MMAP = "memory-mapped arrays", "5.5"
    RINGBUF = "ring buffers", "5.8"
    RINGBUF_OVERWRITE = "ring buffers that overwrite their oldest records", "6.19"
    USER_RINGBUF = "user ring buffers", "6.1"
    MEMCG_ACCOUNTING = "accounting of BPF memory to control groups", "5.11"
    PROBE_READ_KERNEL = "the helper bpf_probe_read_kernel", "5.5"
    ATTACH_COOKIE = "the helper bpf_get_attach_cookie", "5.15"
    BTF = "BTF", "4.18"
    BTF_FUNC = "functions in BTF", "5.0"
    BTF_DATASEC = "data sections in BTF", "5.2"
    BTF_FUNC_GLOBAL = "global functions in BTF", "5.6"
    BTF_FLOAT = "floating-point types in BTF", "5.13"
    BTF_DECL_TAG = "declaration tags in BTF", "5.16"
    BTF_TYPE_TAG = "type tags in BTF", "5.17"
    BTF_ENUM64 = "64-bit enumerations in BTF", "6.0"
    BTF_QUESTION_MARK_DATASEC = "data sections with '?' in their name in BTF", "6.9"
    MODULE_BTF = "BTF of modules", "5.11"
    PERF_LINK = "links of perf events", "5.15"
    XDP_LINK = "links of XDP programs", "5.9"
    TRACING = "tracing programs (fentry, fexit, fmod_ret)", "5.5"
    LSM = "LSM programs (CONFIG_BPF_LSM)", "5.7"
    LSM_ACTIVE = "an active BPF security module ('bpf' in lsm=)", "5.7"
    KPROBE_PMU = "kprobes as perf events", "4.17"
    UPROBE_PMU = "uprobes as perf events", "4.17"
    UPROBE_REFERENCE_COUNTER = "reference counters of uprobes", "4.20"
    TRACEFS_KPROBES = "kprobe_events in tracefs", "3.15"
    TRACEFS_UPROBES = "uprobe_events in tracefs", "3.15"
    RAW_TRACEPOINT_TEST_RUN = "test runs of raw tracepoint programs", "5.10"
    SYSCALL_PROGRAMS = "programs that make system calls", "5.14"
    SYSCALL_WRAPPER = "system calls behind wrappers with a pt_regs argument", "4.17"

    def __init__(self, text: str, since: str) -> None:
        self.text = text
        self.since = since


@cache  # which keeps answers, not exceptions
def supports(feature: Feature) -> bool:
    """Whether the running kernel has a feature.

    Raises:
        PermissionDeniedError: This process may not ask.
        KernelError: The kernel could not answer now.
    """
    question = _QUESTIONS[feature]
    try:
        return question.ask()
    except OSError as error:
        raise privileges.explain(
            f"ask the kernel for {feature.text}", error, program_type=question.program_type
        ) from error


def require(feature: Feature, operation: str) -> None:
    """Raise an error unless the running kernel has a feature.

    Args:
        feature: What is needed.
        operation: What for: ``"attach 'handle_exec' to a perf event"``.

    Raises:
        NotSupportedError: It has not.
        PermissionDeniedError: This process may not ask.
        KernelError: The kernel could not answer now.
    """
    if not supports(feature):
        raise NotSupportedError(
            operation,
            errno.EOPNOTSUPP,
            feature=feature.text,
            since=feature.since,
            kernel=os.uname().release,
        )


def _accepts(create: Callable[[], int]) -> bool:
    """Whether the kernel makes something, which is closed at once."""
    try:
        fd = create()
    except OSError as error:
        if error.errno in _REFUSALS:
            return False
        raise
    os.close(fd)
    return True


def _answers(expected: int, call: Callable[[], object]) -> bool:
    """Whether the kernel gets so far in a call that must fail as to answer with this errno."""
    try:
        call()
    except OSError as error:
        if error.errno == expected:
            return True
        if error.errno in _REFUSALS:
            return False
        raise
    raise OSError(errno.EPROTO, "a call succeeded that can't")


def _loads(
    program_type: ProgramType,
    code: bytes = probe.RETURN_ZERO,
    *,
    attach_type: int = 0,
    name: str = "",
    flags: int = 0,
) -> bool:
    return _accepts(
        lambda: bpf.program_load(
            program_type,
            code,
            license="GPL",
            attach_type=attach_type,
            name=name,
            flags=flags,
            log_level=0,
        )
    )


def _takes_btf(*types: list[int], strings: bytes = b"\0int\0x\0") -> bool:
    return _accepts(lambda: bpf.btf_load(probe.btf([probe.INT, *types], strings), log_size=0))


def _global_data() -> bool:
    array = bpf.map_create(MapType.ARRAY, 4, 32, 1)
    try:
        return _loads(ProgramType.SOCKET_FILTER, probe.addressing(array))
    finally:
        os.close(array)


def _array_mmap() -> bool:
    return _accepts(lambda: bpf.map_create(MapType.ARRAY, 4, 4, 1, MapFlags.MMAPABLE))


def _ringbuf(map_type: MapType, flags: int = 0) -> bool:
    size = os.sysconf("SC_PAGE_SIZE")
    return _accepts(lambda: bpf.map_create(map_type, 0, 0, size, flags))


_FUNC_PROTO = probe.btf_type(0, Kind.FUNC_PROTO, 0, 5, 1, count=1)
_VAR = probe.btf_type(5, Kind.VAR, 1, 0)


def _btf_func(linkage: Linkage) -> bool:
    return _takes_btf(_FUNC_PROTO, probe.btf_type(5, Kind.FUNC, 2, count=linkage))


def _btf_datasec(name: bytes) -> bool:
    section = probe.btf_type(7, Kind.DATASEC, 4, 2, 0, 4, count=1)
    return _takes_btf(_VAR, section, strings=b"\0int\0x\0" + name + b"\0")


def _btf_type_tag() -> bool:
    return _takes_btf(probe.btf_type(5, Kind.TYPE_TAG, 1), probe.btf_type(0, Kind.PTR, 2))


def _module_btf() -> bool:
    fd = bpf.btf_load(probe.btf([probe.INT]), log_size=0)
    try:
        info.btf_name(fd)
    except OSError as error:
        if error.errno in _REFUSALS:
            return False
        raise
    finally:
        os.close(fd)
    return True


def _perf_link() -> bool:
    # Older kernels refuse the attach type before they look at the event, which is none.
    fd = bpf.program_load(ProgramType.TRACEPOINT, probe.RETURN_ZERO, license="GPL", log_level=0)
    try:
        return _answers(errno.EBADF, lambda: bpf.link_create(fd, -1, AttachType.PERF_EVENT))
    finally:
        os.close(fd)


def _xdp_link() -> bool:
    # As for perf links; here the program is the one that is none.
    return _answers(errno.EBADF, lambda: bpf.link_create(-1, 0, AttachType.XDP))


def _knows_target_types(program_type: ProgramType, attach_type: AttachType) -> bool:
    """Whether the kernel looks up the target of a program, whose type 1 is no function."""
    try:
        fd = bpf.program_load(
            program_type,
            probe.RETURN_ZERO,
            license="GPL",
            attach_type=attach_type,
            attach_btf_id=1,
        )
    except bpf.ProgramLoadFailed as error:
        if error.errno in _REFUSALS:
            return "is not a function" in error.log
        raise
    os.close(fd)
    return True


def _lsm_active() -> bool:
    try:
        return "bpf" in _SECURITY_MODULES.read_text().strip().split(",")
    except OSError as error:
        raise KernelError(
            f"read {_SECURITY_MODULES}",
            error.errno or errno.EIO,
            reason="the list of security modules can't be read",
            hint="mount it: mount -t securityfs nodev /sys/kernel/security",
        ) from error


def _has_pmu(name: str) -> bool:
    if not perf.PMU_DIRECTORY.is_dir():
        raise syscalls.kernel_error(errno.ENOENT)  # without sysfs there is no answer
    return perf.pmu_type(name) is not None


def _uprobe_reference_counter() -> bool:
    return _has_pmu("uprobe") and perf.pmu_format_bit("uprobe", "ref_ctr_offset") is not None


def _raw_tracepoint_test_run() -> bool:
    fd = bpf.program_load(ProgramType.RAW_TRACEPOINT, probe.RETURN_ZERO, license="GPL", log_level=0)
    try:
        program_test_run(fd)
    except OSError as error:
        if error.errno == ENOTSUPP:
            return False
        raise
    finally:
        os.close(fd)
    return True


def _syscall_wrapper() -> bool:
    name = _SYSCALL_WRAPPERS.get(syscalls.machine())
    if name is None:
        return False
    try:
        if kernel_btf().find(name, Kind.FUNC) is not None:
            return True
    except MissingBtfError:
        pass  # the list of symbols, which is slower to search, knows it too
    return bool(symbols.find_symbols([name]))


class _Question(msgspec.Struct, frozen=True):
    """How the kernel is asked.

    Attributes:
        ask: Asks it; an OSError is no answer.
        program_type: The type of the program that asking takes, which says what privilege it takes.
    """

    ask: Callable[[], bool]
    program_type: ProgramType = ProgramType.SOCKET_FILTER


_QUESTIONS = {
    Feature.PROGRAM_NAMES: _Question(lambda: _loads(ProgramType.SOCKET_FILTER, name="probe")),
    Feature.EXPECTED_ATTACH_TYPE: _Question(
        lambda: _loads(ProgramType.CGROUP_SOCK, attach_type=AttachType.CGROUP_INET_SOCK_CREATE),
        ProgramType.CGROUP_SOCK,
    ),
    Feature.GLOBAL_DATA: _Question(_global_data),
    Feature.ARRAY_MMAP: _Question(_array_mmap),
    Feature.RINGBUF: _Question(lambda: _ringbuf(MapType.RINGBUF)),
    Feature.RINGBUF_OVERWRITE: _Question(lambda: _ringbuf(MapType.RINGBUF, MapFlags.RB_OVERWRITE)),
    Feature.USER_RINGBUF: _Question(lambda: _ringbuf(MapType.USER_RINGBUF)),
    Feature.MEMCG_ACCOUNTING: _Question(memlock.probe_cgroup_accounting),
    Feature.PROBE_READ_KERNEL: _Question(
        lambda: _loads(ProgramType.TRACEPOINT, probe.reading(_PROBE_READ_KERNEL)),
        ProgramType.TRACEPOINT,
    ),
    Feature.ATTACH_COOKIE: _Question(
        lambda: _loads(ProgramType.TRACEPOINT, probe.calling(_GET_ATTACH_COOKIE)),
        ProgramType.TRACEPOINT,
    ),
    Feature.BTF: _Question(_takes_btf),
    Feature.BTF_FUNC: _Question(lambda: _btf_func(Linkage.STATIC)),
    Feature.BTF_FUNC_GLOBAL: _Question(lambda: _btf_func(Linkage.GLOBAL)),
    Feature.BTF_DATASEC: _Question(lambda: _btf_datasec(b".data")),
    Feature.BTF_QUESTION_MARK_DATASEC: _Question(lambda: _btf_datasec(b"?.data")),
    Feature.BTF_FLOAT: _Question(lambda: _takes_btf(probe.btf_type(5, Kind.FLOAT, 4))),
    Feature.BTF_DECL_TAG: _Question(
        lambda: _takes_btf(_VAR, probe.btf_type(5, Kind.DECL_TAG, 2, -1))
    ),
    Feature.BTF_TYPE_TAG: _Question(_btf_type_tag),
    Feature.BTF_ENUM64: _Question(
        lambda: _takes_btf(probe.btf_type(5, Kind.ENUM64, 8, 5, 0, 0, count=1))
    ),
    Feature.MODULE_BTF: _Question(_module_btf),
    Feature.PERF_LINK: _Question(_perf_link, ProgramType.TRACEPOINT),
    Feature.XDP_LINK: _Question(_xdp_link),
    Feature.TRACING: _Question(
        lambda: _knows_target_types(ProgramType.TRACING, AttachType.TRACE_FENTRY),
        ProgramType.TRACING,
    ),
    Feature.LSM: _Question(
        lambda: _knows_target_types(ProgramType.LSM, AttachType.LSM_MAC), ProgramType.LSM
    ),
    Feature.LSM_ACTIVE: _Question(_lsm_active),
    Feature.KPROBE_PMU: _Question(lambda: _has_pmu("kprobe")),
    Feature.UPROBE_PMU: _Question(lambda: _has_pmu("uprobe")),
    Feature.UPROBE_REFERENCE_COUNTER: _Question(_uprobe_reference_counter),
    Feature.TRACEFS_KPROBES: _Question(lambda: tracefs.has_file("kprobe_events")),
    Feature.TRACEFS_UPROBES: _Question(lambda: tracefs.has_file("uprobe_events")),
    Feature.RAW_TRACEPOINT_TEST_RUN: _Question(
        _raw_tracepoint_test_run, ProgramType.RAW_TRACEPOINT
    ),
    Feature.SYSCALL_PROGRAMS: _Question(
        lambda: _loads(ProgramType.SYSCALL, flags=ProgramFlags.SLEEPABLE), ProgramType.SYSCALL
    ),
    Feature.SYSCALL_WRAPPER: _Question(_syscall_wrapper),
}
