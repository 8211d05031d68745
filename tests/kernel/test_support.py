"""The fixtures of kernel tests: what they make is there, and is gone afterwards."""

import os
import socket
import subprocess
import threading
from pathlib import Path

from bpfstream.abi.maps import MapType
from bpfstream.kernel import bpf
from tests.support.cgroups import new_cgroup
from tests.support.descriptors import leaked, open_descriptors
from tests.support.mounts import mounted
from tests.support.namespaces import new_network_namespace
from tests.support.nobody import run_as_nobody

CAP_SYS_ADMIN, CAP_BPF = 21, 39  # include/uapi/linux/capability.h


def test_a_map_that_is_left_open_is_named_with_its_id():
    before = open_descriptors()
    descriptor = bpf.map_create(MapType.ARRAY, 4, 4, 1)
    left = leaked(before, open_descriptors())
    os.close(descriptor)
    assert len(left) == 1
    assert left[0].startswith(f"fd {descriptor}: anon_inode:bpf-map (map_id ")


def test_a_test_is_in_a_network_namespace_of_its_own(netns):
    assert {name for _, name in socket.if_nameindex()} == {"lo"}
    before = Path("/proc/thread-self/ns/net").readlink()
    with new_network_namespace() as other, other.entered():
        assert Path("/proc/thread-self/ns/net").readlink() != before
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_a_packet_crosses_the_wire(veth):
    with veth.peer.entered():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((veth.peer_address, 0))
        receiver.settimeout(30)
        sender.sendto(b"over the wire", receiver.getsockname())
        data, (source, _) = receiver.recvfrom(64)
    assert (data, source) == (b"over the wire", veth.address)


def test_a_cgroup_is_removed_and_its_processes_return():
    before = Path("/proc/self/cgroup").read_text()
    with new_cgroup() as path:
        (path / "cgroup.procs").write_text(str(os.getpid()))
        assert path.name in Path("/proc/self/cgroup").read_text()
    assert not path.exists()
    assert Path("/proc/self/cgroup").read_text() == before


def test_tracefs_is_there_for_a_test(tracefs):
    assert (tracefs / "events" / "sched").is_dir()


def test_a_mount_is_seen_by_what_a_test_starts_and_goes_with_it(tmp_path):
    before = Path("/proc/thread-self/mounts").read_text()
    with mounted("bpf", tmp_path):
        (tmp_path / "folder").mkdir()
        thread = threading.Thread(target=(tmp_path / "of_a_thread").mkdir)
        thread.start()
        thread.join()
        subprocess.run(["mkdir", tmp_path / "of_a_child"], check=True)
        assert {"folder", "of_a_thread", "of_a_child"} <= {path.name for path in tmp_path.iterdir()}
    assert list(tmp_path.iterdir()) == []
    assert Path("/proc/thread-self/mounts").read_text() == before


def test_nobody_has_no_right_over_bpf():
    status = run_as_nobody("cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == ["65534"] * 4
    assert not int(fields["CapEff"], 16) & (1 << CAP_SYS_ADMIN | 1 << CAP_BPF)
