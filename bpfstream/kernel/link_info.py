"""What the kernel tells of links (``struct bpf_link_info``, Linux 5.8).

Which details there are depends on the link's type. What came with a later kernel is 0 or empty.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bpfstream.abi import infos
from bpfstream.abi.layouts import Layout
from bpfstream.abi.links import LinkType, PerfLinkType
from bpfstream.kernel.info import decode_text, query
from bpfstream.kernel.syscalls import address_of

_LONGEST_TEXT = 4096
"""Bytes for a name whose length the kernel does not tell: as many as a path has (PATH_MAX)."""


class RawTracepointDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.RAW_TRACEPOINT`, to which tp_btf programs belong too.

    Attributes:
        name: The tracepoint, without category.
        cookie: What the program gets from ``bpf_get_attach_cookie``.
    """

    name: str
    cookie: int


class TracingDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.TRACING`.

    Attributes:
        attach_type: An `AttachType`, as a number.
        target_object_id: The target's BTF object, or the program in which an extension replaces a
            function (Linux 5.13).
        target_btf_id: The target's type there (5.13).
        cookie: What the program gets from ``bpf_get_attach_cookie``.
    """

    attach_type: int
    target_object_id: int
    target_btf_id: int
    cookie: int


class CgroupDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.CGROUP`; the id, which is the directory's inode, is 0 for a detached link."""

    cgroup_id: int
    attach_type: int


class NetnsDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.NETNS`; the inode is 0 for a detached link."""

    netns_inode: int
    attach_type: int


class XdpDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.XDP`; the index is 0 for a detached link."""

    interface_index: int


class UprobeDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.PERF_EVENT` upon a uprobe (Linux 6.6).

    Attributes:
        path: The file.
        offset: Bytes into it, the lower 32 bits.
        returns: Whether it is a uretprobe.
        cookie: What the program gets from ``bpf_get_attach_cookie`` (6.9).
        reference_counter_offset: Where the file has the probe's semaphore, or 0.
    """

    path: str
    offset: int
    returns: bool
    cookie: int
    reference_counter_offset: int


class KprobeDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.PERF_EVENT` upon a kprobe (Linux 6.6).

    Attributes:
        symbol: The function; empty when the probe was made by address.
        offset: Bytes from its start.
        address: Where that is; 0 when this process may not know.
        returns: Whether it is a kretprobe.
        missed: How often it could not fire (6.7).
        cookie: What the program gets from ``bpf_get_attach_cookie`` (6.9).
    """

    symbol: str
    offset: int
    address: int
    returns: bool
    missed: int
    cookie: int


class TracepointDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.PERF_EVENT` upon a tracepoint (Linux 6.6).

    Attributes:
        name: The tracepoint, without category.
        cookie: What the program gets from ``bpf_get_attach_cookie`` (6.9).
    """

    name: str
    cookie: int


class PerfEventDetails(msgspec.Struct, frozen=True):
    """Of `LinkType.PERF_EVENT` upon a hardware or software event (Linux 6.6).

    Attributes:
        event_type: A `PerfType` or the number of another PMU.
        config: Which event of that type.
        cookie: What the program gets from ``bpf_get_attach_cookie`` (6.9).
    """

    event_type: int
    config: int
    cookie: int


LinkDetails = (
    RawTracepointDetails
    | TracingDetails
    | CgroupDetails
    | NetnsDetails
    | XdpDetails
    | UprobeDetails
    | KprobeDetails
    | TracepointDetails
    | PerfEventDetails
)


class LinkInfo(msgspec.Struct, frozen=True):
    """A link.

    Attributes:
        type: Its `LinkType`, as a number since it may be one that this library does not know.
        id: Its id.
        program_id: The program attached.
        details: What only links of that type have; None when the kernel tells nothing more.
    """

    type: int
    id: int
    program_id: int
    details: LinkDetails | None


def link_info(fd: int) -> LinkInfo:
    """Ask about a link.

    Raises:
        OSError: With the kernel's errno.
    """
    buffer = bytearray(infos.LINK_INFO_SIZE)
    query(fd, buffer)
    facts = infos.LINK_INFO.unpack(buffer)
    return LinkInfo(facts["type"], facts["id"], facts["prog_id"], _details(fd, buffer))


def _details(fd: int, buffer: bytearray) -> LinkDetails | None:
    match infos.LINK_INFO.read(buffer, "type"):
        case LinkType.RAW_TRACEPOINT:
            facts = _query_text(fd, buffer, infos.LINK_RAW_TRACEPOINT, "tp_name", "tp_name_len")
            return RawTracepointDetails(facts["text"], facts["cookie"])
        case LinkType.TRACING:
            facts = infos.LINK_TRACING.unpack(buffer)
            return TracingDetails(
                facts["attach_type"],
                facts["target_obj_id"],
                facts["target_btf_id"],
                facts["cookie"],
            )
        case LinkType.CGROUP:
            facts = infos.LINK_CGROUP.unpack(buffer)
            return CgroupDetails(facts["cgroup_id"], facts["attach_type"])
        case LinkType.NETNS:
            facts = infos.LINK_NETNS.unpack(buffer)
            return NetnsDetails(facts["netns_ino"], facts["attach_type"])
        case LinkType.XDP:
            return XdpDetails(infos.LINK_XDP.read(buffer, "ifindex"))
        case LinkType.PERF_EVENT:
            return _perf_details(fd, buffer)
        case _:
            return None


def _perf_details(fd: int, buffer: bytearray) -> LinkDetails | None:
    kind = infos.LINK_PERF_EVENT.read(buffer, "perf_type")
    match kind:
        case PerfLinkType.UPROBE | PerfLinkType.URETPROBE:
            facts = _query_text(fd, buffer, infos.LINK_PERF_UPROBE, "file_name", "name_len")
            return UprobeDetails(
                facts["text"],
                facts["offset"],
                kind == PerfLinkType.URETPROBE,
                facts["cookie"],
                facts["ref_ctr_offset"],
            )
        case PerfLinkType.KPROBE | PerfLinkType.KRETPROBE:
            facts = _query_text(fd, buffer, infos.LINK_PERF_KPROBE, "func_name", "name_len")
            return KprobeDetails(
                facts["text"],
                facts["offset"],
                facts["addr"],
                kind == PerfLinkType.KRETPROBE,
                facts["missed"],
                facts["cookie"],
            )
        case PerfLinkType.TRACEPOINT:
            facts = _query_text(fd, buffer, infos.LINK_PERF_TRACEPOINT, "tp_name", "name_len")
            return TracepointDetails(facts["text"], facts["cookie"])
        case PerfLinkType.EVENT:
            facts = infos.LINK_PERF_HARDWARE.unpack(buffer)
            return PerfEventDetails(facts["event_type"], facts["config"], facts["cookie"])
        case _:
            return None


def _query_text(
    fd: int, first: bytearray, layout: Layout, pointer: str, length: str
) -> dict[str, Any]:
    """Ask again with room for a text, whose length with its NUL the first answer has.

    Returns:
        The link's fields, and the text as ``text``.
    """
    text = bytearray(layout.read(first, length) or _LONGEST_TEXT)
    second = bytearray(infos.LINK_INFO_SIZE)
    request = layout.pack(**{pointer: address_of(text), length: len(text)})
    second[: len(request)] = request
    query(fd, second)
    return {**layout.unpack(second), "text": decode_text(text)}
