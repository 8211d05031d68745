"""Hash maps as mutable mappings."""

from __future__ import annotations

import errno
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from itertools import islice
from typing import Any, TypeVar

from bpfstream.abi.maps import UpdateFlags
from bpfstream.errors import KernelError
from bpfstream.kernel import bpf
from bpfstream.kernel.elements import Batch, BatchFailed
from bpfstream.kernel.privileges import explain
from bpfstream.maps.batches import WRITTEN_AT_ONCE, NoBatchesError, read_batches, write_batch
from bpfstream.maps.map import Map

K = TypeVar("K")
V = TypeVar("V")


class HashMap(Map[K, V], MutableMapping[K, V]):
    """A hash map (``HASH``, ``LRU_HASH``): a missing key is a `KeyError`.

    Other processes and programs may change the map at any time. Iterations over it, and over its
    `keys`, `values` and `items`, read it in batches where the kernel has them (Linux 5.6): each key
    that was there all along is given once, one that comes or goes meanwhile is given or not, and
    what is given may have changed since its batch was read. Elsewhere they go from key to key,
    where the kernel begins anew when the key it stood at is deleted (kernel/bpf/hashtab.c,
    htab_map_get_next_key); what was given already is left out.

    Use ``dict(counts.items())`` for a copy; ``dict(counts)`` looks up each key anew, and fails when
    one is gone.
    """

    _has_batches = True

    def __getitem__(self, key: K) -> V:
        value = self._lookup(self._key.encode(key))
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self.put(key, value)

    def put(self, key: K, value: V, flags: UpdateFlags = UpdateFlags.ANY) -> None:
        """Set an element.

        Args:
            key: The key.
            value: The value.
            flags: ``NOEXIST`` to create only, ``EXIST`` to change only.

        Raises:
            KernelError: With errno EEXIST or ENOENT as `flags` ask for, E2BIG when the map is
                full.
        """
        self._update(self._key.encode(key), self._value.encode(value), flags)

    def __delitem__(self, key: K) -> None:
        if not self._delete(self._key.encode(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]
        except KeyError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    # Many elements ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[K]:
        for batch in self._batches():
            yield from self._keys_of(batch)
        if not self._has_batches:
            for data in self._walk():
                yield self._key.decode(data)

    def __len__(self) -> int:
        """The number of elements, counted one by one: the kernel keeps no such number."""
        counted = sum(batch.count for batch in self._batches())
        return counted if self._has_batches else sum(1 for _ in self._walk())

    def items(self) -> ItemsView[K, V]:
        """A view of the keys with their values."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """A view of the values."""
        return _Values(self)

    def elements(self) -> Iterator[tuple[K, V]]:
        """Keys with their values, as an iteration over `items` gives them."""
        for batch in self._batches():
            yield from zip(self._keys_of(batch), self._values_of(batch), strict=True)
        if not self._has_batches:
            for data in self._walk():
                value = self._lookup(data)
                if value is not None:
                    yield self._key.decode(data), value

    def update(self, other: Any = (), /, **more: V) -> None:
        """Set many elements, in batches where the kernel has them (Linux 5.6).

        Args:
            other: A mapping, or pairs of keys and values. Its elements are set in order; those
                before one that is refused stay set.
            more: Further elements of a map whose keys are strings.

        Raises:
            SchemaError: A key or a value does not fit; of its batch nothing is set.
            KernelError: An element is refused: E2BIG when the map is full. The reason says how many
                came before it.
        """
        pairs = iter([*_pairs(other), *more.items()])
        done = 0
        while several := list(islice(pairs, WRITTEN_AT_ONCE)):
            self._set(several, done)
            done += len(several)

    def clear(self) -> None:
        """Delete the elements, in batches where the kernel has them (Linux 5.6).

        What others put in meanwhile may be deleted or not.
        """
        for _ in self._batches(delete=True):
            pass
        if not self._has_batches:
            for data in list(self._walk()):
                self._delete(data)

    def _set(self, pairs: list[tuple[K, V]], done: int) -> None:
        """Set elements of which `done` came before."""
        keys = self._key.encode_run([key for key, _ in pairs], self.spec.key_size)
        values = self._value.encode_run([value for _, value in pairs], self._value_bytes)
        if self._has_batches:
            try:
                write_batch(self.fd, keys, values, len(pairs))
            except NoBatchesError:
                self._has_batches = False
            except BatchFailed as error:
                raise self._not_set(done + error.done, error) from error
            else:
                return
        key_size, value_size = self.spec.key_size, self._value_bytes
        for number in range(len(pairs)):
            key = keys[number * key_size :][:key_size]
            value = values[number * value_size :][:value_size]
            try:
                bpf.map_update(self.fd, key, value)
            except OSError as error:
                raise self._not_set(done + number, error) from error

    def _not_set(self, done: int, error: OSError) -> KernelError:
        return explain(f"update element {done} of those for map {self.name!r}", error)

    def _batches(self, *, delete: bool = False) -> Iterator[Batch]:
        """The elements; none, and `_has_batches` is false, where the kernel has no batches."""
        if not self._has_batches:
            return
        try:
            yield from read_batches(
                self.fd, self.spec.key_size, self._value_bytes, self.max_entries, delete=delete
            )
        except NoBatchesError:
            self._has_batches = False
        except OSError as error:
            raise explain(f"iterate over map {self.name!r}", error) from error

    def _keys_of(self, batch: Batch) -> list[K]:
        return self._key.decode_run(batch.keys, self.spec.key_size, batch.count)

    def _values_of(self, batch: Batch) -> list[V]:
        return self._value.decode_run(batch.values, self._value_bytes, batch.count)

    # One element after another ------------------------------------------------------------------

    def _walk(self) -> Iterator[bytes]:
        """Every key, from one to the next."""
        given: set[bytes] = set()
        repeated = 0
        key: bytes | None = None
        while (key := self._next_key(key)) is not None:
            if key not in given:
                given.add(key)
                yield key
            else:
                # Deletions can throw the walk back again and again: it has to end some time.
                repeated += 1
                if repeated > 2 * self.max_entries:
                    return

    def _next_key(self, key: bytes | None) -> bytes | None:
        try:
            return bpf.map_next_key(self.fd, key, self.spec.key_size)
        except OSError as error:
            raise explain(f"iterate over map {self.name!r}", error) from error

    def _delete(self, key: bytes) -> bool:
        try:
            bpf.map_delete(self.fd, key)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise explain(f"delete an element of map {self.name!r}", error) from error
        return True


class _Items(ItemsView[K, V]):
    """Keys and values read together, where the view of `Mapping` looks up each key."""

    def __init__(self, mapping: HashMap[K, V]) -> None:
        super().__init__(mapping)
        self._map = mapping

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._map.elements()


class _Values(ValuesView[V]):
    def __init__(self, mapping: HashMap[Any, V]) -> None:
        super().__init__(mapping)
        self._map = mapping

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._map.elements())


def _pairs(other: Any) -> Iterable[tuple[Any, Any]]:
    """The elements of what `dict.update` takes."""
    if isinstance(other, Mapping):
        return other.items()
    if hasattr(other, "keys"):
        return ((key, other[key]) for key in other.keys())  # noqa: SIM118 - that is the protocol
    elements: Iterable[tuple[Any, Any]] = other
    return elements
