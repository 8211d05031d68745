"""Array maps as sequences."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

from bpfstream.abi.maps import UpdateFlags
from bpfstream.maps.map import Map

V = TypeVar("V")

_INDEX = struct.Struct("=I")  # array keys are a native u32 (kernel/bpf/arraymap.c)


class ArrayMap(Map[int, V], Sequence[V]):
    """An array map: `max_entries` elements that are always there, zero at first."""

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> list[V]: ...
    def __getitem__(self, index: int | slice) -> V | list[V]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        value = self._lookup(self._position(index))
        if value is None:
            raise IndexError(f"map {self.name!r} has no element {index}")
        return value

    def __setitem__(self, index: int, value: V) -> None:
        self._update(self._position(index), self._value.encode(value), UpdateFlags.ANY)

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[V]:
        return (self[index] for index in range(len(self)))

    def _position(self, index: int) -> bytes:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"map {self.name!r} has {len(self)} elements, not one at {index}")
        return _INDEX.pack(at)
