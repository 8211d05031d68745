"""Opening a trace event of tracefs as a perf event: a tracepoint, or a probe defined there."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from bpfstream.abi.perf import PerfType
from bpfstream.kernel import perf
from bpfstream.kernel.perf import PerfEventAttributes
from bpfstream.links.failure import attach_failure
from bpfstream.links.link import AttachableProgram


def task_and_cpu(pid: int | None) -> tuple[int, int]:
    """The `pid` and `cpu` of perf_event_open(2) for one process, or for None all.

    For all processes one CPU is enough, since programs hang on the trace event and not on the perf
    event: they run wherever it is hit (kernel/trace/bpf_trace.c: perf_event_attach_bpf_prog).
    """
    return (-1, 0) if pid is None else (pid, -1)


def open_trace_event(
    program: AttachableProgram,
    target: str,
    event_id: int,
    undo: ExitStack,
    *,
    pid: int | None = None,
) -> int:
    """Open the perf event of a trace event.

    Returns:
        The perf event's file descriptor; `undo` closes it.

    Raises:
        AttachError: There is no such trace event any more, or no such process.
        PermissionDeniedError: The process may not open it.
    """
    attributes = PerfEventAttributes(type=PerfType.TRACEPOINT, config=event_id)
    try:
        event_fd = perf.perf_event_open(attributes, *task_and_cpu(pid))
    except OSError as error:
        reasons = {errno.EINVAL: "the trace event is gone", errno.ESRCH: "there is no such process"}
        raise attach_failure(program, target, error, reasons, pmu="tracepoint") from error
    undo.callback(os.close, event_fd)
    return event_fd
