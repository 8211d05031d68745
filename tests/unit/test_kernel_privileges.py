"""What a process may do, read from files like those of /proc and /sys."""

import errno

import pytest

from bpfstream.abi.capabilities import Capability
from bpfstream.abi.commands import Command
from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import ProgramType
from bpfstream.errors import KernelError, PermissionDeniedError
from bpfstream.kernel.privileges import explain, needed_capabilities, read_privileges


@pytest.fixture
def system(tmp_path):
    """Writes files of a system and reads them as a process of it would."""

    def write(*, capabilities=0, seccomp=0, uid_map="0 0 4294967295", last=40, lockdown=""):
        proc, sys = tmp_path / "proc", tmp_path / "sys"
        (proc / "self").mkdir(parents=True)
        (proc / "sys/kernel").mkdir(parents=True)
        (sys / "kernel/security").mkdir(parents=True)
        (proc / "self/status").write_text(
            f"Name:\tpython\nUid:\t0\t0\t0\t0\nCapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}\n"
        )
        (proc / "self/uid_map").write_text(f"         {uid_map}\n")
        (proc / "sys/kernel/cap_last_cap").write_text(f"{last}\n")
        (proc / "sys/kernel/unprivileged_bpf_disabled").write_text("2\n")
        (proc / "sys/kernel/perf_event_paranoid").write_text("-1\n")
        if lockdown:
            (sys / "kernel/security/lockdown").write_text(lockdown)
        return read_privileges(proc, sys)

    return write


def test_a_process_of_root_lacks_nothing(system):
    own = system(capabilities=(1 << 41) - 1)
    assert own.lacks(Capability) == ()
    assert not own.in_user_namespace
    assert not own.seccomp_filter


def test_the_administrators_capability_stands_for_all(system):
    own = system(capabilities=1 << Capability.SYS_ADMIN)
    assert own.lacks([Capability.BPF, Capability.PERFMON, Capability.NET_ADMIN]) == ()


def test_capabilities_that_are_missing_are_named(system):
    own = system(capabilities=1 << Capability.BPF)
    assert own.lacks([Capability.BPF, Capability.PERFMON]) == (Capability.PERFMON,)


def test_before_linux_5_8_it_takes_the_administrator(system):
    own = system(capabilities=1 << Capability.NET_ADMIN, last=37)
    assert own.lacks([Capability.BPF, Capability.PERFMON]) == (Capability.SYS_ADMIN,)


def test_sysctls_are_read(system):
    own = system()
    assert own.unprivileged_bpf_disabled == 2
    assert own.perf_event_paranoid == -1


def test_a_user_namespace_and_a_seccomp_filter_are_noticed(system):
    own = system(uid_map="0 1000 1", seccomp=2)
    assert own.in_user_namespace
    assert own.seccomp_filter


def test_the_state_of_lockdown_is_the_one_in_brackets(system):
    assert system(lockdown="none [integrity] confidentiality\n").lockdown == "integrity"


def test_a_system_without_these_files_says_nothing(tmp_path):
    own = read_privileges(tmp_path, tmp_path)
    assert own.capabilities == frozenset()
    assert own.unprivileged_bpf_disabled is None
    assert not own.in_user_namespace
    assert own.lockdown == ""


@pytest.mark.parametrize(
    ("operation", "needed"),
    [
        ({"program_type": ProgramType.SOCKET_FILTER}, {Capability.BPF}),
        ({"program_type": ProgramType.KPROBE}, {Capability.BPF, Capability.PERFMON}),
        ({"program_type": ProgramType.XDP}, {Capability.BPF, Capability.NET_ADMIN}),
        ({"map_type": MapType.RINGBUF}, {Capability.BPF}),
        ({"map_type": MapType.SOCKMAP}, {Capability.BPF, Capability.NET_ADMIN}),
        ({"command": Command.BTF_LOAD}, {Capability.BPF}),
        ({"command": Command.PROG_GET_FD_BY_ID}, {Capability.SYS_ADMIN}),
        ({"command": Command.MAP_LOOKUP_ELEM}, set()),
        ({"pmu": "tracepoint"}, {Capability.PERFMON}),
        ({"pmu": "uprobe"}, {Capability.SYS_ADMIN}),
    ],
)
def test_each_operation_needs_its_capabilities(operation, needed):
    assert needed_capabilities(**operation) == needed


def test_an_errno_that_is_no_refusal_is_left_as_it_is():
    error = explain("create map 'm'", OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert type(error) is KernelError
    assert str(error) == "create map 'm': Cannot allocate memory [ENOMEM]"
    assert error.errno == errno.ENOMEM


def test_a_refusal_with_a_verifier_log_is_the_verifiers():
    refusal = PermissionError(errno.EACCES, "Permission denied")
    error = explain("load 'p'", refusal, program_type=ProgramType.KPROBE, log="R0 !read_ok\n")
    assert not isinstance(error, PermissionDeniedError)
