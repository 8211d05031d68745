"""Network namespaces for tests: nothing in them outlives the test, not even when it is killed.

A namespace is held by the thread that is in it and by an open descriptor, never by a mount; when
both are gone the kernel takes its interfaces down, and what is attached to them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.requirements import require_program

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h


@dataclass(frozen=True)
class NetworkNamespace:
    """A network namespace that a test can enter, and run commands in.

    Attributes:
        descriptor: An open descriptor of the namespace.
    """

    descriptor: int

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the namespace, to its end."""
        namespace = f"--net=/proc/{os.getpid()}/fd/{self.descriptor}"
        return subprocess.run(
            ["nsenter", namespace, *arguments], check=True, capture_output=True, text=True
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace for a while."""
        with _current() as before:
            _check(_libc().setns(self.descriptor, CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc().setns(before, CLONE_NEWNET), "setns")


@dataclass(frozen=True)
class VethPair:
    """Two interfaces joined by a wire, each in a namespace of its own.

    Attributes:
        name: The interface on the test's side.
        address: Its IPv4 address; the network is a /24.
        peer: The namespace at the other end.
        peer_name: The interface there.
        peer_address: Its IPv4 address.
    """

    name: str
    address: str
    peer: NetworkNamespace
    peer_name: str
    peer_address: str


@contextmanager
def new_network_namespace() -> Iterator[NetworkNamespace]:
    """A new namespace whose ``lo`` is up.

    Raises:
        OSError: The process may not make namespaces.
    """
    ip = str(require_program("ip", package="iproute2"))
    with _current() as before:
        _check(_libc().unshare(CLONE_NEWNET), "unshare")
        try:
            descriptor = _open_current()
        finally:
            _check(_libc().setns(before, CLONE_NEWNET), "setns")
    try:
        namespace = NetworkNamespace(descriptor)
        namespace.run(ip, "link", "set", "lo", "up")
        yield namespace
    finally:
        os.close(descriptor)


def new_veth_pair(near: NetworkNamespace, far: NetworkNamespace) -> VethPair:
    """Joins two namespaces by interfaces that are up and can reach each other.

    They get no IPv6 address: no packet is sent then but those of the test, and ARP.
    """
    ip = str(require_program("ip", package="iproute2"))
    pair = VethPair("veth0", "10.0.0.1", far, "veth1", "10.0.0.2")
    far_end = f"/proc/{os.getpid()}/fd/{far.descriptor}"
    peer = ("peer", "name", pair.peer_name, "netns", far_end)
    near.run(ip, "link", "add", pair.name, "type", "veth", *peer)
    for namespace, name, address in (
        (near, pair.name, pair.address),
        (far, pair.peer_name, pair.peer_address),
    ):
        if Path("/proc/net/if_inet6").exists():
            namespace.run(ip, "link", "set", name, "addrgenmode", "none")
        namespace.run(ip, "address", "add", f"{address}/24", "dev", name)
        namespace.run(ip, "link", "set", name, "up")
    return pair


@contextmanager
def _current() -> Iterator[int]:
    descriptor = _open_current()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_current() -> int:
    # thread-self and not self: a namespace belongs to a thread, not to its process
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
