"""Programs run at the samples of a perf event: a clock, a software event, a hardware counter."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

from bpfstream.errors import AttachError
from bpfstream.kernel import perf
from bpfstream.kernel.cpus import online_cpus
from bpfstream.kernel.perf import PerfEventAttributes
from bpfstream.links.failure import attach_failure
from bpfstream.links.group import LinkGroup
from bpfstream.links.link import AttachableProgram, Link
from bpfstream.links.perf_link import link_to_perf_event

_REASONS = {
    errno.ENOENT: "this machine has no such event (virtual machines often lack hardware counters)",
    errno.EINVAL: (
        "the event's settings are wrong, or its frequency exceeds "
        "/proc/sys/kernel/perf_event_max_sample_rate"
    ),
    errno.ESRCH: "there is no such process",
    errno.ENODEV: "there is no such CPU, or it is offline",
    errno.EOPNOTSUPP: "the hardware can't sample this event",
    errno.EBUSY: "another event has this counter to itself",
    errno.EMFILE: "the process has as many open files as it may",
}


def attach_perf_event(
    program: AttachableProgram,
    attributes: PerfEventAttributes,
    *,
    pid: int | None = None,
    cpu: int | None = None,
    cookie: int = 0,
) -> Link:
    """Run a program at each sample of one perf event. Linux 4.9.

    Args:
        program: Of type PERF_EVENT.
        attributes: The event, with a `sample_period` (in events) or a `frequency` (in samples a
            second): without either it would never fire.
        pid: Count in this task only; 0 is the calling thread. None for all tasks of `cpu`.
        cpu: Count on this CPU only. None for all CPUs that the task `pid` runs on.
        cookie: What ``bpf_get_attach_cookie()`` gives the program (Linux 5.15); 0 is none.

    Raises:
        AttachError: The machine lacks the event, or the settings are wrong.
        PermissionDeniedError: The process may not attach it.
        NotSupportedError: The kernel lacks cookies.
    """
    where = [f"of task {pid}"] if pid is not None else []
    where += [f"on CPU {cpu}"] if cpu is not None else []
    target = f"perf event {attributes.type}:{attributes.config:#x} {' '.join(where)}".rstrip()
    if pid is None and cpu is None:
        raise AttachError(
            program.name,
            target,
            errno.EINVAL,
            reason="an event is of a task or of a CPU, and neither is given",
            hint="for all tasks on all CPUs: attach_perf_event_on_each_cpu",
        )
    if not attributes.sample_period and not attributes.frequency:
        raise AttachError(
            program.name,
            target,
            errno.EINVAL,
            reason="the event has neither sample_period nor frequency, so it would never fire",
        )
    with ExitStack() as undo:
        try:
            event_fd = perf.perf_event_open(
                attributes, -1 if pid is None else pid, -1 if cpu is None else cpu
            )
        except OSError as error:
            raise attach_failure(program, target, error, _REASONS, pmu="software") from error
        undo.callback(os.close, event_fd)
        return link_to_perf_event(program, target, event_fd, undo, cookie=cookie)


def attach_perf_event_on_each_cpu(
    program: AttachableProgram, attributes: PerfEventAttributes, *, cookie: int = 0
) -> LinkGroup:
    """Run a program at each sample of a perf event on every online CPU, for all tasks.

    Returns:
        The links, one a CPU.

    Raises:
        AttachError: As `attach_perf_event`; those that were attached already are detached.
        PermissionDeniedError: The process may not attach it.
        NotSupportedError: The kernel lacks cookies.
    """
    links = LinkGroup()
    try:
        for cpu in online_cpus():
            links.add(attach_perf_event(program, attributes, cpu=cpu, cookie=cookie))
    except BaseException:
        links.detach()
        raise
    return links
