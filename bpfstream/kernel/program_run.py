"""Running a loaded program once, from user space: ``BPF_PROG_TEST_RUN``."""

from __future__ import annotations

from bpfstream.abi.commands import Command
from bpfstream.abi.layouts import Layout
from bpfstream.kernel.syscalls import address_of, bpf_uninterrupted

_TEST_RUN = Layout(
    """
    u32 prog_fd, retval, data_size_in, data_size_out;
    u64 data_in, data_out;
    u32 repeat, duration, ctx_size_in, ctx_size_out;
    u64 ctx_in, ctx_out;
    u32 flags, cpu, batch_size
    """
)


def program_test_run(program_fd: int, *, context: bytes = b"") -> int:
    """Run a program once on this CPU with a context struct of its own type.

    Kernels that can: 4.12 for network programs, 5.10 for raw tracepoints, 5.14 for programs that
    make system calls (net/bpf/test_run.c).

    Returns:
        What the program returned; 0 for a raw tracepoint, whatever it returned.

    Raises:
        OSError: ENOTSUPP or EINVAL for a program of a type that can't be run so.
    """
    buffer = bytearray(context)
    request = _TEST_RUN.pack(
        prog_fd=program_fd,
        ctx_in=address_of(buffer) if buffer else 0,
        ctx_size_in=len(buffer),
    )
    bpf_uninterrupted(Command.PROG_TEST_RUN, request)
    return int(_TEST_RUN.read(request, "retval"))
