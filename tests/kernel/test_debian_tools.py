"""Objects that nobody here wrote: the events of Debian's libbpf-tools, against a workload of ours.

The tools themselves embed the objects; their event structs stand only in C headers that the
objects' BTF leaves out, so that events come as bytes, or typed by a class that says the C types.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import bpfstream
from bpfstream.kernel.features import Feature, supports
from tests.support import debian_events
from tests.support.debian_events import Connect, Exec, Open
from tests.support.embedded_objects import embedded_objects
from tests.support.requirements import require, require_program

COMMAND = Path(sys.executable).with_name("bpfstream")


def execute() -> None:
    subprocess.run(["/bin/true", "a workload of ours"], check=True)


def open_file() -> None:
    with pytest.raises(FileNotFoundError):
        os.open("/no/such/file/of/ours", os.O_RDONLY)


def connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=20).close()


def is_our_exec(event: Exec) -> bool:
    return event.ppid == os.getpid() and event.arguments == "/bin/true"


def is_our_open(event: Open) -> bool:
    return event.pid == os.getpid() and event.path == "/no/such/file/of/ours"


def is_our_connect(event: Connect) -> bool:
    loopback = int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)
    return event.pid == os.getpid() and event.destination == loopback


@dataclass(frozen=True)
class Tool:
    """A tool, what it sends, and how this process makes it send something recognisable."""

    name: str
    struct: type[msgspec.Struct]
    workload: Callable[[], None]
    is_ours: Callable[[Any], bool]
    mark: bytes


TOOLS = [
    Tool("execsnoop", Exec, execute, is_our_exec, b"a workload of ours"),
    Tool("opensnoop", Open, open_file, is_our_open, b"/no/such/file/of"),
    Tool("tcpconnect", Connect, connect, is_our_connect, socket.inet_aton("127.0.0.1")),
]
each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


@pytest.fixture
def object_of(tmp_path: Path, tracefs: Path) -> Callable[[str], Path]:
    """Takes a tool's object out of it."""

    def take_out(tool: str) -> Path:
        if tool == "tcpconnect" and not (
            supports(Feature.KPROBE_PMU) or supports(Feature.TRACEFS_KPROBES)
        ):
            require(Feature.KPROBE_PMU)
        program = require_program(tool, package="libbpf-tools")
        path = tmp_path / f"{tool}.bpf.o"
        path.write_bytes(next(iter(embedded_objects(program))))
        return path

    return take_out


@each_tool
async def test_typed_when_given_a_struct_class(
    object_of: Callable[[str], Path], tool: Tool
) -> None:
    async with bpfstream.load(object_of(tool.name)) as obj:
        with obj.attach():
            async with obj.events("events", type=tool.struct) as events:
                await trio.to_thread.run_sync(tool.workload)
                with trio.fail_after(30):
                    async for event in events:
                        if tool.is_ours(event):
                            break
                assert events.statistics().lost.total == 0


@each_tool
async def test_as_bytes_from_the_command_line(object_of: Callable[[str], Path], tool: Tool) -> None:
    def is_wanted(line: bytes) -> bool:
        return tool.mark in bytes.fromhex(json.loads(line)["bytes"])

    await run_until(is_wanted, tool.workload, "run", object_of(tool.name), "--json")


@each_tool
async def test_typed_from_the_command_line(object_of: Callable[[str], Path], tool: Tool) -> None:
    def is_wanted(line: bytes) -> bool:
        return tool.is_ours(msgspec.json.decode(line, type=tool.struct))

    kind = f"{debian_events.__file__}:{tool.struct.__name__}"
    await run_until(is_wanted, tool.workload, "run", object_of(tool.name), "--type", kind, "--json")


async def run_until(
    is_wanted: Callable[[bytes], bool], workload: Callable[[], None], *arguments: str | Path
) -> None:
    """Run the command, with a workload that repeats, until it prints a wanted line.

    The command is started by this thread: a worker of trio's may be older than the test's mounts,
    and see none of them.
    """
    process = start(arguments)
    assert process.stdout is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(repeat, workload)
            rest = b""
            asked_to_end = False
            with trio.fail_after(60):
                async with trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as output:
                    async for chunk in output:
                        *lines, rest = (rest + chunk).split(b"\n")
                        if not asked_to_end and any(map(is_wanted, lines)):
                            process.send_signal(signal.SIGINT)
                            asked_to_end = True
            nursery.cancel_scope.cancel()
        assert process.wait() == 0
        assert asked_to_end
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def start(arguments: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE)


async def repeat(workload: Callable[[], None]) -> None:
    while True:
        await trio.to_thread.run_sync(workload)
        await trio.sleep(0.5)
