"""What the running kernel says of its features."""

import subprocess
import sys

import pytest

from bpfstream.errors import KernelError, NotSupportedError
from bpfstream.kernel import features
from bpfstream.kernel.config import kernel_version, parse_version
from bpfstream.kernel.features import Feature, require, supports
from tests.support.nobody import run_as_nobody

BY_VERSION_ALONE = [
    Feature.PROGRAM_NAMES,
    Feature.GLOBAL_DATA,
    Feature.ARRAY_MMAP,
    Feature.RINGBUF,
    Feature.RINGBUF_OVERWRITE,
    Feature.USER_RINGBUF,
    Feature.MEMCG_ACCOUNTING,
    Feature.ATTACH_COOKIE,
    Feature.BTF,
    Feature.BTF_FUNC,
    Feature.BTF_DATASEC,
    Feature.BTF_FUNC_GLOBAL,
    Feature.BTF_FLOAT,
    Feature.BTF_DECL_TAG,
    Feature.BTF_TYPE_TAG,
    Feature.BTF_ENUM64,
    Feature.BTF_QUESTION_MARK_DATASEC,
    Feature.MODULE_BTF,
    Feature.PERF_LINK,
    Feature.XDP_LINK,
]
"""What every build of a version has, and no stable kernel got later."""


@pytest.mark.parametrize("feature", BY_VERSION_ALONE, ids=lambda feature: feature.name)
def test_an_answer_fits_the_version(feature):
    assert supports(feature) == (kernel_version() >= parse_version(feature.since))


@pytest.mark.parametrize("feature", Feature, ids=lambda feature: feature.name)
def test_each_question_has_an_answer_or_a_reason(feature):
    try:
        assert supports(feature) in (True, False)
    except KernelError as error:
        assert error.reason  # noqa: PT017 - either outcome is right


def test_every_feature_says_what_it_is_and_since_when():
    assert len({feature.text for feature in Feature}) == len(Feature)
    assert all(parse_version(feature.since) for feature in Feature)


def test_a_missing_feature_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(features, "supports", lambda feature: False)
    with pytest.raises(
        NotSupportedError, match=r"ring buffers, which Linux 5\.8 brought"
    ) as caught:
        require(Feature.RINGBUF, "create map 'events'")
    assert caught.value.operation == "create map 'events'"


def test_no_answer_is_not_remembered():
    """Without descriptors the kernel can't be asked; once there are some, it is."""
    script = """
import resource
from bpfstream.errors import KernelError
from bpfstream.kernel.features import Feature, supports
from bpfstream.kernel import bpf
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
answer = supports(Feature.PROGRAM_NAMES)
resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
try:
    supports(Feature.ARRAY_MMAP)
except KernelError as error:
    print(error.errno)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(supports(Feature.ARRAY_MMAP))
"""
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout.split() == ["24", "True"], run.stderr  # EMFILE


def test_who_may_not_ask_gets_no_answer():
    script = """
from bpfstream.errors import PermissionDeniedError
from bpfstream.kernel.features import Feature, supports
try:
    print(supports(Feature.ATTACH_COOKIE))
except PermissionDeniedError as error:
    print(error)
"""
    run = run_as_nobody(sys.executable, "-c", script)
    assert "ask the kernel for the helper bpf_get_attach_cookie" in run.stdout, run.stderr


def test_the_memory_limit_is_raised_only_where_it_counts():
    """Without any locked memory allowed, maps and programs can be made all the same."""
    script = """
import os, resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))
from bpfstream.abi.maps import MapType
from bpfstream.kernel import bpf
os.close(bpf.map_create(MapType.ARRAY, 4, 4, 1000))
print(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != 0)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    raised = not supports(Feature.MEMCG_ACCOUNTING)
    assert run.stdout == f"{raised}\n", run.stderr
