"""From what `struct` unpacks to the values that users see: text, enum members, fields of bits."""

from __future__ import annotations

import enum
from typing import Any

TEXT_CACHE_LIMIT = 1024
"""Texts remembered for one array: enough for the names that repeat, and bounded."""

CACHED_TEXT_SIZE = 64
"""Arrays up to this many bytes are remembered: task and device names repeat, paths do less."""


def text(raw: bytes) -> str:
    r"""The characters up to the first NUL; bytes that are not UTF-8 as ``\xNN``."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


class TextCache(dict[bytes, str]):
    """`text` of arrays seen before, without decoding them again: ``cache[raw]``."""

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= TEXT_CACHE_LIMIT:
            self.clear()
        decoded = self[raw] = text(raw)
        return decoded


class EnumTable(dict[int, Any]):
    """Members of an enum by value: ``table[value]``; a value that has no member stays an `int`.

    Of a Flag, values put together from members are members.
    """

    def __init__(self, members: type[enum.Enum]) -> None:
        # Aliases are in __members__ only; all of them are the same object.
        super().__init__((member.value, member) for member in members.__members__.values())
        self._flag = members if issubclass(members, enum.Flag) else None

    def __missing__(self, value: int) -> Any:
        if self._flag is None:
            return value
        try:
            return self._flag(value)
        except ValueError:  # a strict Flag refuses bits that it does not know
            return value


def signed(value: int, width: int) -> int:
    """A field of `width` bits as two's complement."""
    return value - (1 << width) if value >> (width - 1) else value
