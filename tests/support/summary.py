"""What the end of a test run says about kernel tests: how many ran, and why others did not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest


def kernel_summary(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Lines for the end of the run; none when no kernel test was selected.

    Args:
        reports: The reports of all phases of all tests.
    """
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for report in reports:
        if "kernel" not in report.keywords:
            continue
        if report.skipped and not hasattr(report, "wasxfail"):
            outcomes["skipped"] += 1
            reasons[_skip_reason(report)] += 1
        elif report.when == "call":
            outcomes["ran"] += 1
    if not outcomes:
        return
    release = os.uname().release
    yield f"Linux {release}: {outcomes['ran']} kernel tests ran, {outcomes['skipped']} did not"
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {count:4d}  {reason}"


def _skip_reason(report: pytest.TestReport) -> str:
    # longrepr of a skip is (path, line, "Skipped: reason")
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
