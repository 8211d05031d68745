"""perf_event_open(2) and what is done with the events that it opens.

Functions raise plain OSErrors with the kernel's errno, as those of `bpfstream.kernel.bpf` do.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
from pathlib import Path

import msgspec

from bpfstream.abi.perf import (
    ATTRIBUTES,
    IOC_TYPE,
    AttributeFlags,
    EventIoctl,
    OpenFlags,
    PerfType,
    ReadFormat,
    SampleType,
    SoftwareEvent,
)
from bpfstream.kernel import syscalls

PMU_DIRECTORY = Path("/sys/bus/event_source/devices")

_COUNT_AND_TIME = struct.Struct("=QQ")
"""What read(2) gives with `ReadFormat.TOTAL_TIME_ENABLED`."""


class PerfEventAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """What to open: ``struct perf_event_attr`` (perf_event_open(2)).

    Attributes:
        type: A `PerfType` or the number of another PMU (see `pmu_type`).
        config: Which event of that type.
        sample_period: Events for a sample; not with `frequency`.
        frequency: Samples a second for each CPU; not with `sample_period`.
        sample_type: What a sample has.
        read_format: What read(2) gives.
        flags: One-bit settings; those that other fields imply need not be set.
        wakeup_events: Samples until the event polls readable; not with `wakeup_watermark`.
        wakeup_watermark: Bytes until the event polls readable.
        config1: More of `config`; for a probe the function's name or the file's path.
        config2: More of `config`; for a probe the offset, in bytes.
        max_stack: Frames of a call chain at most; 0 for the system's limit.
    """

    type: int
    config: int = 0
    sample_period: int = 0
    frequency: int = 0
    sample_type: SampleType = SampleType(0)
    read_format: int = 0
    flags: AttributeFlags = AttributeFlags(0)
    wakeup_events: int = 0
    wakeup_watermark: int = 0
    config1: int | bytes = 0
    config2: int = 0
    max_stack: int = 0


def _bit_field(flags: int) -> int:
    """The flags as the compiler lays out 64 one-bit fields: from the other end if big-endian."""
    if sys.byteorder == "little":
        return flags
    return int(f"{flags:064b}"[::-1], 2)


def perf_event_open(
    attributes: PerfEventAttributes,
    pid: int = -1,
    cpu: int = 0,
    group_fd: int = -1,
    flags: int = 0,
) -> int:
    """Open an event: on one CPU for all tasks (`pid` -1), or for one task (`cpu` may be -1).

    `flags` are `OpenFlags`.

    Returns:
        The event's file descriptor, close-on-exec.

    Raises:
        OSError: ENOENT for an event that this machine lacks or an unknown symbol or file, EACCES by
            kernel.perf_event_paranoid, ESRCH for a task that is gone, ENODEV for an offline CPU.
    """
    settings = attributes.flags
    if attributes.frequency:
        settings |= AttributeFlags.FREQ
    if attributes.wakeup_watermark:
        settings |= AttributeFlags.WATERMARK
    config1 = attributes.config1
    text = bytearray(config1 + b"\0") if isinstance(config1, bytes) else bytearray()
    buffer = ATTRIBUTES.pack(
        type=attributes.type,
        size=ATTRIBUTES.size,
        config=attributes.config,
        sample_period=attributes.frequency or attributes.sample_period,
        sample_type=attributes.sample_type,
        read_format=attributes.read_format,
        flags=_bit_field(settings),
        wakeup_events=attributes.wakeup_watermark or attributes.wakeup_events,
        config1=config1 if isinstance(config1, int) else syscalls.address_of(text),
        config2=attributes.config2,
        sample_max_stack=attributes.max_stack,
    )
    # Never without this flag: all other descriptors of ours are closed at exec too.
    return syscalls.perf_event_open(buffer, pid, cpu, group_fd, flags | OpenFlags.FD_CLOEXEC)


def _ioctl_request(number: EventIoctl, size: int = 0) -> int:
    """``_IO('$', number)`` or, with a size in bytes, ``_IOW`` (include/uapi/asm-generic/ioctl.h).

    PowerPC numbers the directions otherwise (arch/powerpc/include/uapi/asm/ioctl.h).
    """
    if syscalls.machine().startswith("ppc"):
        direction = 4 << 29 if size else 1 << 29
    else:
        direction = 1 << 30 if size else 0
    return direction | size << 16 | IOC_TYPE << 8 | number


def enable(fd: int) -> None:
    """Let the event count; harmless when it does."""
    fcntl.ioctl(fd, _ioctl_request(EventIoctl.ENABLE), 0)


def disable(fd: int) -> None:
    """Let the event count no more."""
    fcntl.ioctl(fd, _ioctl_request(EventIoctl.DISABLE), 0)


def set_bpf(fd: int, program_fd: int) -> None:
    """Attach a program to the event, for as long as the event is open.

    Raises:
        OSError: EEXIST when it has a program, or the tracepoint this one; EINVAL for a wrong
            program type; E2BIG when the tracepoint has 64 programs.
    """
    fcntl.ioctl(fd, _ioctl_request(EventIoctl.SET_BPF, 4), program_fd)


def pause_output(fd: int, paused: bool) -> None:
    """Stop or go on writing to the event's ring (Linux 4.7)."""
    fcntl.ioctl(fd, _ioctl_request(EventIoctl.PAUSE_OUTPUT, 4), int(paused))


def open_bpf_output(
    cpu: int, *, wakeup_events: int = 0, wakeup_watermark: int = 0, backward: bool = False
) -> int:
    """Open what a program writes to with bpf_perf_event_output on one CPU (Linux 4.4).

    Args:
        cpu: The CPU.
        wakeup_events: Samples until the event polls readable; not with `wakeup_watermark`.
        wakeup_watermark: Bytes until the event polls readable. The kernel takes half the ring for
            0, and for more than the ring (kernel/events/ring_buffer.c, ring_buffer_init).
        backward: Write the ring from its end to its start, over what is oldest (Linux 4.7).

    Returns:
        The event's file descriptor, close-on-exec.

    Raises:
        OSError: ENODEV for an offline CPU, EACCES by kernel.perf_event_paranoid.
    """
    attributes = PerfEventAttributes(
        type=PerfType.SOFTWARE,
        config=SoftwareEvent.BPF_OUTPUT,
        sample_type=SampleType.RAW,
        sample_period=1,
        read_format=ReadFormat.TOTAL_TIME_ENABLED,
        flags=AttributeFlags.WRITE_BACKWARD if backward else AttributeFlags(0),
        wakeup_events=wakeup_events,
        wakeup_watermark=wakeup_watermark,
    )
    return perf_event_open(attributes, pid=-1, cpu=cpu)


def set_output(fd: int, target_fd: int) -> None:
    """Let an event write to the ring of another one on the same CPU, which has to be mapped.

    Raises:
        OSError: EINVAL when the two don't fit, or the event has a ring of its own.
    """
    fcntl.ioctl(fd, _ioctl_request(EventIoctl.SET_OUTPUT), target_fd)


def is_running(fd: int) -> bool:
    """Whether time passes for an event of `open_bpf_output`.

    It does not for one whose CPU has gone offline since, and never again: the kernel takes the
    event off the CPU (kernel/events/core.c, perf_event_exit_cpu), and when the CPU comes back,
    from suspend too, a new one has to be opened. Reading a running event interrupts its CPU.
    """
    first, second = (os.read(fd, _COUNT_AND_TIME.size) for _ in range(2))
    return first != second


def pmu_type(name: str) -> int | None:
    """The `PerfEventAttributes.type` of a PMU such as ``uprobe``; None when there is none."""
    try:
        return int((PMU_DIRECTORY / name / "type").read_text())
    except FileNotFoundError:
        return None


def pmu_format_bit(name: str, field: str) -> int | None:
    """The bit of `config` where a field of a PMU begins, such as ``retprobe`` of ``uprobe``.

    Returns:
        The bit's number, or None when this kernel's PMU lacks the field or keeps it elsewhere.
    """
    try:
        text = (PMU_DIRECTORY / name / "format" / field).read_text()
    except FileNotFoundError:
        return None
    return parse_format_bit(text)


def parse_format_bit(text: str) -> int | None:
    """Read a PMU's format file, ``config:0`` or ``config:32-63``."""
    match = re.fullmatch(r"config:(\d+)(?:-\d+)?\s*", text)
    return int(match[1]) if match else None
