"""Refusals of the running kernel, each made to happen to a process that lacks just one thing."""

import errno
import subprocess
import sys

import pytest

from bpfstream.abi.capabilities import Capability
from bpfstream.abi.programs import ProgramType
from bpfstream.errors import PermissionDeniedError
from bpfstream.kernel import tracefs
from bpfstream.kernel.features import Feature, supports
from bpfstream.kernel.privileges import needed_capabilities
from tests.support.requirements import require_program

PREAMBLE = """
import sys
from bpfstream.abi.commands import Command
from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.kernel import bpf, perf
from bpfstream.kernel.perf import PerfEventAttributes
from bpfstream.kernel.privileges import explain
from bpfstream.kernel.probe_objects import RETURN_ZERO

def tell(operation, call, **circumstances):
    try:
        call()
    except OSError as error:
        reason = explain(operation, error, **circumstances)
        print(type(reason).__name__, reason, sep="|")
    else:
        print("allowed")

def create(kind):
    tell("create map 'm'", lambda: bpf.map_create(kind, 4, 4, 1), map_type=kind)

def load(kind, attach_type=0):
    tell(
        "load 'p'",
        lambda: bpf.program_load(kind, RETURN_ZERO, license="GPL", attach_type=attach_type,
                                 attach_btf_id=1 if attach_type else 0),
        program_type=kind,
        attach_type=attach_type,
    )
"""

SECCOMP = """
import ctypes, struct

def deny_bpf(errno):
    \"\"\"A filter that answers bpf(2) with an errno (seccomp(2), classic BPF).\"\"\"
    from bpfstream.kernel.syscalls import _BPF_NUMBERS, machine
    load, equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno
    code = [(load, 0, 0, 0), (equal, 0, 1, _BPF_NUMBERS[machine()]), (give, 0, 0, refuse),
            (give, 0, 0, allow)]
    program = b"".join(struct.pack("HBBI", *each) for each in code)
    buffer = ctypes.create_string_buffer(program)
    filter = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privs, set_seccomp, mode_filter = 38, 22, 2
    assert libc.prctl(set_no_new_privs, 1, 0, 0, 0) == 0
    assert libc.prctl(set_seccomp, mode_filter, ctypes.c_char_p(filter), 0, 0) == 0
"""


def run(script, *prefix):
    """Runs a script that tells of one operation; gives the error's name and text."""
    (outcome,) = run_lines(script, *prefix)
    return outcome


def run_lines(script, *prefix):
    """Runs a script in a process of its own; gives name and text of each error that it tells."""
    command = [*map(str, prefix), sys.executable, "-c", PREAMBLE + script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return [tuple(line.split("|", 1)) for line in done.stdout.splitlines()]


def with_capabilities(*names):
    """Runs as root with these capabilities only."""
    setpriv = require_program("setpriv", package="util-linux")
    bounds = ",".join(["-all", *(f"+{name}" for name in names)])
    return [setpriv, f"--bounding-set={bounds}", f"--inh-caps={bounds}"]


def test_without_capabilities_the_missing_ones_are_named():
    name, text = run("load(ProgramType.KPROBE)", *with_capabilities())
    assert name == "PermissionDeniedError"
    assert "lacks CAP_BPF and CAP_PERFMON" in text
    assert "--cap-add=BPF --cap-add=PERFMON" in text
    assert text.startswith("load 'p': ")


def test_with_one_capability_the_other_is_named():
    name, text = run("load(ProgramType.TRACEPOINT)", *with_capabilities("bpf"))
    assert name == "PermissionDeniedError"
    assert "lacks CAP_PERFMON" in text
    assert "lacks CAP_BPF" not in text


def test_network_programs_and_maps_need_another():
    script = "load(ProgramType.XDP)\ncreate(MapType.SOCKMAP)"
    for _, text in run_lines(script, *with_capabilities("bpf", "perfmon")):
        assert "lacks CAP_NET_ADMIN" in text


def test_bpf_and_perfmon_are_enough_for_tracing():
    assert run("load(ProgramType.TRACEPOINT)", *with_capabilities("bpf", "perfmon")) == ("allowed",)


def test_the_ids_of_all_objects_are_for_the_administrator():
    script = """
tell("list programs", lambda: bpf.next_id(bpf.ObjectKind.PROGRAM),
     command=Command.PROG_GET_NEXT_ID)
"""
    _, text = run(script, *with_capabilities("bpf", "perfmon", "net_admin"))
    assert "lacks CAP_SYS_ADMIN" in text


def test_a_refused_perf_event_names_the_sysctl():
    script = """
attributes = PerfEventAttributes(type=1, config=0, sample_period=1000)
tell("open", lambda: perf.perf_event_open(attributes), pmu="software")
"""
    outcome = run(script, *with_capabilities())
    if outcome == ("allowed",):
        pytest.skip("needs kernel.perf_event_paranoid above 0")
    assert "lacks CAP_PERFMON, and kernel.perf_event_paranoid is " in outcome[1]


@pytest.mark.parametrize("answer", [errno.EPERM, errno.ENOSYS])
def test_a_seccomp_filter_is_found_out(answer):
    name, text = run(SECCOMP + f"deny_bpf({answer})\ncreate(MapType.ARRAY)")
    assert name == "PermissionDeniedError"
    assert "a seccomp filter of this process blocks bpf(2)" in text


def test_capabilities_of_a_user_namespace_do_not_count():
    unshare = require_program("unshare", package="util-linux")
    command = [unshare, "--user", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs user namespaces")
    name, text = run("load(ProgramType.TRACEPOINT)", *command)
    assert name == "PermissionDeniedError"
    assert "user namespace" in text


def test_the_memory_limit_is_blamed_only_where_it_counts():
    script = """
import resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
"""
    # All capabilities but the one that lifts the limit
    setpriv = require_program("setpriv", package="util-linux")
    prefix = [setpriv, "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    outcome = run(script + "create(MapType.ARRAY)", *prefix)
    if supports(Feature.MEMCG_ACCOUNTING):
        assert outcome == ("allowed",)
    else:
        assert outcome[0] == "PermissionDeniedError"
        assert "RLIMIT_MEMLOCK" in outcome[1]


def test_a_policy_against_function_hooks_is_told_from_a_lack_of_privilege():
    try:
        supports(Feature.TRACING)
    except PermissionDeniedError as error:
        assert error.errno == errno.EPERM  # noqa: PT017 - the other outcome is a skip
    else:
        pytest.skip("needs a kernel that refuses fentry programs")
    name, text = run("load(ProgramType.TRACING, AttachType.TRACE_FENTRY)")
    assert name == "PermissionDeniedError"
    assert "policy of this kernel" in text
    assert "tp_btf" in text


def test_tracefs_is_for_root():
    try:
        place = tracefs.find_tracefs()
    except Exception as error:
        pytest.skip(f"needs tracefs: {error}")
    if place.stat().st_mode & 0o005:
        pytest.skip("needs a tracefs that is closed to others")
    script = """
from bpfstream.kernel import tracefs
from bpfstream.errors import BpfstreamError
try:
    tracefs.event_id("sched", "sched_switch")
except BpfstreamError as error:
    print(type(error).__name__, error, sep="|")
"""
    setpriv = require_program("setpriv", package="util-linux")
    name, text = run(script, setpriv, "--reuid=65534", "--clear-groups")
    assert name == "PermissionDeniedError"
    assert "tracefs" in text


def test_the_kernel_knows_the_program_types_of_the_tables():
    """A type that needs more than CAP_BPF here needs it in the kernel too, and the reverse."""
    checked = [
        ProgramType.SOCKET_FILTER,
        ProgramType.KPROBE,
        ProgramType.SCHED_CLS,
        ProgramType.TRACEPOINT,
        ProgramType.XDP,
        ProgramType.PERF_EVENT,
        ProgramType.CGROUP_SKB,
        ProgramType.RAW_TRACEPOINT,
    ]
    # One process for all of them: in an emulated guest each one's start takes seconds.
    script = f"for kind in {[int(kind) for kind in checked]}:\n    load(kind)"
    outcomes = run_lines(script, *with_capabilities("bpf"))
    allowed = {
        kind for kind, (outcome, *_) in zip(checked, outcomes, strict=True) if outcome == "allowed"
    }
    assert allowed == {
        kind for kind in checked if needed_capabilities(program_type=kind) == {Capability.BPF}
    }
