"""Hash maps as mutable mappings."""

from __future__ import annotations

import errno
from collections.abc import Iterator, MutableMapping
from typing import TypeVar

from bpfstream.abi.maps import UpdateFlags
from bpfstream.kernel import bpf
from bpfstream.kernel.privileges import explain
from bpfstream.maps.map import Map

K = TypeVar("K")
V = TypeVar("V")


class HashMap(Map[K, V], MutableMapping[K, V]):
    """A hash map (``HASH``, ``LRU_HASH``): a missing key is a `KeyError`.

    Other processes and programs may change the map at any time. An iteration sees each key that
    was there all along at least once; where the key that it stood at is deleted meanwhile, the
    kernel begins anew (kernel/bpf/hashtab.c, htab_map_get_next_key), and the iteration leaves out
    what it has given already.
    """

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

    def __iter__(self) -> Iterator[K]:
        for data in self._keys():
            yield self._key.decode(data)

    def __len__(self) -> int:
        """The number of elements, counted one by one: the kernel keeps no such number."""
        return sum(1 for _ in self._keys())

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]
        except KeyError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def clear(self) -> None:
        """Delete the elements that are there now."""
        for data in list(self._keys()):
            self._delete(data)

    def _delete(self, key: bytes) -> bool:
        try:
            bpf.map_delete(self.fd, key)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise explain(f"delete an element of map {self.name!r}", error) from error
        return True

    def _keys(self) -> Iterator[bytes]:
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
