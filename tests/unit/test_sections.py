"""Section names: what a program is, by the name of the section that holds it."""

import pytest

from bpfstream.abi.btf import Kind
from bpfstream.abi.programs import AttachType, ProgramFlags, ProgramType
from bpfstream.abi.sections import (
    SECTION_DEFINITIONS,
    AttachKind,
    find_section,
    split_section,
)

# name with extras, program type, attach type, sleepable, fragments
EXAMPLES = """
socket                             1  0
sk_reuseport/migrate              21 40
sk_reuseport                      21 39
kprobe/do_unlinkat                 2  0
kretprobe/do_unlinkat              2  0
kprobe.multi/tcp_*                 2 42
kretprobe.multi/tcp_*              2 42
kprobe.session/tcp_*               2 56
ksyscall/openat                    2  0
kretsyscall/openat                 2  0
uprobe//bin/sh:main                2  0
uprobe.s//bin/sh:main              2  0 s
uretprobe//bin/sh:main             2  0
uretprobe.s//bin/sh:main           2  0 s
uprobe.multi//bin/sh:m*            2 48
uprobe.multi.s//bin/sh:m*          2 48 s
uretprobe.multi//bin/sh:m*         2 48
uretprobe.multi.s//bin/sh:m*       2 48 s
uprobe.session//bin/sh:m*          2 57
uprobe.session.s//bin/sh:m*        2 57 s
usdt//bin/sh:provider:name         2  0
usdt.s//bin/sh:provider:name       2  0 s
tc/ingress                         3 46
tc/egress                          3 47
tcx/ingress                        3 46
tcx/egress                         3 47
tc                                 3  0
classifier                         3  0
action                             4  0
netkit/primary                     3 54
netkit/peer                        3 55
tracepoint/sched/sched_switch      5  0
tracepoint.s/syscalls/sys_enter    5  0 s
tp/sched/sched_switch              5  0
tp.s/syscalls/sys_enter            5  0 s
raw_tracepoint/sys_enter          17  0
raw_tracepoint.s/sys_enter        17  0 s
raw_tp/sys_enter                  17  0
raw_tp.s/sys_enter                17  0 s
raw_tracepoint.w/nbd_send_request 24  0
raw_tp.w/nbd_send_request         24  0
tp_btf/sched_switch               26 23
tp_btf.s/sys_enter                26 23 s
fentry/do_unlinkat                26 24
fentry.s/do_unlinkat              26 24 s
fexit/do_unlinkat                 26 25
fexit.s/do_unlinkat               26 25 s
fmod_ret/security_file_open       26 26
fmod_ret.s/security_file_open     26 26 s
fsession/do_unlinkat              26 58
fsession.s/do_unlinkat            26 58 s
fentry.multi/tcp_*                26 59
fentry.multi.s/tcp_*              26 59 s
fexit.multi/tcp_*                 26 60
fexit.multi.s/tcp_*               26 60 s
fsession.multi/tcp_*              26 61
fsession.multi.s/tcp_*            26 61 s
freplace/handler                  28  0
lsm/file_open                     29 27
lsm.s/file_open                   29 27 s
lsm_cgroup/socket_bind            29 43
iter/task                         26 28
iter.s/task                       26 28 s
syscall                           31  0 s
xdp                                6 37
xdp.frags                          6 37 f
xdp/devmap                         6 33
xdp.frags/devmap                   6 33 f
xdp/cpumap                         6 35
xdp.frags/cpumap                   6 35 f
perf_event                         7  0
lwt_in                            10  0
lwt_out                           11  0
lwt_xmit                          12  0
lwt_seg6local                     19  0
sockops                           13  3
sk_skb/stream_parser              14  4
sk_skb/stream_verdict             14  5
sk_skb/verdict                    14 38
sk_skb                            14  0
sk_msg                            16  7
lirc_mode2                        20 16
flow_dissector                    22 17
cgroup_skb/ingress                 8  0
cgroup_skb/egress                  8  1
cgroup/skb                         8  0
cgroup/sock_create                 9  2
cgroup/sock_release                9 34
cgroup/sock                        9  2
cgroup/post_bind4                  9 12
cgroup/post_bind6                  9 13
cgroup/bind4                      18  8
cgroup/bind6                      18  9
cgroup/connect4                   18 10
cgroup/connect6                   18 11
cgroup/connect_unix               18 49
cgroup/sendmsg4                   18 14
cgroup/sendmsg6                   18 15
cgroup/sendmsg_unix               18 50
cgroup/recvmsg4                   18 19
cgroup/recvmsg6                   18 20
cgroup/recvmsg_unix               18 51
cgroup/getpeername4               18 29
cgroup/getpeername6               18 30
cgroup/getpeername_unix           18 52
cgroup/getsockname4               18 31
cgroup/getsockname6               18 32
cgroup/getsockname_unix           18 53
cgroup/sysctl                     23 18
cgroup/getsockopt                 25 21
cgroup/setsockopt                 25 22
cgroup/dev                        15  6
struct_ops/init                   27  0
struct_ops.s/init                 27  0 s
sk_lookup                         30 36
netfilter                         32 45
"""

ROWS = [line.split() for line in EXAMPLES.split("\n") if line]
FLAGS = {"s": ProgramFlags.SLEEPABLE, "f": ProgramFlags.XDP_HAS_FRAGS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_section_tells_what_to_load_its_program_as(row):
    name, program_type, attach_type, *flag = row
    definition = find_section(name)
    assert definition is not None
    assert definition.type == ProgramType(int(program_type))
    assert definition.attach_type == AttachType(int(attach_type))
    assert definition.flags == (FLAGS[flag[0]] if flag else ProgramFlags(0))


def test_the_examples_reach_every_row():
    reached = {find_section(row[0]) for row in ROWS}
    assert reached == set(SECTION_DEFINITIONS)
    assert len(SECTION_DEFINITIONS) == len(ROWS)


@pytest.mark.parametrize(
    ("section", "extras"),
    [
        ("tp/sched/sched_switch", "sched/sched_switch"),
        ("uprobe//usr/bin/bash:readline", "/usr/bin/bash:readline"),
        ("?kprobe/vfs_read", "vfs_read"),
        ("kprobe", ""),
        ("kprobe/", ""),
        ("xdp", ""),
        ("cgroup_skb/ingress", ""),
    ],
)
def test_extras_are_what_follows_the_name(section, extras):
    definition, found = split_section(section)
    assert definition is not None
    assert found == extras


@pytest.mark.parametrize(
    "section",
    [
        "xdp_filter",  # spellings of old objects, which libbpf 1.0 dropped
        "classifier/main",
        "kprobe_vfs_read",
        "socket1",
        "xdp/main",
        "perf_event/1",
        "kprobes/vfs_read",
        "tp.x/sched/sched_switch",
        "??kprobe/vfs_read",
        "KPROBE/vfs_read",
        "",
    ],
)
def test_an_unknown_section_has_no_row(section):
    assert find_section(section) is None
    assert split_section(section) == (None, "")


@pytest.mark.parametrize(
    ("section", "prefix", "kind"),
    [
        ("tp_btf/sched_switch", "btf_trace_", Kind.TYPEDEF),
        ("lsm.s/file_open", "bpf_lsm_", Kind.FUNC),
        ("lsm_cgroup/socket_bind", "bpf_lsm_", Kind.FUNC),
        ("iter/task", "bpf_iter_", Kind.FUNC),
        ("fentry/do_unlinkat", "", Kind.FUNC),
        ("fmod_ret/security_file_open", "", Kind.FUNC),
        ("freplace/handler", "", Kind.FUNC),
    ],
)
def test_a_program_loaded_for_a_type_of_the_kernel_knows_how_it_is_called(section, prefix, kind):
    definition = find_section(section)
    assert definition is not None
    target = definition.btf_target
    assert target is not None
    assert (target.prefix, target.kind) == (prefix, kind)


@pytest.mark.parametrize("section", ["kprobe/x", "tp/a/b", "fentry.multi/x", "raw_tp/x", "xdp"])
def test_other_programs_are_loaded_without_a_type_of_the_kernel(section):
    definition = find_section(section)
    assert definition is not None
    assert definition.btf_target is None


def test_the_attach_type_may_be_left_out_where_kernels_did_without():
    optional = {row.name for row in SECTION_DEFINITIONS if row.attach_is_optional}
    assert optional == {
        "xdp",
        "sockops",
        "sk_skb/stream_parser",
        "sk_skb/stream_verdict",
        "sk_skb/verdict",
        "sk_msg",
        "lirc_mode2",
        "flow_dissector",
        "cgroup_skb/ingress",
        "cgroup_skb/egress",
        "cgroup/sock",
        "cgroup/dev",
    }


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("kprobe/x", AttachKind.KPROBE),
        ("kretprobe/x", AttachKind.KRETPROBE),
        ("kretprobe.multi/x", AttachKind.KRETPROBE_MULTI),
        ("raw_tp.w/x", AttachKind.RAW_TRACEPOINT),
        ("tp_btf/x", AttachKind.TP_BTF),
        ("fexit.s/x", AttachKind.TRACING),
        ("fexit.multi.s/x", AttachKind.TRACING_MULTI),
        ("xdp.frags", AttachKind.XDP),
        ("xdp/cpumap", AttachKind.XDP_MAP_ENTRY),
        ("tc/ingress", AttachKind.TCX),
        ("tc", AttachKind.TC),
        ("cgroup/dev", AttachKind.CGROUP),
    ],
)
def test_a_section_tells_how_its_program_is_attached(section, kind):
    definition = find_section(section)
    assert definition is not None
    assert definition.kind is kind
