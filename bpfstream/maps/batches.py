"""Many elements by one system call, for the maps and kernels that have it (Linux 5.6)."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from bpfstream.errors import ENOTSUPP
from bpfstream.kernel import bpf
from bpfstream.kernel.elements import Batch, BatchFailed

FIRST_COUNT = 64
"""Elements asked for first: few, as some who iterate want one."""

MOST_BYTES = 1 << 18
"""Keys and values of a batch, unless a single bucket takes more."""

WRITTEN_AT_ONCE = 4096
"""Elements of one update."""

_WITHOUT_BATCHES = (ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL)
"""What map types without batches answer, and kernels that don't know the commands."""


class NoBatchesError(Exception):
    """The kernel has no batches of this map; nothing was done."""


def read_batches(
    fd: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    after: bytes | None = None,
    delete: bool = False,
) -> Iterator[Batch]:
    """Read a map from its beginning to its end, each element once.

    A hash map is read bucket by bucket (kernel/bpf/hashtab.c, __htab_map_lookup_and_delete_batch):
    what is there all along is given once; what comes or goes meanwhile may or may not be given.

    Args:
        fd: The map.
        key_size: Bytes of a key.
        value_size: Bytes that the kernel writes for a value.
        max_entries: The map's.
        after: Of an array, the key of the element before the first that is wanted.
        delete: Delete what is read, each bucket at once.

    Raises:
        NoBatchesError: Before anything is given.
        OSError: With the kernel's errno.
    """
    most = max(1, min(MOST_BYTES // (key_size + value_size), max_entries))
    count = min(FIRST_COUNT, most)
    token, begun = after, False
    while True:
        try:
            batch = bpf.map_lookup_batch(fd, key_size, value_size, count, token, delete=delete)
        except OSError as error:
            if error.errno == errno.ENOSPC and count <= max_entries:
                count *= 2  # a bucket holds more than that; nothing of it was given
                continue
            if error.errno in _WITHOUT_BATCHES and not begun:
                raise NoBatchesError from error
            raise
        begun = True
        if batch.count:
            yield batch
        if batch.last:
            return
        token, count = batch.token, max(count, min(2 * count, most))


def write_batch(fd: int, keys: bytes, values: bytes, count: int) -> None:
    """Set `count` elements, in order, up to the first that can't be set.

    Raises:
        NoBatchesError: The kernel has none of this map, or doesn't take the very first element.
        BatchFailed: `done` elements were set.
    """
    try:
        bpf.map_update_batch(fd, keys, values, count)
    except BatchFailed as error:
        if error.errno in _WITHOUT_BATCHES and not error.done:
            raise NoBatchesError from error
        raise
