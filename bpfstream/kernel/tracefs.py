"""tracefs: the ids of tracepoints, and probes for kernels whose perf events can't make them."""

from __future__ import annotations

import errno
import itertools
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from bpfstream.errors import KernelError, PermissionDeniedError

_MOUNTINFO = Path("/proc/self/mountinfo")
_MOUNT_HINT = "mount it: mount -t tracefs nodev /sys/kernel/tracing"
_probe_numbers = itertools.count()


def parse_mountinfo(text: str) -> Path | None:
    """Where tracefs is mounted: its own mount, or the directory in a debugfs mount (proc(5)).

    Before Linux 4.1 there is only the latter; later ones mount tracefs there when it is looked at.
    """
    in_debugfs = None
    for line in text.splitlines():
        mount, separator, rest = line.partition(" - ")
        fields = mount.split(" ")
        if not separator or len(fields) < 5 or fields[3] != "/":
            continue
        # The kernel writes space, tab, newline and backslash as octal (fs/proc_namespace.c).
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        kind = rest.split(" ", 1)[0]
        if kind == "tracefs":
            return place
        if kind == "debugfs" and in_debugfs is None:
            in_debugfs = place / "tracing"
    return in_debugfs


def find_tracefs() -> Path:
    """The directory of tracefs. It is never mounted here: that is for the administrator to do.

    Raises:
        KernelError: It is not mounted.
    """
    place = parse_mountinfo(_MOUNTINFO.read_text(errors="surrogateescape"))
    if place is None:
        raise KernelError(
            "find tracefs", errno.ENOENT, reason="tracefs is not mounted", hint=_MOUNT_HINT
        )
    return place


def has_file(name: str) -> bool:
    """Whether this kernel's tracefs has a file of that name.

    Raises:
        KernelError: tracefs is not mounted.
        PermissionDeniedError: This process may not look.
    """
    path = find_tracefs() / name
    try:
        return path.exists()
    except OSError as error:
        raise _refused(f"look for {path}", error) from error


def _refused(operation: str, error: OSError) -> KernelError:
    """An error of ours for a file of tracefs."""
    code = error.errno or errno.EIO
    if code in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError(
            operation,
            code,
            reason="only root may read tracefs, unless its mount says otherwise",
            hint="run as root, or remount tracefs with gid= and mode=",
        )
    return KernelError(operation, code)


def event_id(category: str, name: str) -> int:
    """The number of a trace event, the `config` of a perf event of type TRACEPOINT.

    Raises:
        KernelError: ENOENT when there is no such tracepoint, or tracefs is not mounted.
        PermissionDeniedError: This process may not look.
    """
    operation = f"find tracepoint {category}/{name}"
    if "/" in category + name or {category, name} & {"", ".", ".."}:
        raise KernelError(operation, errno.EINVAL, reason="that is no tracepoint's name")
    root = find_tracefs()
    try:
        return int((root / "events" / category / name / "id").read_text())
    except FileNotFoundError as error:
        raise KernelError(
            operation,
            errno.ENOENT,
            reason="this kernel has no such tracepoint",
            hint=f"see {root / 'available_events'}",
        ) from error
    except OSError as error:
        raise _refused(operation, error) from error


def available_events() -> tuple[str, ...]:
    """All trace events as ``CATEGORY/NAME``; none where tracefs can't be read."""
    try:
        text = (find_tracefs() / "available_events").read_text()
    except (OSError, KernelError):
        return ()
    return tuple(line.replace(":", "/", 1) for line in text.splitlines())


class TracefsProbe:
    """A kprobe or uprobe that exists as a trace event until it is removed.

    Attributes:
        group: Its event group.
        name: Its event name.
        id: Its number, as of `event_id`.
    """

    def __init__(self, control: Path, group: str, name: str, definition: str) -> None:
        """Create it by a line in a control file.

        Raises:
            OSError: With the kernel's errno: ENOENT for an unknown symbol, EEXIST, EINVAL.
            KernelError: The event can't be read.
        """
        self.group = group
        self.name = name
        self._control = control
        self._write(definition)
        self._removed = False
        try:
            self.id = event_id(group, name)
        except BaseException:
            self.remove()
            raise

    def _write(self, line: str) -> None:
        # Appending is a must: a file opened for truncation loses everybody's probes.
        fd = os.open(self._control, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(fd, os.fsencode(line) + b"\n")
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove it; idempotent. The perf events that use it must be closed before.

        Raises:
            OSError: EBUSY while it is in use.
        """
        if self._removed:
            return
        self._write(f"-:{self.group}/{self.name}")
        self._removed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


def _event_name(target: str) -> str:
    """A name that no other probe has, of characters that the kernel takes and at most 63."""
    readable = re.sub(r"[^A-Za-z0-9_]", "_", target)[-32:]
    return f"p{os.getpid()}_{next(_probe_numbers)}_{readable}"


def create_kprobe(
    symbol: str, *, offset: int = 0, returns: bool = False, max_active: int = 0
) -> TracefsProbe:
    """Make a kprobe by kprobe_events (Documentation/trace/kprobetrace.rst).

    Args:
        symbol: A function, or an address as ``0x...``.
        offset: Bytes from its start.
        returns: Whether it fires at the return.
        max_active: How many calls at a time a return probe can follow; 0 for the kernel's default
            (Linux 4.12).

    Raises:
        OSError: ENOENT for an unknown symbol, EINVAL for one that can't be probed.
        KernelError: tracefs can't be found or read.
    """
    control = find_tracefs() / "kprobe_events"
    name = _event_name(symbol)
    kind = f"r{max_active or ''}" if returns else "p"
    place = f"{symbol}+{offset:#x}" if offset else symbol
    group = "bpfstream_kprobes"
    return TracefsProbe(control, group, name, f"{kind}:{group}/{name} {place}")


def create_uprobe(
    path: str, offset: int, *, returns: bool = False, reference_counter_offset: int = 0
) -> TracefsProbe:
    """Make a uprobe by uprobe_events (Documentation/trace/uprobetracer.rst).

    Args:
        path: The file; without a colon and white space, which the file's syntax has no way to say.
        offset: Bytes into the file.
        returns: Whether it fires at the return.
        reference_counter_offset: Where the file has the probe's semaphore, or 0 (Linux 4.20).

    Raises:
        OSError: ENOENT for an absent file, EINVAL for an offset beyond it.
        KernelError: The path can't be written, or tracefs can't be found or read.
    """
    if re.search(r"[:\s]", path):
        raise KernelError(
            f"probe {path!r}", errno.EINVAL, reason="uprobe_events takes no path with ':' or spaces"
        )
    control = find_tracefs() / "uprobe_events"
    name = _event_name(f"{path.rpartition('/')[2]}_{offset:#x}")
    counter = f"({reference_counter_offset:#x})" if reference_counter_offset else ""
    group = "bpfstream_uprobes"
    kind = "r" if returns else "p"
    return TracefsProbe(control, group, name, f"{kind}:{group}/{name} {path}:{offset:#x}{counter}")
