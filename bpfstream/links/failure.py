"""From the errno of a refused attachment to an error that says why."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Mapping

from bpfstream.errors import AttachError, KernelError
from bpfstream.kernel import privileges
from bpfstream.links.link import AttachableProgram

_SUGGESTIONS = 3
_SIMILARITY = 0.7


def attach_failure(
    program: AttachableProgram,
    target: str,
    error: OSError,
    reasons: Mapping[int, str],
    *,
    hint: str = "",
    pmu: str | None = None,
) -> KernelError:
    """The error to raise for `error`.

    Args:
        program: What was to be attached.
        target: What to, in words.
        error: What the kernel answered.
        reasons: What each errno means for this kind of attachment; others get its own text.
        hint: What can be done about it, if `reasons` explains it.
        pmu: The kind of perf event that could not be opened, for `privileges.explain`.
    """
    code = error.errno or 0
    if code in reasons:
        return AttachError(program.name, target, code, reason=reasons[code], hint=hint)
    if code in (errno.EPERM, errno.EACCES):
        return privileges.explain(f"attach {program.name!r} to {target}", error, pmu=pmu)
    return AttachError(program.name, target, code)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that lists the names closest to one that is not known; empty when none is close."""
    import difflib

    return _listed(difflib.get_close_matches(name, set(known), _SUGGESTIONS, _SIMILARITY))


def _listed(names: Collection[str]) -> str:
    return f"did you mean {' or '.join(names)}?" if names else ""
