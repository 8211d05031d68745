"""Array maps as sequences."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TypeVar, overload

from bpfstream.abi.maps import UpdateFlags
from bpfstream.kernel.elements import BatchFailed
from bpfstream.kernel.privileges import explain
from bpfstream.maps.batches import WRITTEN_AT_ONCE, NoBatchesError, read_batches, write_batch
from bpfstream.maps.map import Map

V = TypeVar("V")

_INDEX = struct.Struct("=I")  # array keys are a native u32 (kernel/bpf/arraymap.c)


class ArrayMap(Map[int, V], Sequence[V]):
    """An array map: `max_entries` elements that are always there, zero at first.

    Slices and iterations read it in batches where the kernel has them (Linux 5.6, per-CPU arrays
    5.13): an element may have changed since its batch was read.
    """

    _has_batches = True

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> list[V]: ...
    def __getitem__(self, index: int | slice) -> V | list[V]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return list(islice(self._from(start), max(0, stop - start)))
            return [self[at] for at in range(start, stop, step)]
        value = self._lookup(self._position(index))
        if value is None:
            raise IndexError(f"map {self.name!r} has no element {index}")
        return value

    def __setitem__(self, index: int, value: V) -> None:
        self._update(self._position(index), self._value.encode(value), UpdateFlags.ANY)

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[V]:
        return self._from(0)

    def update(self, elements: Mapping[int, V]) -> None:
        """Set many elements, in batches where the kernel has them.

        Args:
            elements: New values by index; set in order, until one is refused.

        Raises:
            IndexError: An index lies outside; nothing is set.
            SchemaError: A value does not fit; of its batch nothing is set.
            KernelError: The map can't be written.
        """
        keys = [self._position(index) for index in elements]
        values = iter(elements.values())
        for start in range(0, len(keys), WRITTEN_AT_ONCE):
            several = keys[start : start + WRITTEN_AT_ONCE]
            run = self._value.encode_run(list(islice(values, len(several))), self._value_bytes)
            self._set(several, run)

    def clear(self) -> None:
        """Make all elements zero, in batches where the kernel has them."""
        for start in range(0, len(self), WRITTEN_AT_ONCE):
            several = range(start, min(start + WRITTEN_AT_ONCE, len(self)))
            keys = [_INDEX.pack(index) for index in several]
            self._set(keys, bytes(self._value_bytes * len(keys)))

    def _set(self, keys: list[bytes], values: bytes) -> None:
        if self._has_batches:
            try:
                write_batch(self.fd, b"".join(keys), values, len(keys))
            except NoBatchesError:
                self._has_batches = False
            except BatchFailed as error:
                raise explain(f"update elements of map {self.name!r}", error) from error
            else:
                return
        size = self._value_bytes
        for number, key in enumerate(keys):
            self._update(key, values[number * size : (number + 1) * size], UpdateFlags.ANY)

    def _from(self, start: int) -> Iterator[V]:
        """The values from an index on."""
        return chain.from_iterable(self._runs(start))

    def _runs(self, start: int) -> Iterator[list[V]]:
        given = start
        after = _INDEX.pack(start - 1) if start else None
        if self._has_batches:
            try:
                for batch in read_batches(
                    self.fd, _INDEX.size, self._value_bytes, self.max_entries, after=after
                ):
                    yield self._value.decode_run(batch.values, self._value_bytes, batch.count)
                    given += batch.count
            except NoBatchesError:
                self._has_batches = False
            except OSError as error:
                raise explain(f"iterate over map {self.name!r}", error) from error
            else:
                return
        for index in range(given, len(self)):
            yield [self[index]]

    def _position(self, index: int) -> bytes:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"map {self.name!r} has {len(self)} elements, not one at {index}")
        return _INDEX.pack(at)
