"""Live attachments of programs: one attach kind a file, each giving a `Link`."""

from bpfstream.abi.links import XdpMode
from bpfstream.links.attach import attach, has_hook
from bpfstream.links.group import LinkGroup
from bpfstream.links.kprobe import attach_kprobe, attach_ksyscall
from bpfstream.links.link import AttachableProgram, Link, LinkInfo
from bpfstream.links.perf_event import attach_perf_event, attach_perf_event_on_each_cpu
from bpfstream.links.raw_tracepoint import attach_raw_tracepoint
from bpfstream.links.tracepoint import attach_tracepoint
from bpfstream.links.tracing import attach_tracing
from bpfstream.links.uprobe import attach_uprobe
from bpfstream.links.xdp import attach_xdp

__all__ = [
    "AttachableProgram",
    "Link",
    "LinkGroup",
    "LinkInfo",
    "XdpMode",
    "attach",
    "attach_kprobe",
    "attach_ksyscall",
    "attach_perf_event",
    "attach_perf_event_on_each_cpu",
    "attach_raw_tracepoint",
    "attach_tracepoint",
    "attach_tracing",
    "attach_uprobe",
    "attach_xdp",
    "has_hook",
]
