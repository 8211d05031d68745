"""What a system says of itself is read as far as it can be read."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bpfstream.kernel.system import parse_mounts, read_system

MOUNTINFO = """\
22 1 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 22 0:28 / /sys/fs/bpf rw shared:9 - bpf none rw,mode=700
31 22 0:29 / /mnt/with\\040space rw - tracefs tracefs rw
32 22 0:29 / /sys/kernel/tracing rw - tracefs tracefs rw
"""


def test_the_first_mount_of_each_type_counts_and_escapes_are_undone():
    assert parse_mounts(MOUNTINFO, ["bpf", "tracefs", "cgroup2"]) == {
        "bpf": "/sys/fs/bpf",
        "tracefs": "/mnt/with space",
    }


@given(st.text())
def test_lines_of_another_format_are_passed_over(text):
    assert set(parse_mounts(text, ["bpf"])) <= {"bpf"}


def test_what_cant_be_read_is_not_known(tmp_path):
    system = read_system(proc=tmp_path, sys=tmp_path)
    assert (system.jit, system.security_modules, system.kernel_btf) == (None, None, False)
    assert system.mounts == {}


def test_settings_are_read_where_they_are(tmp_path: Path):
    for name, text in {
        "sys/net/core/bpf_jit_enable": "1\n",
        "kernel/security/lsm": "lockdown,yama,bpf",
        "kernel/btf/vmlinux": "",
        "self/mountinfo": MOUNTINFO,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    system = read_system(proc=tmp_path, sys=tmp_path)
    assert (system.jit, system.kernel_btf) == (True, True)
    assert system.security_modules == ("lockdown", "yama", "bpf")
    assert system.mounts["bpf"] == "/sys/fs/bpf"
