"""Tracepoints through perf events: ``tracepoint/CATEGORY/NAME``."""

from __future__ import annotations

from contextlib import ExitStack

from bpfstream.errors import AttachError, KernelError, PermissionDeniedError
from bpfstream.kernel import tracefs
from bpfstream.links.failure import did_you_mean
from bpfstream.links.link import AttachableProgram, Link
from bpfstream.links.perf_link import link_to_perf_event
from bpfstream.links.trace_event import open_trace_event


def attach_tracepoint(
    program: AttachableProgram, category: str, name: str, *, cookie: int = 0
) -> Link:
    """Run a program at a tracepoint; it gets the record that tracefs describes. Linux 4.7.

    A tracepoint takes a program once, and 64 programs.

    Args:
        program: Of type TRACEPOINT.
        category: The tracepoint's folder in tracefs: ``"sched"``.
        name: Its name there: ``"sched_switch"``.
        cookie: What ``bpf_get_attach_cookie()`` gives the program (Linux 5.15); 0 is none.

    Raises:
        AttachError: tracefs is not mounted, there is no such tracepoint, or it doesn't take the
            program.
        PermissionDeniedError: The process may not attach it, or not read tracefs.
        NotSupportedError: The kernel lacks cookies.
    """
    target = f"tracepoint {category}/{name}"
    with ExitStack() as undo:
        try:
            event_id = tracefs.event_id(category, name)
        except PermissionDeniedError:
            raise
        except KernelError as error:
            hint = did_you_mean(f"{category}/{name}", tracefs.available_events()) or error.hint
            raise AttachError(
                program.name, target, error.errno, reason=error.reason, hint=hint
            ) from error
        event_fd = open_trace_event(program, target, event_id, undo)
        return link_to_perf_event(program, target, event_fd, undo, cookie=cookie)
