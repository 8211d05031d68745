"""Live attachments of programs: one attach kind a file, each giving a `Link`.

The file of a kind is imported when it is first used: most programs use one kind.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bpfstream.links.attach import attach, has_hook
from bpfstream.links.group import LinkGroup
from bpfstream.links.link import AttachableProgram, Link, LinkInfo

if TYPE_CHECKING:
    from bpfstream.abi.links import XdpMode
    from bpfstream.links.kprobe import attach_kprobe, attach_ksyscall
    from bpfstream.links.perf_event import attach_perf_event, attach_perf_event_on_each_cpu
    from bpfstream.links.raw_tracepoint import attach_raw_tracepoint
    from bpfstream.links.tracepoint import attach_tracepoint
    from bpfstream.links.tracing import attach_tracing
    from bpfstream.links.uprobe import attach_uprobe
    from bpfstream.links.xdp import attach_xdp

_HOMES = {
    "XdpMode": "bpfstream.abi.links",
    "attach_kprobe": "bpfstream.links.kprobe",
    "attach_ksyscall": "bpfstream.links.kprobe",
    "attach_perf_event": "bpfstream.links.perf_event",
    "attach_perf_event_on_each_cpu": "bpfstream.links.perf_event",
    "attach_raw_tracepoint": "bpfstream.links.raw_tracepoint",
    "attach_tracepoint": "bpfstream.links.tracepoint",
    "attach_tracing": "bpfstream.links.tracing",
    "attach_uprobe": "bpfstream.links.uprobe",
    "attach_xdp": "bpfstream.links.xdp",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
