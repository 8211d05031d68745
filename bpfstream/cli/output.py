"""Writing results: JSON lines, and lines into pipes that may be slow or gone."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import msgspec

PATIENCE = 0.5
"""Seconds that a reader may take for what was written before, when the stream is to end."""


def json_line(value: Any) -> bytes:
    """A value as one line of JSON.

    Structs become objects, enum members their names, bytes hexadecimal text. Text that is no
    UTF-8 keeps a replacement character where it is damaged.
    """
    return msgspec.json.encode(plain(value)) + b"\n"


def plain(value: Any) -> Any:
    """A value made of what JSON knows."""
    match value:
        case Enum():
            return value.name if value.name is not None else value.value
        case None | bool() | int() | float():
            return value
        case str():
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case bytes() | bytearray() | memoryview():
            return value.hex()
        case msgspec.Struct():
            fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
            return {name: plain(inner) for name, inner in fields if inner is not msgspec.UNSET}
        case dict():
            return {str(plain(key)): plain(inner) for key, inner in value.items()}
        case tuple() | list():
            return [plain(inner) for inner in value]
        case frozenset() | set():
            return sorted(plain(inner) for inner in value)
    return str(value)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.buffer.write(json_line(value))
    sys.stdout.buffer.flush()


class LineWriter:
    """Writes lines to stdout at once, without making the event loop wait for a slow reader.

    A pipe that polls writable takes `select.PIPE_BUF` bytes without blocking (pipe(7)), so no
    more than that is written at a time, in whole lines where they fit.

    Args:
        descriptor: Where to write; stays open.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self._can_wait = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines: all of them even when cancelled, unless the reader is stuck.

        Raises:
            BrokenPipeError: Nobody reads them any more.
        """
        for piece in pieces(lines, select.PIPE_BUF):
            if self._can_wait:
                await self._wait_writable()
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    async def _wait_writable(self) -> None:
        """Wait; a cancellation counts only when nothing was read for `PATIENCE` seconds."""
        import trio

        while True:
            with trio.move_on_after(PATIENCE, shield=True) as waiting:
                await trio.lowlevel.wait_writable(self._descriptor)
            if not waiting.cancelled_caught:
                return
            await trio.lowlevel.checkpoint()


def pieces(lines: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Lines joined into pieces of at most `size` bytes; only a longer line is cut."""
    piece = b""
    for line in lines:
        if len(piece) + len(line) > size and piece:
            yield piece
            piece = b""
        piece += line
        while len(piece) > size:
            yield piece[:size]
            piece = piece[size:]
    if piece:
        yield piece
