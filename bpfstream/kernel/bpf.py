"""The commands of bpf(2), one typed function each.

They raise plain OSErrors with the kernel's errno; the rooms above know what was wanted and turn
them into errors of the library with `bpfstream.kernel.privileges.explain`. File descriptors are
ints, close-on-exec, and belong to the caller.

What a command needs of the kernel stands in its docstring (bpf(2), kernel/bpf/syscall.c).
"""

from __future__ import annotations

import errno
import os
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from bpfstream.abi import attributes
from bpfstream.abi.commands import Command
from bpfstream.abi.programs import AttachType
from bpfstream.kernel.elements import (
    Batch,
    BatchFailed,
    map_delete,
    map_delete_batch,
    map_freeze,
    map_lookup,
    map_lookup_and_delete,
    map_lookup_batch,
    map_next_key,
    map_update,
    map_update_batch,
)
from bpfstream.kernel.memlock import raise_limit
from bpfstream.kernel.syscalls import address_of, bpf_uninterrupted

__all__ = [
    "Batch",
    "BatchFailed",
    "BtfLoadFailed",
    "ObjectKind",
    "ProgramLoadFailed",
    "btf_load",
    "fd_by_id",
    "ids",
    "link_create",
    "link_detach",
    "link_update",
    "map_create",
    "map_delete",
    "map_delete_batch",
    "map_freeze",
    "map_lookup",
    "map_lookup_and_delete",
    "map_lookup_batch",
    "map_next_key",
    "map_update",
    "map_update_batch",
    "next_id",
    "object_get",
    "object_pin",
    "program_load",
    "raw_tracepoint_open",
]

_FIRST_LOG_SIZE = 1 << 16
_MAX_LOG_SIZE = (1 << 24) - 1
"""The largest verifier log, in bytes, that every kernel takes (``UINT_MAX >> 8`` up to 5.17)."""

_MAX_KNOWN_LOG_SIZE = 1 << 30
"""The largest one of kernels that say how long a log is; they take it (kernel/bpf/log.c)."""


class ProgramLoadFailed(OSError):  # noqa: N818 - a failure with a log, told apart from errors.py's
    """The kernel refused a program.

    Attributes:
        log: The verifier's log; empty when the program did not reach the verifier.
        log_truncated: Whether the log is incomplete.
    """

    def __init__(self, error: OSError, log: str, log_truncated: bool) -> None:
        super().__init__(error.errno, error.strerror)
        self.log = log
        self.log_truncated = log_truncated


class BtfLoadFailed(OSError):  # noqa: N818
    """The kernel refused BTF.

    Attributes:
        log: What it wrote about it.
        log_truncated: Whether the log is incomplete.
    """

    def __init__(self, error: OSError, log: str, log_truncated: bool) -> None:
        super().__init__(error.errno, error.strerror)
        self.log = log
        self.log_truncated = log_truncated


def _kernel_name(name: str) -> bytes:
    """A name as the kernel takes it: at most 15 characters of [A-Za-z0-9_.]."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)[: attributes.NAME_LENGTH - 1].encode()


# Maps ------------------------------------------------------------------------------------------


def map_create(
    map_type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    name: str = "",
    inner_map_fd: int = 0,
    numa_node: int = 0,
    btf_fd: int = 0,
    btf_key_type_id: int = 0,
    btf_value_type_id: int = 0,
    btf_vmlinux_value_type_id: int = 0,
    map_extra: int = 0,
) -> int:
    """Create a map. Sizes are bytes; `name` is cut to 15 characters (names: Linux 4.15).

    Returns:
        The map's file descriptor.

    Raises:
        OSError: EINVAL for a type or flag that the kernel lacks, E2BIG for sizes beyond its bounds.
    """
    request = attributes.MAP_CREATE.pack(
        map_type=map_type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        map_flags=flags,
        map_name=_kernel_name(name),
        inner_map_fd=inner_map_fd,
        numa_node=numa_node,
        btf_fd=btf_fd,
        btf_key_type_id=btf_key_type_id,
        btf_value_type_id=btf_value_type_id,
        btf_vmlinux_value_type_id=btf_vmlinux_value_type_id,
        map_extra=map_extra,
    )
    return _charged(lambda: bpf_uninterrupted(Command.MAP_CREATE, request))


def _charged(call: Callable[[], int]) -> int:
    """Make a call; when RLIMIT_MEMLOCK is what refused it, raise the limit and call again."""
    try:
        return call()
    except OSError as error:
        if error.errno != errno.EPERM or not raise_limit():
            raise
    return call()


# Programs --------------------------------------------------------------------------------------


def program_load(
    program_type: int,
    code: bytes,
    *,
    license: str,  # noqa: A002 - the kernel's word for it
    name: str = "",
    attach_type: int = 0,
    flags: int = 0,
    kernel_version: int = 0,
    log_level: int = 1,
    log_size: int = _FIRST_LOG_SIZE,
    btf_fd: int = 0,
    function_info: bytes = b"",
    function_info_size: int = 0,
    line_info: bytes = b"",
    line_info_size: int = 0,
    attach_btf_id: int = 0,
    attach_btf_obj_fd: int = 0,
    attach_prog_fd: int = 0,
    fd_array: Sequence[int] = (),
) -> int:
    """Load a program.

    The verifier writes no log at first, which is quicker. When it refuses, the program is tried a
    second time with a log of `log_level`, whose buffer grows from `log_size` bytes until it holds
    the whole log.

    Args:
        program_type: A `ProgramType`.
        code: Encoded instructions in the machine's byte order, 8 bytes each.
        license: As in the object; GPL-only helpers ask for a compatible one.
        name: Cut to 15 characters (Linux 4.15).
        attach_type: The expected `AttachType` (Linux 4.17).
        flags: `ProgramFlags`.
        kernel_version: ``LINUX_VERSION_CODE``; kprobes need it before Linux 5.0.
        log_level: 1 for the failing path, 2 for every instruction, 0 for no log.
        log_size: Bytes to begin with.
        btf_fd: BTF that `function_info` and `line_info` refer to (Linux 5.0).
        function_info: Records of `function_info_size` bytes each.
        function_info_size: See `function_info`.
        line_info: Records of `line_info_size` bytes each.
        line_info_size: See `line_info`.
        attach_btf_id: The kernel's BTF id of what a tracing or LSM program attaches to.
        attach_btf_obj_fd: BTF of the module that `attach_btf_id` is in; 0 for the kernel itself.
        attach_prog_fd: The program that an extension replaces a function of.
        fd_array: Maps and module BTFs that instructions refer to by index (Linux 5.14).

    Returns:
        The program's file descriptor.

    Raises:
        ProgramLoadFailed: With the errno of the first try.
    """
    instructions, license_text = bytearray(code), bytearray(license.encode() + b"\0")
    functions, lines = bytearray(function_info), bytearray(line_info)
    descriptors = bytearray(array("i", fd_array).tobytes())
    fields: dict[str, int | bytes] = {
        "prog_type": program_type,
        "insn_cnt": len(code) // 8,
        "insns": address_of(instructions),
        "license": address_of(license_text),
        "kern_version": kernel_version,
        "prog_flags": flags,
        "prog_name": _kernel_name(name),
        "expected_attach_type": attach_type,
        "prog_btf_fd": btf_fd,
        "func_info_rec_size": function_info_size,
        "func_info": address_of(functions),
        "func_info_cnt": len(functions) // function_info_size if functions else 0,
        "line_info_rec_size": line_info_size,
        "line_info": address_of(lines),
        "line_info_cnt": len(lines) // line_info_size if lines else 0,
        "attach_btf_id": attach_btf_id,
        "attach_prog_fd": attach_prog_fd or attach_btf_obj_fd,
        "fd_array": address_of(descriptors),
    }
    plain = attributes.PROG_LOAD.pack(**fields)
    try:
        return _charged(lambda: bpf_uninterrupted(Command.PROG_LOAD, plain))
    except OSError as error:
        if log_level == 0:
            raise ProgramLoadFailed(error, "", False) from error
        first_error = error
    return _load_with_log(fields, log_level, log_size, first_error)


def _load_with_log(
    fields: dict[str, int | bytes], level: int, size: int, first_error: OSError
) -> int:
    """Load again to learn why the first try failed.

    A log that is cut makes the errno ENOSPC (kernel/bpf/log.c), which is why the first try's errno
    is the one reported. From Linux 6.4 on the kernel also says how long the whole log would be.
    """
    while True:
        log = bytearray(size)
        request = attributes.PROG_LOAD.pack(
            **fields, log_level=level, log_size=size, log_buf=address_of(log)
        )
        try:
            return bpf_uninterrupted(Command.PROG_LOAD, request)
        except OSError as error:
            truncated = error.errno == errno.ENOSPC
            grown = _grown_log_size(request, size)
            if truncated and grown > size:
                size = grown
                continue
            text = bytes(log).partition(b"\0")[0].decode(errors="replace")
            raise ProgramLoadFailed(first_error, text, truncated) from first_error


def _grown_log_size(request: bytearray, size: int) -> int:
    whole: int = attributes.PROG_LOAD.read(request, "log_true_size")
    return min(whole, _MAX_KNOWN_LOG_SIZE) if whole else min(size * 2, _MAX_LOG_SIZE)


# BTF -------------------------------------------------------------------------------------------


def btf_load(data: bytes, *, log_size: int = _FIRST_LOG_SIZE) -> int:
    """Load BTF (Linux 4.18). `log_size` is for the message that a refusal carries; 0 for none.

    Returns:
        Its file descriptor.

    Raises:
        BtfLoadFailed: With the kernel's log, cut at its end when it is longer.
    """
    buffer = bytearray(data)
    request = attributes.BTF_LOAD.pack(btf=address_of(buffer), btf_size=len(buffer))
    try:
        return bpf_uninterrupted(Command.BTF_LOAD, request)
    except OSError as error:
        if log_size == 0:
            raise
        first_error = error
    log = bytearray(log_size)
    request = attributes.BTF_LOAD.pack(
        btf=address_of(buffer),
        btf_size=len(buffer),
        btf_log_buf=address_of(log),
        btf_log_size=log_size,
        btf_log_level=1,
    )
    try:
        return bpf_uninterrupted(Command.BTF_LOAD, request)
    except OSError as error:
        text = bytes(log).partition(b"\0")[0].decode(errors="replace")
        raise BtfLoadFailed(first_error, text, error.errno == errno.ENOSPC) from first_error


# Links -----------------------------------------------------------------------------------------


_TRACING_ATTACH_TYPES = frozenset(
    {
        AttachType.TRACE_RAW_TP,
        AttachType.TRACE_FENTRY,
        AttachType.TRACE_FEXIT,
        AttachType.MODIFY_RETURN,
        AttachType.LSM_MAC,
        AttachType.TRACE_FSESSION,
    }
)


def link_create(
    program_fd: int,
    target: int,
    attach_type: int,
    *,
    flags: int = 0,
    cookie: int = 0,
    target_btf_id: int = 0,
) -> int:
    """Attach a program (Linux 5.7).

    Args:
        program_fd: The program.
        target: What to attach to: a file descriptor, an interface index for XDP, or 0.
        attach_type: An `AttachType`. ``PERF_EVENT`` needs Linux 5.15, ``XDP`` 5.9.
        flags: The attach type's own, such as the XDP mode.
        cookie: What the program gets from ``bpf_get_attach_cookie``: of ``PERF_EVENT`` (5.15) and
            tracing programs (5.19; raw tracepoints 6.10).
        target_btf_id: Another target than that of the load, for extensions (Linux 5.10).

    Returns:
        The link's file descriptor.

    Raises:
        OSError: E2BIG or EINVAL where the kernel is too old for the attach type or cookie.
        ValueError: The attach type takes no cookie.
    """
    common = {
        "prog_fd": program_fd,
        "target_fd": target,
        "attach_type": attach_type,
        "flags": flags,
    }
    if attach_type == AttachType.PERF_EVENT:
        request = attributes.LINK_CREATE_PERF_EVENT.pack(**common, bpf_cookie=cookie)
    elif attach_type in _TRACING_ATTACH_TYPES or target_btf_id:
        request = attributes.LINK_CREATE_TRACING.pack(
            **common, target_btf_id=target_btf_id, cookie=cookie
        )
    elif cookie:
        raise ValueError(f"links of attach type {attach_type} take no cookie")
    else:
        request = attributes.LINK_CREATE.pack(**common)
    return bpf_uninterrupted(Command.LINK_CREATE, request)


def raw_tracepoint_open(name: str | None, program_fd: int, *, cookie: int = 0) -> int:
    """Attach a program to a raw tracepoint (Linux 4.17), or where it was loaded for if None.

    Returns:
        The link's file descriptor.

    Raises:
        OSError: ENOENT for an unknown tracepoint, EINVAL for a wrong program type.
    """
    text = bytearray(name.encode() + b"\0") if name is not None else bytearray()
    request = attributes.RAW_TRACEPOINT_OPEN.pack(
        name=address_of(text), prog_fd=program_fd, cookie=cookie
    )
    return bpf_uninterrupted(Command.RAW_TRACEPOINT_OPEN, request)


def link_update(link_fd: int, program_fd: int, *, flags: int = 0, old_program_fd: int = 0) -> None:
    """Replace a link's program (Linux 5.7; not for tracing and perf links)."""
    request = attributes.LINK_UPDATE.pack(
        link_fd=link_fd, new_prog_fd=program_fd, flags=flags, old_prog_fd=old_program_fd
    )
    bpf_uninterrupted(Command.LINK_UPDATE, request)


def link_detach(link_fd: int) -> None:
    """Detach a link that others may hold too (Linux 5.9).

    Raises:
        OSError: EOPNOTSUPP for tracing, raw tracepoint, perf and multi-probe links: these detach
            when their last file descriptor and pin are gone.
    """
    bpf_uninterrupted(Command.LINK_DETACH, attributes.LINK_DETACH.pack(link_fd=link_fd))


# Pins and ids ----------------------------------------------------------------------------------


def object_pin(fd: int, path: str | os.PathLike[str]) -> None:
    """Give a map, program or link a name in a BPF file system (Linux 4.4; links 5.7).

    Raises:
        OSError: EPERM when `path` is not in a BPF file system or its name has a dot.
    """
    text = bytearray(os.fsencode(path) + b"\0")
    bpf_uninterrupted(Command.OBJ_PIN, attributes.OBJ.pack(pathname=address_of(text), bpf_fd=fd))


def object_get(path: str | os.PathLike[str], *, flags: int = 0) -> int:
    """Open what is pinned at `path` (Linux 4.4). `flags`: ``MapFlags.RDONLY`` or ``WRONLY``.

    Returns:
        A file descriptor of whatever it is.

    Raises:
        OSError: ENOENT when there is nothing, EACCES when it is an ordinary file.
    """
    text = bytearray(os.fsencode(path) + b"\0")
    return bpf_uninterrupted(
        Command.OBJ_GET, attributes.OBJ.pack(pathname=address_of(text), file_flags=flags)
    )


class ObjectKind(Enum):
    """The kinds of kernel objects that have ids; the value names their two commands."""

    PROGRAM = (Command.PROG_GET_NEXT_ID, Command.PROG_GET_FD_BY_ID)  # Linux 4.13
    MAP = (Command.MAP_GET_NEXT_ID, Command.MAP_GET_FD_BY_ID)  # Linux 4.13
    BTF = (Command.BTF_GET_NEXT_ID, Command.BTF_GET_FD_BY_ID)  # Linux 5.4, 4.18
    LINK = (Command.LINK_GET_NEXT_ID, Command.LINK_GET_FD_BY_ID)  # Linux 5.8


def next_id(kind: ObjectKind, after: int = 0) -> int | None:
    """The smallest id above `after`; None when there is none. Needs CAP_SYS_ADMIN."""
    request = attributes.GET_ID.pack(start_id=after)
    try:
        bpf_uninterrupted(kind.value[0], request)
    except FileNotFoundError:
        return None
    following: int = attributes.GET_ID.read(request, "next_id")
    return following


def ids(kind: ObjectKind) -> Iterator[int]:
    """The ids of all objects of a kind, ascending. An object may be gone when its turn comes."""
    current = 0
    while (following := next_id(kind, current)) is not None:
        current = following
        yield current


def fd_by_id(kind: ObjectKind, object_id: int) -> int:
    """Open an object by its id. Needs CAP_SYS_ADMIN.

    Returns:
        Its file descriptor.

    Raises:
        OSError: ENOENT when it does not exist or is gone meanwhile.
    """
    return bpf_uninterrupted(kind.value[1], attributes.GET_ID.pack(start_id=object_id))
