"""Fixtures and checks of all tests.

* No test may leave a file descriptor open; every test is checked.
* Tests in tests/kernel need the running kernel: they are marked ``kernel``, run as root, and skip
  only for a named reason.
* The end of the run says how many kernel tests ran, and why others did not.

What a test may need (a kernel feature, a program) is in `tests.support.requirements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import hypothesis
import pytest

from bpfstream._native import COMPILED
from tests.support.cgroups import new_cgroup
from tests.support.descriptors import leaked, open_descriptors
from tests.support.mounts import mounted
from tests.support.namespaces import (
    NetworkNamespace,
    VethPair,
    new_network_namespace,
    new_veth_pair,
)
from tests.support.requirements import require_root
from tests.support.skips import named_skips
from tests.support.summary import kernel_summary

# No test is judged by its time: machines are busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
# --hypothesis-profile=few is for emulated machines, many for what sanitizers look at.
hypothesis.settings.register_profile("few", deadline=None, max_examples=10)
hypothesis.settings.register_profile("many", deadline=None, max_examples=2000)

KERNEL_TESTS = Path(__file__).parent / "kernel"


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "kernel: needs the running kernel (every test in tests/kernel)",
        "guest: runs in guests of other kernels too (as does every kernel test)",
    ):
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if KERNEL_TESTS in item.path.parents:
            item.add_marker("kernel")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    if not item.get_closest_marker("kernel"):
        return (yield)
    with named_skips():
        require_root()
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not item.get_closest_marker("kernel"):
        return (yield)
    with named_skips():
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = terminalreporter.stats.values()
    reports = (entry for entry in chain(*outcomes) if isinstance(entry, pytest.TestReport))
    lines = list(kernel_summary(reports))
    if lines:
        terminalreporter.section("kernel tests")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """Fails the test that leaves a descriptor open.

    A root conftest's autouse fixture is set up first and torn down last: the test's own fixtures
    are included.
    """
    before = open_descriptors()
    yield
    left = leaked(before, open_descriptors())
    if left:
        pytest.fail("left open: " + "; ".join(left), pytrace=False)


@pytest.fixture(params=[False, True], ids=["pure", "compiled"], scope="module")
def native(request: pytest.FixtureRequest) -> bool:
    """The keyword of that name of readers and decoders: each test runs with both twins.

    Of the module's scope, as hypothesis lets its tests take no other fixture.
    """
    if request.param and not COMPILED:
        pytest.skip("needs the compiled module, which is not built or not in use")
    return bool(request.param)


@pytest.fixture
def netns() -> Iterator[NetworkNamespace]:
    """A network namespace; the test's thread is in it."""
    try:
        with new_network_namespace() as namespace, namespace.entered():
            yield namespace
    except PermissionError:
        pytest.skip("needs network namespaces")


@pytest.fixture
def veth(netns: NetworkNamespace) -> Iterator[VethPair]:
    """An interface in the test's namespace, wired to one in another namespace."""
    with new_network_namespace() as peer:
        yield new_veth_pair(netns, peer)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """The directory of a cgroup of the test's own."""
    with new_cgroup() as path:
        yield path


@pytest.fixture
def tracefs() -> Iterator[Path]:
    """Where tracefs is mounted: for the test alone, where the machine has none."""
    place = Path("/sys/kernel/tracing")
    if (place / "events").exists():
        yield place
    else:
        with mounted("tracefs", place):
            yield place


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A bpffs of the test's own, to pin in."""
    with mounted("bpf", tmp_path):
        yield tmp_path
