"""The two system calls that Python has no function for: bpf(2) and perf_event_open(2).

ctypes is imported at the first call and not before. It lets other threads run during a call and,
unlike Python's own functions, does not begin anew when a signal interrupts one (PEP 475): that is
done here, and signal handlers run in between.

Buffers are bytearrays. Whoever passes an address keeps the buffer, unresized, until the call
returned.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from bpfstream.abi.commands import Command
from bpfstream.errors import ENOTSUPP

if TYPE_CHECKING:
    import ctypes

_BPF_NUMBERS = {
    "x86_64": 321,
    "i386": 357,
    "i686": 357,
    "armv6l": 386,
    "armv7l": 386,
    "armv8l": 386,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "s390x": 351,
    "ppc64": 361,
    "ppc64le": 361,
}
"""By machine, from arch/*/kernel/syscalls/*.tbl and include/uapi/asm-generic/unistd.h."""

_PERF_EVENT_OPEN_NUMBERS = {
    "x86_64": 298,
    "i386": 336,
    "i686": 336,
    "armv6l": 364,
    "armv7l": 364,
    "armv8l": 364,
    "aarch64": 241,
    "riscv64": 241,
    "loongarch64": 241,
    "s390x": 331,
    "ppc64": 319,
    "ppc64le": 319,
}

_LOAD_TRIES = 5
"""How often a load is tried that the verifier broke off for a signal, as libbpf does."""


def kernel_error(code: int) -> OSError:
    """The OSError of an errno, `ENOTSUPP` included, which libc has no text for."""
    if code == ENOTSUPP:
        return OSError(code, "Operation not supported by the kernel")
    return OSError(code, os.strerror(code))


@cache
def machine() -> str:
    """The architecture that this process runs on: a 32-bit process on a 64-bit kernel is 32-bit."""
    name = os.uname().machine
    if sys.maxsize < 1 << 32:
        return {"x86_64": "i686", "aarch64": "armv8l"}.get(name, name)
    return name


def _number(numbers: dict[str, int]) -> int:
    number = numbers.get(machine())
    if number is None:
        raise kernel_error(errno.ENOSYS)
    return number


@cache
def _bpf_number() -> int:
    return _number(_BPF_NUMBERS)


@cache
def _libc_syscall() -> Callable[..., int]:
    """The syscall(2) of libc: a number and five arguments, all longs."""
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = [ctypes.c_long] * 6
    return function


def _syscall(number: int, *arguments: int) -> int:
    result = _libc_syscall()(number, *arguments)
    if result < 0:
        import ctypes

        raise kernel_error(ctypes.get_errno())
    return result


def address_of(buffer: bytearray) -> int:
    """The address of a buffer's first byte; 0, the null pointer, for an empty buffer."""
    if not buffer:
        return 0
    addressof, first_byte = _addressing()
    return addressof(first_byte(buffer))


@cache
def _addressing() -> tuple[Callable[[ctypes.c_char], int], Callable[[bytearray], ctypes.c_char]]:
    import ctypes

    return ctypes.addressof, ctypes.c_char.from_buffer


def bpf(command: Command, attributes: bytearray) -> int:
    """Make one system call; the kernel may write to `attributes`.

    Returns:
        A file descriptor (close-on-exec) or 0, by the command.

    Raises:
        OSError: With the kernel's errno.
    """
    return bpf_at(command, address_of(attributes), len(attributes))


def bpf_at(command: Command, address: int, size: int) -> int:
    """As `bpf`, with attributes of `size` bytes at an address that is known already."""
    return _syscall(_bpf_number(), command, address, size, 0, 0)


def bpf_uninterrupted(command: Command, attributes: bytearray) -> int:
    """Make the system call, anew when a signal interrupts it.

    A program load answers EAGAIN to a signal that comes while the verifier runs
    (kernel/bpf/verifier.c, do_check), and after some tries it is passed on. EINTR comes from the
    batch commands of older kernels and from waits for a mutex, with nothing done. Not for
    ``BPF_PROG_TEST_RUN``, which older kernels answer with EINTR although the program ran.
    """
    tries = _LOAD_TRIES
    as_given = bytes(attributes)
    while True:
        try:
            return bpf(command, attributes)
        except OSError as error:
            if error.errno == errno.EAGAIN and command == Command.PROG_LOAD and tries > 1:
                tries -= 1
            elif error.errno != errno.EINTR:
                raise
            attributes[:] = as_given  # a failed command may have written its output fields


def perf_event_open(attributes: bytearray, pid: int, cpu: int, group_fd: int, flags: int) -> int:
    """Make the system call, anew when a signal interrupts it.

    Raises:
        OSError: With the kernel's errno.
    """
    number = _number(_PERF_EVENT_OPEN_NUMBERS)
    while True:
        try:
            return _syscall(number, address_of(attributes), pid, cpu, group_fd, flags)
        except InterruptedError:
            continue
