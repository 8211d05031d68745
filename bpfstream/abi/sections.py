"""The section name grammar: what a program is, by the name of the ELF section that holds it.

One table, `SECTION_DEFINITIONS`, in the order in which libbpf tries its own (libbpf.c,
``section_defs``; the names are documented in Documentation/bpf/libbpf/program_types.rst). A row
matches its exact name, and, where it takes extras, also ``name/extras``; the first row that matches
counts. A ``?`` before the name means that the program is left out unless it is asked for.
"""

from enum import Enum
from typing import Final

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType


class AttachKind(Enum):
    """How a program of a section is attached: each kind has a way of its own."""

    RAW_TRACEPOINT = "raw_tracepoint"
    TP_BTF = "tp_btf"
    TRACEPOINT = "tracepoint"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    KPROBE_MULTI = "kprobe.multi"
    KRETPROBE_MULTI = "kretprobe.multi"
    KPROBE_SESSION = "kprobe.session"
    KSYSCALL = "ksyscall"
    KRETSYSCALL = "kretsyscall"
    UPROBE = "uprobe"
    URETPROBE = "uretprobe"
    UPROBE_MULTI = "uprobe.multi"
    URETPROBE_MULTI = "uretprobe.multi"
    UPROBE_SESSION = "uprobe.session"
    USDT = "usdt"
    PERF_EVENT = "perf_event"
    TRACING = "tracing"
    """fentry, fexit, fmod_ret and fsession: one function of the kernel each."""
    TRACING_MULTI = "tracing.multi"
    LSM = "lsm"
    LSM_CGROUP = "lsm_cgroup"
    FREPLACE = "freplace"
    ITERATOR = "iterator"
    SYSCALL = "syscall"
    """Run by a call, attached to nothing."""
    STRUCT_OPS = "struct_ops"
    """Attached with the map that holds the operations."""
    SOCKET_FILTER = "socket_filter"
    SK_REUSEPORT = "sk_reuseport"
    SK_LOOKUP = "sk_lookup"
    SOCKMAP = "sockmap"
    """sk_skb and sk_msg: attached to a map of sockets."""
    FLOW_DISSECTOR = "flow_dissector"
    TC = "tc"
    """A classifier or action: the section doesn't say in which direction."""
    TCX = "tcx"
    NETKIT = "netkit"
    XDP = "xdp"
    XDP_MAP_ENTRY = "xdp_map_entry"
    """Runs where a device map or CPU map sends a packet: attached by an entry of that map."""
    LWT = "lwt"
    NETFILTER = "netfilter"
    LIRC_MODE2 = "lirc_mode2"
    CGROUP = "cgroup"


class BtfTarget(msgspec.Struct, frozen=True):
    """The type of the kernel's BTF that a program's target stands for.

    Attributes:
        prefix: What precedes the target's name in BTF.
        kind: The kind of type that bears the name.
    """

    prefix: str
    kind: Kind


_BTF_TARGETS: Final = {
    AttachType.TRACE_RAW_TP: BtfTarget("btf_trace_", Kind.TYPEDEF),
    AttachType.LSM_MAC: BtfTarget("bpf_lsm_", Kind.FUNC),
    AttachType.LSM_CGROUP: BtfTarget("bpf_lsm_", Kind.FUNC),
    AttachType.TRACE_ITER: BtfTarget("bpf_iter_", Kind.FUNC),
}
_BTF_FUNCTION: Final = BtfTarget("", Kind.FUNC)


def btf_target(attach_type: AttachType) -> BtfTarget:
    """What the target of a program of this attach type is called in the kernel's BTF.

    A plain function, but for the attach types that put a prefix before the name
    (kernel/bpf/verifier.c, ``bpf_check_attach_target``).
    """
    return _BTF_TARGETS.get(attach_type, _BTF_FUNCTION)


class SectionDefinition(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        name: The section's name, without ``?`` and extras.
        type: The program type to load as.
        attach_type: The expected attach type to load with; 0 where the type has none.
        kind: How such a program is attached.
        takes_extras: ``name/extras`` matches too; the extras say what to attach to.
        flags: Flags to load with.
        attach_is_optional: The kernel takes the program without an expected attach type too, so
            that a kernel that knows no such attribute may be given 0.
        needs_btf_target: Loading needs the BTF id of what the extras name: see `btf_target`.
    """

    name: str
    type: ProgramType
    attach_type: AttachType
    kind: AttachKind
    takes_extras: bool = False
    flags: ProgramFlags = ProgramFlags(0)
    attach_is_optional: bool = False
    needs_btf_target: bool = False

    @property
    def btf_target(self) -> BtfTarget | None:
        """What the extras name in the kernel's BTF, or None where loading needs no BTF id."""
        return btf_target(self.attach_type) if self.needs_btf_target else None

    def matches(self, section: str) -> bool:
        """Whether this row holds for a section name without its ``?``."""
        if section == self.name:
            return True
        return self.takes_extras and section.startswith(self.name + "/")


def find_section(name: str) -> SectionDefinition | None:
    """The row for a section name, with or without ``?`` and extras; None for an unknown one."""
    name = name.removeprefix("?")
    return next((row for row in SECTION_DEFINITIONS if row.matches(name)), None)


def split_section(name: str) -> tuple[SectionDefinition | None, str]:
    """The row for a section name, and its extras, which may be empty.

    ``"tp/sched/sched_switch"`` gives the row ``tp`` and ``"sched/sched_switch"``.
    """
    definition = find_section(name)
    if definition is None:
        return None, ""
    return definition, name.removeprefix("?").removeprefix(definition.name).removeprefix("/")


_NO_ATTACH_TYPE: Final = AttachType(0)
_NO_FLAGS: Final = ProgramFlags(0)
_SLEEPABLE: Final = ProgramFlags.SLEEPABLE
_FRAGS: Final = ProgramFlags.XDP_HAS_FRAGS


def _row(
    name: str,
    program_type: ProgramType,
    kind: AttachKind,
    attach_type: AttachType = _NO_ATTACH_TYPE,
    *,
    flags: ProgramFlags = _NO_FLAGS,
    optional: bool = False,
    btf: bool = False,
) -> SectionDefinition:
    """A row; a name that ends in ``+`` takes extras."""
    return SectionDefinition(
        name=name.removesuffix("+"),
        type=program_type,
        attach_type=attach_type,
        kind=kind,
        takes_extras=name.endswith("+"),
        flags=flags,
        attach_is_optional=optional,
        needs_btf_target=btf,
    )


def _table() -> tuple[SectionDefinition, ...]:
    row, program, attach, kind = _row, ProgramType, AttachType, AttachKind
    return (
        row("socket", program.SOCKET_FILTER, kind.SOCKET_FILTER),
        row(
            "sk_reuseport/migrate",
            program.SK_REUSEPORT,
            kind.SK_REUSEPORT,
            attach.SK_REUSEPORT_SELECT_OR_MIGRATE,
        ),
        row("sk_reuseport", program.SK_REUSEPORT, kind.SK_REUSEPORT, attach.SK_REUSEPORT_SELECT),
        # Probes
        row("kprobe+", program.KPROBE, kind.KPROBE),
        row("uprobe+", program.KPROBE, kind.UPROBE),
        row("uprobe.s+", program.KPROBE, kind.UPROBE, flags=_SLEEPABLE),
        row("kretprobe+", program.KPROBE, kind.KRETPROBE),
        row("uretprobe+", program.KPROBE, kind.URETPROBE),
        row("uretprobe.s+", program.KPROBE, kind.URETPROBE, flags=_SLEEPABLE),
        row("kprobe.multi+", program.KPROBE, kind.KPROBE_MULTI, attach.TRACE_KPROBE_MULTI),
        row("kretprobe.multi+", program.KPROBE, kind.KRETPROBE_MULTI, attach.TRACE_KPROBE_MULTI),
        row("kprobe.session+", program.KPROBE, kind.KPROBE_SESSION, attach.TRACE_KPROBE_SESSION),
        *(
            row(f"{name}{dot_s}+", program.KPROBE, multi, attach_type, flags=flags)
            for dot_s, flags in (("", _NO_FLAGS), (".s", _SLEEPABLE))
            for name, multi, attach_type in (
                ("uprobe.multi", kind.UPROBE_MULTI, attach.TRACE_UPROBE_MULTI),
                ("uretprobe.multi", kind.URETPROBE_MULTI, attach.TRACE_UPROBE_MULTI),
                ("uprobe.session", kind.UPROBE_SESSION, attach.TRACE_UPROBE_SESSION),
            )
        ),
        row("ksyscall+", program.KPROBE, kind.KSYSCALL),
        row("kretsyscall+", program.KPROBE, kind.KRETSYSCALL),
        row("usdt+", program.KPROBE, kind.USDT),
        row("usdt.s+", program.KPROBE, kind.USDT, flags=_SLEEPABLE),
        # Traffic control
        row("tc/ingress", program.SCHED_CLS, kind.TCX, attach.TCX_INGRESS),
        row("tc/egress", program.SCHED_CLS, kind.TCX, attach.TCX_EGRESS),
        row("tcx/ingress", program.SCHED_CLS, kind.TCX, attach.TCX_INGRESS),
        row("tcx/egress", program.SCHED_CLS, kind.TCX, attach.TCX_EGRESS),
        row("tc", program.SCHED_CLS, kind.TC),
        row("classifier", program.SCHED_CLS, kind.TC),
        row("action", program.SCHED_ACT, kind.TC),
        row("netkit/primary", program.SCHED_CLS, kind.NETKIT, attach.NETKIT_PRIMARY),
        row("netkit/peer", program.SCHED_CLS, kind.NETKIT, attach.NETKIT_PEER),
        # Tracepoints
        row("tracepoint+", program.TRACEPOINT, kind.TRACEPOINT),
        row("tracepoint.s+", program.TRACEPOINT, kind.TRACEPOINT, flags=_SLEEPABLE),
        row("tp+", program.TRACEPOINT, kind.TRACEPOINT),
        row("tp.s+", program.TRACEPOINT, kind.TRACEPOINT, flags=_SLEEPABLE),
        row("raw_tracepoint+", program.RAW_TRACEPOINT, kind.RAW_TRACEPOINT),
        row("raw_tracepoint.s+", program.RAW_TRACEPOINT, kind.RAW_TRACEPOINT, flags=_SLEEPABLE),
        row("raw_tp+", program.RAW_TRACEPOINT, kind.RAW_TRACEPOINT),
        row("raw_tp.s+", program.RAW_TRACEPOINT, kind.RAW_TRACEPOINT, flags=_SLEEPABLE),
        row("raw_tracepoint.w+", program.RAW_TRACEPOINT_WRITABLE, kind.RAW_TRACEPOINT),
        row("raw_tp.w+", program.RAW_TRACEPOINT_WRITABLE, kind.RAW_TRACEPOINT),
        # BTF tracing
        *(
            row(f"{name}{dot_s}+", program.TRACING, tracing, attach_type, flags=flags, btf=True)
            for dot_s, flags in (("", _NO_FLAGS), (".s", _SLEEPABLE))
            for name, tracing, attach_type in (
                ("tp_btf", kind.TP_BTF, attach.TRACE_RAW_TP),
                ("fentry", kind.TRACING, attach.TRACE_FENTRY),
                ("fmod_ret", kind.TRACING, attach.MODIFY_RETURN),
                ("fexit", kind.TRACING, attach.TRACE_FEXIT),
                ("fsession", kind.TRACING, attach.TRACE_FSESSION),
                ("iter", kind.ITERATOR, attach.TRACE_ITER),
            )
        ),
        *(
            row(
                f"{name}.multi{dot_s}+",
                program.TRACING,
                kind.TRACING_MULTI,
                attach_type,
                flags=flags,
            )
            for dot_s, flags in (("", _NO_FLAGS), (".s", _SLEEPABLE))
            for name, attach_type in (
                ("fentry", attach.TRACE_FENTRY_MULTI),
                ("fexit", attach.TRACE_FEXIT_MULTI),
                ("fsession", attach.TRACE_FSESSION_MULTI),
            )
        ),
        row("freplace+", program.EXT, kind.FREPLACE, btf=True),
        row("lsm+", program.LSM, kind.LSM, attach.LSM_MAC, btf=True),
        row("lsm.s+", program.LSM, kind.LSM, attach.LSM_MAC, flags=_SLEEPABLE, btf=True),
        row("lsm_cgroup+", program.LSM, kind.LSM_CGROUP, attach.LSM_CGROUP, btf=True),
        row("syscall", program.SYSCALL, kind.SYSCALL, flags=_SLEEPABLE),
        # XDP
        row("xdp.frags/devmap", program.XDP, kind.XDP_MAP_ENTRY, attach.XDP_DEVMAP, flags=_FRAGS),
        row("xdp/devmap", program.XDP, kind.XDP_MAP_ENTRY, attach.XDP_DEVMAP),
        row("xdp.frags/cpumap", program.XDP, kind.XDP_MAP_ENTRY, attach.XDP_CPUMAP, flags=_FRAGS),
        row("xdp/cpumap", program.XDP, kind.XDP_MAP_ENTRY, attach.XDP_CPUMAP),
        row("xdp.frags", program.XDP, kind.XDP, attach.XDP, flags=_FRAGS),
        row("xdp", program.XDP, kind.XDP, attach.XDP, optional=True),
        row("perf_event", program.PERF_EVENT, kind.PERF_EVENT),
        row("lwt_in", program.LWT_IN, kind.LWT),
        row("lwt_out", program.LWT_OUT, kind.LWT),
        row("lwt_xmit", program.LWT_XMIT, kind.LWT),
        row("lwt_seg6local", program.LWT_SEG6LOCAL, kind.LWT),
        # Sockets
        row("sockops", program.SOCK_OPS, kind.CGROUP, attach.CGROUP_SOCK_OPS, optional=True),
        *(
            row(name, program.SK_SKB, kind.SOCKMAP, attach_type, optional=optional)
            for name, attach_type, optional in (
                ("sk_skb/stream_parser", attach.SK_SKB_STREAM_PARSER, True),
                ("sk_skb/stream_verdict", attach.SK_SKB_STREAM_VERDICT, True),
                ("sk_skb/verdict", attach.SK_SKB_VERDICT, True),
                ("sk_skb", _NO_ATTACH_TYPE, False),
            )
        ),
        row("sk_msg", program.SK_MSG, kind.SOCKMAP, attach.SK_MSG_VERDICT, optional=True),
        row("lirc_mode2", program.LIRC_MODE2, kind.LIRC_MODE2, attach.LIRC_MODE2, optional=True),
        row(
            "flow_dissector",
            program.FLOW_DISSECTOR,
            kind.FLOW_DISSECTOR,
            attach.FLOW_DISSECTOR,
            optional=True,
        ),
        # Control groups
        *(
            row(name, program_type, kind.CGROUP, attach_type, optional=optional)
            for name, program_type, attach_type, optional in (
                ("cgroup_skb/ingress", program.CGROUP_SKB, attach.CGROUP_INET_INGRESS, True),
                ("cgroup_skb/egress", program.CGROUP_SKB, attach.CGROUP_INET_EGRESS, True),
                ("cgroup/skb", program.CGROUP_SKB, _NO_ATTACH_TYPE, False),
                (
                    "cgroup/sock_create",
                    program.CGROUP_SOCK,
                    attach.CGROUP_INET_SOCK_CREATE,
                    False,
                ),
                (
                    "cgroup/sock_release",
                    program.CGROUP_SOCK,
                    attach.CGROUP_INET_SOCK_RELEASE,
                    False,
                ),
                ("cgroup/sock", program.CGROUP_SOCK, attach.CGROUP_INET_SOCK_CREATE, True),
                ("cgroup/post_bind4", program.CGROUP_SOCK, attach.CGROUP_INET4_POST_BIND, False),
                ("cgroup/post_bind6", program.CGROUP_SOCK, attach.CGROUP_INET6_POST_BIND, False),
            )
        ),
        *(
            row(f"cgroup/{name}", program.CGROUP_SOCK_ADDR, kind.CGROUP, attach_type)
            for name, attach_type in (
                ("bind4", attach.CGROUP_INET4_BIND),
                ("bind6", attach.CGROUP_INET6_BIND),
                ("connect4", attach.CGROUP_INET4_CONNECT),
                ("connect6", attach.CGROUP_INET6_CONNECT),
                ("connect_unix", attach.CGROUP_UNIX_CONNECT),
                ("sendmsg4", attach.CGROUP_UDP4_SENDMSG),
                ("sendmsg6", attach.CGROUP_UDP6_SENDMSG),
                ("sendmsg_unix", attach.CGROUP_UNIX_SENDMSG),
                ("recvmsg4", attach.CGROUP_UDP4_RECVMSG),
                ("recvmsg6", attach.CGROUP_UDP6_RECVMSG),
                ("recvmsg_unix", attach.CGROUP_UNIX_RECVMSG),
                ("getpeername4", attach.CGROUP_INET4_GETPEERNAME),
                ("getpeername6", attach.CGROUP_INET6_GETPEERNAME),
                ("getpeername_unix", attach.CGROUP_UNIX_GETPEERNAME),
                ("getsockname4", attach.CGROUP_INET4_GETSOCKNAME),
                ("getsockname6", attach.CGROUP_INET6_GETSOCKNAME),
                ("getsockname_unix", attach.CGROUP_UNIX_GETSOCKNAME),
            )
        ),
        row("cgroup/sysctl", program.CGROUP_SYSCTL, kind.CGROUP, attach.CGROUP_SYSCTL),
        row("cgroup/getsockopt", program.CGROUP_SOCKOPT, kind.CGROUP, attach.CGROUP_GETSOCKOPT),
        row("cgroup/setsockopt", program.CGROUP_SOCKOPT, kind.CGROUP, attach.CGROUP_SETSOCKOPT),
        row(
            "cgroup/dev",
            program.CGROUP_DEVICE,
            kind.CGROUP,
            attach.CGROUP_DEVICE,
            optional=True,
        ),
        # Kernel interfaces
        row("struct_ops+", program.STRUCT_OPS, kind.STRUCT_OPS),
        row("struct_ops.s+", program.STRUCT_OPS, kind.STRUCT_OPS, flags=_SLEEPABLE),
        row("sk_lookup", program.SK_LOOKUP, kind.SK_LOOKUP, attach.SK_LOOKUP),
        row("netfilter", program.NETFILTER, kind.NETFILTER, attach.NETFILTER),
    )


SECTION_DEFINITIONS: Final = _table()
"""Every row, in the order in which they are tried."""
