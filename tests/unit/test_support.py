"""The test suite's own machinery: a check that can't fail would be none."""

import os
from types import SimpleNamespace

import pytest

from tests.guests.run import Result, summary
from tests.support.descriptors import leaked, open_descriptors
from tests.support.requirements import require_program
from tests.support.skips import named_skips
from tests.support.summary import kernel_summary


def test_a_descriptor_that_is_left_open_is_named():
    before = open_descriptors()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        assert leaked(before, open_descriptors()) == [f"fd {descriptor}: /dev/null"]
    finally:
        os.close(descriptor)
    assert leaked(before, open_descriptors()) == []


def test_a_number_that_came_to_mean_another_file_is_a_leak():
    assert leaked({5: "/dev/null"}, {5: "anon_inode:bpf-map (map_id 3)"}) == [
        "fd 5: anon_inode:bpf-map (map_id 3)"
    ]


def test_a_missing_program_skips_by_name():
    with pytest.raises(pytest.skip.Exception, match="needs the program no-such-program"):
        require_program("no-such-program")


def test_a_skip_keeps_the_reason_that_a_nursery_took_from_it():
    def skip_as_pytest_trio_does():
        try:
            raise BaseExceptionGroup("nursery", [pytest.skip.Exception("needs a moon")])
        except BaseExceptionGroup:
            pytest.skip()

    with pytest.raises(pytest.skip.Exception, match="needs a moon"), named_skips():
        skip_as_pytest_trio_does()


@pytest.mark.parametrize("reason", ["", "flaky"])
def test_a_kernel_test_may_not_skip_for_no_named_need(reason):
    with pytest.raises(pytest.fail.Exception, match="for what it needs"), named_skips():
        pytest.skip(reason)


def report(when: str, *, skipped: str = "", kernel: bool = True) -> SimpleNamespace:
    longrepr = ("test_x.py", 1, f"Skipped: {skipped}") if skipped else None
    keywords = {"kernel": 1} if kernel else {}
    return SimpleNamespace(when=when, skipped=bool(skipped), longrepr=longrepr, keywords=keywords)


def test_the_summary_counts_kernel_tests_and_the_reasons_of_those_that_did_not_run():
    reports = [
        *(report("setup"), report("call"), report("teardown")),
        *(report("setup", skipped="needs root"), report("teardown")),
        *(report("call", skipped="needs kprobe (Linux 4.1)"), report("teardown")),
        *(report("setup", skipped="needs root"), report("teardown")),
        report("call", kernel=False),
    ]
    assert list(kernel_summary(reports)) == [
        f"Linux {os.uname().release}: 1 kernel tests ran, 3 did not",
        "     2  needs root",
        "     1  needs kprobe (Linux 4.1)",
    ]


def guest(status: int, *lines: str) -> Result:
    return Result("bookworm", status, "\n".join(lines), 1.0)


@pytest.mark.parametrize(
    ("result", "passed", "counts"),
    [
        (guest(0, "=== 7 passed, 2 skipped in 8.11s ==="), True, "7 passed, 2 skipped"),
        (guest(1, "1 failed, 7 passed in 70.1s (0:01:10)"), False, "1 failed, 7 passed"),
        (guest(0, "=== 9 skipped in 0.50s ==="), False, "9 skipped, 1 error"),
        (guest(5, "=== no tests ran in 0.01s ==="), False, "1 error"),
        (guest(125, "tests/kernel/test_a.py ...", "Kernel panic"), False, "1 error"),
    ],
    ids=["passes", "fails", "tests-nothing", "collects-nothing", "crashes"],
)
def test_a_guest_passes_only_if_tests_passed_in_it(result, passed, counts):
    assert result.passed == passed
    assert summary(result.outcomes) == counts
