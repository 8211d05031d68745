"""The string table of BTF, searched as it is: it is never split into one object a string."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from bpfstream._native import COMPILED, hot
from bpfstream.btf.header import SECTION
from bpfstream.btf.names import FLAVOUR_SEPARATOR
from bpfstream.errors import BtfError

if TYPE_CHECKING:
    import mmap

EXHAUSTIVE_SEARCH_LIMIT = 1 << 18
"""Bytes up to which a table is searched to its end, see `StringTable.places`."""


def encode_name(name: str) -> bytes:
    """A name as it stands in a table, without the NUL.

    Raises:
        BtfError: It has surrogates that no bytes stand for.
    """
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BtfError(f"name {name!r} can't be encoded") from None


class StringTable:
    """NUL-terminated strings, named by their byte offset; those of split BTF go on after its base.

    Bytes that are not UTF-8 become lone surrogates (PEP 383), so that any name can be shown, and
    looked up again.
    """

    def __init__(
        self,
        data: bytes | memoryview | mmap.mmap,
        start: int,
        end: int,
        base: StringTable | None = None,
    ) -> None:
        """A table in `data[start:end]`. Bytes are searched in place, anything else is copied.

        Raises:
            BtfError: The table does not end with NUL, or offset 0 is not the empty string.
        """
        if (base is None or end > start) and (end == start or data[end - 1] != 0):
            raise BtfError("BTF strings do not end with NUL", section=SECTION, offset=end)
        if base is None and data[start] != 0:
            raise BtfError("BTF strings do not begin with NUL", section=SECTION, offset=start)
        self.base = base
        self.first: int = base.end if base is not None else 0
        self.end: int = self.first + end - start
        self._file_offset = start
        self._text, self._start = (
            (data, start) if isinstance(data, bytes) else (bytes(data[start:end]), 0)
        )
        self._end = self._start + end - start
        self._cuts: Sequence[int] | None = None

    def get(self, offset: int) -> str:
        """The string at `offset`, which may lie inside a longer one.

        Raises:
            BtfError: The offset is outside of the table.
        """
        if offset < self.first and self.base is not None:
            return self.base.get(offset)
        if not self.first <= offset < self.end:
            raise BtfError(f"string offset {offset} of {self.end}", section=SECTION)
        begin = self._start + offset - self.first
        return self._text[begin : self._text.index(0, begin)].decode("utf-8", "surrogateescape")

    def has_inside(self, offsets: array[int], *, native: bool = COMPILED) -> bool:
        """Some of these offsets lie inside a string rather than at its start."""
        if native:
            inside = hot.any_inside(self._text, self._start, self._end, self.first, offsets)
        else:
            inside = self._has_inside(set(offsets))
        return inside or (self.base is not None and self.base.has_inside(offsets, native=native))

    def _has_inside(self, offsets: Collection[int]) -> bool:
        text, first, end = self._text, self.first, self.end
        before = self._start - first - 1
        own = [text[before + offset] for offset in offsets if first < offset < end]
        return any(own)

    def raw(self) -> bytes:
        """The bytes of this table, without its base."""
        return self._text[self._start : self._end]

    @property
    def is_small(self) -> bool:
        """A search for every place of a string costs next to nothing."""
        return self._end - self._start <= EXHAUSTIVE_SEARCH_LIMIT

    def offset_of(self, name: str) -> int | None:
        """Where `name` stands whole, in the base first; None if it does not."""
        if self.base is not None and (found := self.base.offset_of(name)) is not None:
            return found
        if not name:
            return 0 if self.base is None else None
        wanted = encode_name(name) + b"\0"
        if wanted.index(0) < len(wanted) - 1:
            return None
        if self._text.startswith(wanted, self._start, self._end):
            return self.first
        found = self._text.find(b"\0" + wanted, self._start, self._end)
        return found + 1 - self._start + self.first if found >= 0 else None

    def places(self, name: str) -> Iterator[int]:
        """Every offset, the base's first, at which `name` stands, also as a longer one's end."""
        if self.base is not None:
            yield from self.base.places(name)
        wanted = encode_name(name) + b"\0"
        if not name or wanted.index(0) < len(wanted) - 1:
            return
        place = self._text.find(wanted, self._start, self._end)
        while place >= 0:
            yield place - self._start + self.first
            place = self._text.find(wanted, place + 1, self._end)

    def _flavour_cuts(self, native: bool) -> Sequence[int]:
        """Where the essential names of those strings end that have a flavour."""
        if self._cuts is None:
            find = hot.find_flavours if native else _find_flavours
            self._cuts = find(self._text, self._start, self._end)
        return self._cuts

    def flavoured_places(self, name: str, *, native: bool = COMPILED) -> Iterator[int]:
        """Every offset, the base's first, at which `name` stands with a flavour."""
        if self.base is not None:
            yield from self.base.flavoured_places(name, native=native)
        wanted = encode_name(name)
        for cut in self._flavour_cuts(native):
            if wanted and self._text.endswith(wanted, self._start, cut):
                yield cut - len(wanted) - self._start + self.first


def _find_flavours(text: bytes, start: int, end: int) -> list[int]:
    """The last separator of each string in `text[start:end]` that has a flavour."""
    separator = FLAVOUR_SEPARATOR.encode()
    cuts: list[int] = []
    cut = text.find(separator, start, end)
    while cut >= 0:
        before, after = text[max(start, cut - 1) : cut], text[cut + 3 : min(end, cut + 4)]
        if before not in b"_\0" and after not in b"_\0":
            if cuts and text.find(b"\0", cuts[-1], cut) < 0:
                cuts.pop()  # of one string the last separator counts
            cuts.append(cut)
        cut = text.find(separator, cut + 1, end)
    return cuts
