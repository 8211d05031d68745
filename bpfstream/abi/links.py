"""Link types (include/uapi/linux/bpf.h)."""

from enum import IntEnum


class LinkType(IntEnum):
    """``enum bpf_link_type``."""

    UNSPEC = 0
    RAW_TRACEPOINT = 1
    TRACING = 2
    CGROUP = 3
    ITER = 4
    NETNS = 5
    XDP = 6
    PERF_EVENT = 7
    KPROBE_MULTI = 8
    STRUCT_OPS = 9
    NETFILTER = 10
    TCX = 11
    UPROBE_MULTI = 12
    NETKIT = 13
    SOCKMAP = 14
    TRACING_MULTI = 15


class PerfLinkType(IntEnum):
    """``enum bpf_perf_event_type``: what a perf link hangs on."""

    UNSPEC = 0
    UPROBE = 1
    URETPROBE = 2
    KPROBE = 3
    KRETPROBE = 4
    TRACEPOINT = 5
    EVENT = 6


class XdpMode(IntEnum):
    """Where an XDP program runs (``XDP_FLAGS_*``, include/uapi/linux/if_link.h)."""

    AUTOMATIC = 0
    """In the driver if it can, else as `SKB`."""
    SKB = 2
    """In the network stack ("generic"): any interface, slower."""
    DRV = 4
    """In the driver ("native")."""
    HW = 8
    """On the network card ("offloaded")."""
