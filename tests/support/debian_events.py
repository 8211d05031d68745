"""What the tools of Debian's libbpf-tools send, as their C headers say it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bpfstream.records import I32, U16, U32, U64, Array, Chars


class Exec(msgspec.Struct):
    """execsnoop's event; it sends as many arguments as there are, each with a NUL behind it."""

    pid: Annotated[int, I32]
    ppid: Annotated[int, I32]
    uid: Annotated[int, U32]
    returned: Annotated[int, I32]
    argument_count: Annotated[int, I32]
    argument_bytes: Annotated[int, U32]
    comm: Annotated[str, Chars(16)]
    arguments: Annotated[str, Chars()]


class Open(msgspec.Struct):
    """opensnoop's event."""

    time: Annotated[int, U64]
    pid: Annotated[int, I32]
    uid: Annotated[int, U32]
    returned: Annotated[int, I32]
    flags: Annotated[int, I32]
    callers: Annotated[tuple[int, ...], Array(U64, 2)]
    comm: Annotated[str, Chars(16)]
    path: Annotated[str, Chars(255)]


class Connect(msgspec.Struct):
    """tcpconnect's event, of an IPv4 connection."""

    source: Annotated[int, U32]
    rest_of_source: Annotated[tuple[int, ...], Array(U32, 3)]
    destination: Annotated[int, U32]
    rest_of_destination: Annotated[tuple[int, ...], Array(U32, 3)]
    comm: Annotated[str, Chars(16)]
    time: Annotated[int, U64]
    family: Annotated[int, U32]
    pid: Annotated[int, U32]
    uid: Annotated[int, U32]
    source_port: Annotated[int, U16]
    destination_port: Annotated[int, U16]
