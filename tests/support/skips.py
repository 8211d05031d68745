"""Skips of kernel tests: only for a probed, named reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def named_skips() -> Iterator[None]:
    """Fails the test that skips for a reason that does not say what it needs."""
    try:
        yield
    except pytest.skip.Exception as skipped:
        reason = _reason(skipped)
        if not reason.startswith("needs "):
            pytest.fail(f"a kernel test skips for what it needs, not for {reason!r}", pytrace=False)
        raise pytest.skip.Exception(reason) from skipped


def _reason(skipped: pytest.skip.Exception) -> str:
    """Why a test skips.

    pytest-trio turns a skip inside of a nursery, which is in a group there, into one without a
    reason (trio_test in its plugin.py); the group is its context.
    """
    context = skipped.__context__
    while not skipped.msg and isinstance(context, BaseExceptionGroup):
        context = context.exceptions[0]
    original = context if isinstance(context, pytest.skip.Exception) else skipped
    return str(original.msg or "")
