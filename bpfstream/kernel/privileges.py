"""Why the kernel refused: which of its many rules a process ran into.

A refusal is an errno, EPERM or EACCES mostly, and a dozen rules give the same one. So they are
looked at one after another, the commonest first, and each is blamed only on evidence.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from bpfstream.abi import attributes
from bpfstream.abi.capabilities import Capability
from bpfstream.abi.commands import Command
from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.errors import KernelError, NotSupportedError, PermissionDeniedError
from bpfstream.kernel import memlock
from bpfstream.kernel.probe_objects import RETURN_ZERO
from bpfstream.kernel.syscalls import address_of, bpf

_TRACING_TYPES = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
        ProgramType.TRACING,
        ProgramType.LSM,
        ProgramType.STRUCT_OPS,
        ProgramType.EXT,
    }
)
"""Programs that need CAP_PERFMON (kernel/bpf/syscall.c, is_perfmon_prog_type)."""

_NETWORK_TYPES = frozenset(
    {
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.XDP,
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_XMIT,
        ProgramType.LWT_SEG6LOCAL,
        ProgramType.SK_SKB,
        ProgramType.SK_MSG,
        ProgramType.LIRC_MODE2,
        ProgramType.FLOW_DISSECTOR,
        ProgramType.CGROUP_DEVICE,
        ProgramType.CGROUP_SOCK,
        ProgramType.CGROUP_SOCK_ADDR,
        ProgramType.CGROUP_SOCKOPT,
        ProgramType.CGROUP_SYSCTL,
        ProgramType.SOCK_OPS,
        ProgramType.EXT,
        ProgramType.NETFILTER,
    }
)
"""Programs that need CAP_NET_ADMIN (kernel/bpf/syscall.c, is_net_admin_prog_type)."""

_NETWORK_MAPS = frozenset(
    {
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.XSKMAP,
    }
)

_ADMINISTRATORS_COMMANDS = frozenset(
    {
        Command.PROG_GET_NEXT_ID,
        Command.MAP_GET_NEXT_ID,
        Command.BTF_GET_NEXT_ID,
        Command.LINK_GET_NEXT_ID,
        Command.PROG_GET_FD_BY_ID,
        Command.MAP_GET_FD_BY_ID,
        Command.BTF_GET_FD_BY_ID,
        Command.LINK_GET_FD_BY_ID,
        Command.ENABLE_STATS,
        Command.TASK_FD_QUERY,
    }
)

_UNTARGETED = frozenset({AttachType.TRACE_RAW_TP, AttachType.TRACE_ITER})
_FUNCTION_TYPES = frozenset({ProgramType.TRACING, ProgramType.LSM, ProgramType.EXT})
_WHOLE_UID_RANGE = ("0", "0", "4294967295")
_SECCOMP_FILTER = 2


class Privileges(msgspec.Struct, frozen=True):
    """What a process may do, and the rules of its system.

    Attributes:
        capabilities: Those of its effective capabilities that matter here.
        separate_capabilities: Whether the kernel knows CAP_BPF and CAP_PERFMON (Linux 5.8); before,
            all is CAP_SYS_ADMIN.
        in_user_namespace: Whether it lives in a user namespace other than the first, where
            capabilities count for little.
        seccomp_filter: Whether a seccomp filter checks its system calls.
        unprivileged_bpf_disabled: The sysctl: 0 lets everyone load some programs.
        perf_event_paranoid: The sysctl: from 2 on, only CAP_PERFMON sees the kernel.
        lockdown: ``none``, ``integrity``, ``confidentiality``, or empty when unknown.
    """

    capabilities: frozenset[Capability]
    separate_capabilities: bool
    in_user_namespace: bool
    seccomp_filter: bool
    unprivileged_bpf_disabled: int | None
    perf_event_paranoid: int | None
    lockdown: str

    def lacks(self, needed: Iterable[Capability]) -> tuple[Capability, ...]:
        """Which of these capabilities are missing; CAP_SYS_ADMIN stands for all."""
        if Capability.SYS_ADMIN in self.capabilities:
            return ()
        wanted = set(needed)
        if not self.separate_capabilities and wanted & {Capability.BPF, Capability.PERFMON}:
            wanted = wanted - {Capability.BPF, Capability.PERFMON} | {Capability.SYS_ADMIN}
        return tuple(sorted(wanted - self.capabilities, reverse=True))


def _read(path: Path) -> str:
    """A small file's text; empty when it can't be read, which then says nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _read_number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def read_privileges(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Privileges:
    """Look at this process and its system (proc(5), capabilities(7), kernel_lockdown(7))."""
    status = dict(re.findall(r"^(\w+):\s*(\S*)", _read(proc / "self/status"), re.MULTILINE))
    effective = int(status.get("CapEff") or "0", 16)
    uid_map = tuple(_read(proc / "self/uid_map").split())
    lockdown = re.search(r"\[(\w+)\]", _read(sys / "kernel/security/lockdown"))
    last_capability = _read_number(proc / "sys/kernel/cap_last_cap")
    return Privileges(
        capabilities=frozenset(each for each in Capability if effective >> each & 1),
        separate_capabilities=last_capability is None or last_capability >= Capability.BPF,
        in_user_namespace=bool(uid_map) and uid_map != _WHOLE_UID_RANGE,
        seccomp_filter=status.get("Seccomp") == str(_SECCOMP_FILTER),
        unprivileged_bpf_disabled=_read_number(proc / "sys/kernel/unprivileged_bpf_disabled"),
        perf_event_paranoid=_read_number(proc / "sys/kernel/perf_event_paranoid"),
        lockdown=lockdown[1] if lockdown else "",
    )


def needed_capabilities(
    *,
    command: Command | None = None,
    program_type: int | None = None,
    map_type: int | None = None,
    pmu: str | None = None,
) -> frozenset[Capability]:
    """The capabilities that an operation needs on a system of usual settings (Linux 5.8 on).

    Args:
        command: The command of bpf(2).
        program_type: The type of a program to be loaded.
        map_type: The type of a map to be created.
        pmu: The kind of perf event to be opened: a PMU's name, ``tracepoint``, ``software``.
    """
    needed = set()
    if program_type is not None or map_type is not None or command == Command.BTF_LOAD:
        needed.add(Capability.BPF)
    if program_type in _TRACING_TYPES:
        needed.add(Capability.PERFMON)
    if program_type in _NETWORK_TYPES or map_type in _NETWORK_MAPS:
        needed.add(Capability.NET_ADMIN)
    if pmu is not None:
        # perf_uprobe_event_init asks for more than perf_kprobe_event_init (kernel/events/core.c).
        needed.add(Capability.SYS_ADMIN if pmu == "uprobe" else Capability.PERFMON)
    if command in _ADMINISTRATORS_COMMANDS:
        needed.add(Capability.SYS_ADMIN)
    return frozenset(needed)


def bpf_is_blocked() -> bool:
    """Whether even a harmless command of bpf(2) is refused, one that needs no privilege."""
    try:
        bpf(Command.OBJ_GET_INFO_BY_FD, attributes.INFO.pack(bpf_fd=-1))
    except OSError as error:
        return error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS)
    return False


def _socket_filter_loads() -> bool:
    """Whether the plainest of all programs can be loaded."""
    code, license_text = bytearray(RETURN_ZERO), bytearray(b"\0")
    request = attributes.PROG_LOAD.pack(
        prog_type=ProgramType.SOCKET_FILTER,
        insn_cnt=len(code) // 8,
        insns=address_of(code),
        license=address_of(license_text),
    )
    try:
        os.close(bpf(Command.PROG_LOAD, request))
    except OSError:
        return False
    return True


def _names(capabilities: Collection[Capability]) -> str:
    return " and ".join(f"CAP_{each.name}" for each in capabilities)


def _capability_hint(capabilities: Collection[Capability]) -> str:
    options = " ".join(f"--cap-add={each.name}" for each in capabilities)
    return f"run as root, or with {_names(capabilities)} (setcap; in a container {options})"


def explain(
    operation: str,
    error: OSError,
    *,
    command: Command | None = None,
    program_type: int | None = None,
    attach_type: int | None = None,
    map_type: int | None = None,
    pmu: str | None = None,
    log: str = "",
) -> KernelError:
    """Turn the kernel's errno into an error that says why and what to do.

    Args:
        operation: What was tried, in words: ``"create map 'events'"``.
        error: What it failed with.
        command: The command of bpf(2), if it was one that needs more than the other arguments say.
        program_type: The type of the program that was to be loaded.
        attach_type: Its expected attach type.
        map_type: The type of the map that was to be created.
        pmu: The kind of perf event that was to be opened: a PMU's name, ``tracepoint``,
            ``software``.
        log: The verifier's log. When there is one, the verifier refused and no privilege lacks.

    Returns:
        The error, to be raised: a `PermissionDeniedError` for a lack of privilege, a
        `NotSupportedError` where the kernel has no bpf(2), else a plain `KernelError`.
    """
    code = error.errno or errno.EIO
    if code == errno.ENOSYS:
        return _without_system_call(operation, code, pmu)
    if code not in (errno.EPERM, errno.EACCES) or log:
        return KernelError(operation, code, reason=error.strerror or "")
    own = read_privileges()
    needed = needed_capabilities(
        command=command, program_type=program_type, map_type=map_type, pmu=pmu
    )
    reason, hint = (
        _missing_capability(own, needed, pmu)
        or _outside_rule(own, pmu)
        or _memory_limit(program_type, map_type)
        or _lockdown(own, program_type, pmu)
        or _policy(program_type, attach_type)
        or ("the kernel forbids it, perhaps by a security module (LSM)", "")
    )
    return PermissionDeniedError(operation, code, reason=reason, hint=hint)


def _without_system_call(operation: str, code: int, pmu: str | None) -> KernelError:
    name = "perf_event_open(2)" if pmu is not None else "bpf(2)"
    if read_privileges().seccomp_filter:
        return PermissionDeniedError(
            operation,
            code,
            reason=f"a seccomp filter of this process blocks {name}",
            hint=_SECCOMP_HINT,
        )
    option = "CONFIG_PERF_EVENTS" if pmu is not None else "CONFIG_BPF_SYSCALL"
    return NotSupportedError(operation, code, feature=f"the system call {name} ({option})")


_SECCOMP_HINT = "allow it in the container's or service's seccomp profile"


def _missing_capability(
    own: Privileges, needed: frozenset[Capability], pmu: str | None
) -> tuple[str, str] | None:
    lacking = own.lacks(needed)
    if not lacking:
        return None
    reason = f"this process lacks {_names(lacking)}"
    if pmu is not None and own.perf_event_paranoid is not None:
        reason += f", and kernel.perf_event_paranoid is {own.perf_event_paranoid}"
    elif Capability.BPF in lacking and own.unprivileged_bpf_disabled:
        reason += f", and kernel.unprivileged_bpf_disabled is {own.unprivileged_bpf_disabled}"
    if own.seccomp_filter and pmu is None and bpf_is_blocked():
        reason += ", and a seccomp filter may block bpf(2) too"
    return reason, _capability_hint(lacking)


def _outside_rule(own: Privileges, pmu: str | None) -> tuple[str, str] | None:
    """Rules that capabilities don't help against."""
    if own.in_user_namespace:
        return (
            "this process lives in a user namespace, whose capabilities do not count here",
            "run it outside of the rootless container or user namespace",
        )
    if pmu is None and bpf_is_blocked():
        if own.seccomp_filter:
            return "a seccomp filter of this process blocks bpf(2)", _SECCOMP_HINT
        return "a security module (LSM) blocks bpf(2)", ""
    return None


def _memory_limit(program_type: int | None, map_type: int | None) -> tuple[str, str] | None:
    charged = program_type is not None or map_type is not None
    if not charged or not memlock.limit_is_finite() or memlock.memory_counts_to_cgroup():
        return None
    return (
        "RLIMIT_MEMLOCK, against which Linux before 5.11 counts BPF memory, is used up",
        "raise the limit (ulimit -l unlimited; LimitMEMLOCK=infinity), or give CAP_SYS_RESOURCE",
    )


def _lockdown(own: Privileges, program_type: int | None, pmu: str | None) -> tuple[str, str] | None:
    if own.lockdown != "confidentiality" or (pmu is None and program_type not in _TRACING_TYPES):
        return None
    return (
        "kernel lockdown is on (confidentiality), which hides kernel memory from tracing",
        "boot with lockdown=integrity or without Secure Boot",
    )


def _policy(program_type: int | None, attach_type: int | None) -> tuple[str, str] | None:
    """Kernels built to refuse programs that hook functions do so before they look at one."""
    hooks_function = program_type in _FUNCTION_TYPES and attach_type not in _UNTARGETED
    if not hooks_function or not _socket_filter_loads():
        return None
    return (
        "a policy of this kernel refuses fentry, fexit, fmod_ret, LSM and freplace programs",
        "it loads others: use tp_btf, raw_tp, tracepoint or kprobe programs",
    )
