"""The elements of maps: one by one, and in batches.

These are commands of bpf(2) as those of `bpfstream.kernel.bpf`, which has them too, are: plain
OSErrors with the kernel's errno leave them.
"""

from __future__ import annotations

import struct

import msgspec

from bpfstream.abi import attributes
from bpfstream.abi.commands import Command
from bpfstream.kernel.syscalls import address_of, bpf_at, bpf_uninterrupted


class BatchFailed(OSError):  # noqa: N818
    """A batch of updates or deletions stopped part way.

    Attributes:
        done: How many elements from the start were done.
    """

    def __init__(self, error: OSError, done: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.done = done


_ELEMENT = struct.Struct("=i4xQQQ")
"""`attributes.MAP_ELEMENT`, all fields at once: these are the calls that are made most."""


def _element(
    command: Command, fd: int, key: bytes | None, value: bytes | None, value_size: int, flags: int
) -> bytes:
    """Make one call on one element; what the kernel wrote for its value.

    The attributes, the key and the value lie in one buffer, of which one address is taken.
    """
    key_at = _ELEMENT.size
    value_at = key_at + (len(key) + 7 & ~7 if key else 0)
    buffer = bytearray(value_at + value_size)
    if key:
        buffer[key_at : key_at + len(key)] = key
    if value:
        buffer[value_at:] = value
    address = address_of(buffer)
    key_address = address + key_at if key else 0
    _ELEMENT.pack_into(buffer, 0, fd, key_address, address + value_at if value_size else 0, flags)
    while True:
        try:
            bpf_at(command, address, key_at)
        except InterruptedError:
            continue
        return bytes(buffer[value_at:])


def map_lookup(fd: int, key: bytes, value_size: int, flags: int = 0) -> bytes | None:
    """Read an element into `value_size` bytes; None when there is none.

    The kernel writes as many bytes as the map's values take, whatever `value_size` says: for
    per-CPU maps that is one slot of 8-byte-rounded size for each possible CPU. `key` is empty for
    queues and stacks.
    """
    try:
        return _element(Command.MAP_LOOKUP_ELEM, fd, key, None, value_size, flags)
    except FileNotFoundError:
        return None


def map_lookup_and_delete(fd: int, key: bytes, value_size: int, flags: int = 0) -> bytes | None:
    """Take an element out; None when there is none (queues 4.20, hash maps 5.14)."""
    try:
        return _element(Command.MAP_LOOKUP_AND_DELETE_ELEM, fd, key, None, value_size, flags)
    except FileNotFoundError:
        return None


def map_update(fd: int, key: bytes, value: bytes, flags: int = 0) -> None:
    """Write an element.

    Raises:
        OSError: EEXIST or ENOENT against the flags NOEXIST and EXIST, E2BIG when the map is full or
            an index is past its end.
    """
    _element(Command.MAP_UPDATE_ELEM, fd, key, value, len(value), flags)


def map_delete(fd: int, key: bytes) -> None:
    """Delete an element.

    Raises:
        OSError: ENOENT when there is none.
    """
    _element(Command.MAP_DELETE_ELEM, fd, key, None, 0, 0)


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key after `key`, the first for None (Linux 4.12), None after the last.

    After a key that is gone comes the first again, so a walk must be bounded.
    """
    try:
        return _element(Command.MAP_GET_NEXT_KEY, fd, key, None, key_size, 0)
    except FileNotFoundError:
        return None


def map_freeze(fd: int) -> None:
    """Forbid user space to write the map, for good (Linux 5.2)."""
    bpf_uninterrupted(Command.MAP_FREEZE, attributes.MAP_ELEMENT.pack(map_fd=fd)[:8])


class Batch(msgspec.Struct, frozen=True):
    """A run of elements from a map, the buffers of which are the caller's.

    Attributes:
        keys: The keys, one after another.
        values: The values, one after another.
        count: How many there are.
        token: Where the next batch begins.
        last: Whether the map ends with this batch.
    """

    keys: memoryview
    values: memoryview
    count: int
    token: bytes
    last: bool


def map_lookup_batch(
    fd: int,
    key_size: int,
    value_size: int,
    count: int,
    token: bytes | None = None,
    *,
    delete: bool = False,
    element_flags: int = 0,
) -> Batch:
    """Read up to `count` elements from `token` on, and delete them if `delete` (Linux 5.6).

    `value_size` is what the kernel writes for an element: see `map_lookup`.

    Raises:
        OSError: ENOSPC when a hash bucket holds more than `count` elements (nothing is lost: ask
            again with more room), ENOTSUPP for map types without batches.
    """
    keys, values = bytearray(key_size * count), bytearray(value_size * count)
    token_in = bytearray(token or b"")
    # Hash maps write a 4-byte bucket number, all others a key.
    token_out = bytearray(max(key_size, 4))
    request = attributes.MAP_BATCH.pack(
        map_fd=fd,
        in_batch=address_of(token_in),
        out_batch=address_of(token_out),
        keys=address_of(keys),
        values=address_of(values),
        count=count,
        elem_flags=element_flags,
    )
    last = False
    try:
        bpf_uninterrupted(
            Command.MAP_LOOKUP_AND_DELETE_BATCH if delete else Command.MAP_LOOKUP_BATCH, request
        )
    except FileNotFoundError:
        last = True  # the end of the map, and `count` elements before it are valid
    filled = attributes.MAP_BATCH.read(request, "count")
    return Batch(
        memoryview(keys)[: filled * key_size],
        memoryview(values)[: filled * value_size],
        filled,
        bytes(token_out),
        last,
    )


def map_update_batch(
    fd: int, keys: bytes, values: bytes, count: int, *, element_flags: int = 0
) -> None:
    """Write `count` elements (Linux 5.6).

    Raises:
        BatchFailed: At the first element that can't be written; `done` came before it.
    """
    _write_batch(Command.MAP_UPDATE_BATCH, fd, keys, values, count, element_flags)


def map_delete_batch(fd: int, keys: bytes, count: int, *, element_flags: int = 0) -> None:
    """Delete `count` elements (Linux 5.6).

    Raises:
        BatchFailed: ENOENT at the first key that is absent; `done` came before it.
    """
    _write_batch(Command.MAP_DELETE_BATCH, fd, keys, b"", count, element_flags)


def _write_batch(
    command: Command, fd: int, keys: bytes, values: bytes, count: int, element_flags: int
) -> None:
    key_buffer, value_buffer = bytearray(keys), bytearray(values)
    request = attributes.MAP_BATCH.pack(
        map_fd=fd,
        keys=address_of(key_buffer),
        values=address_of(value_buffer),
        count=count,
        elem_flags=element_flags,
    )
    try:
        bpf_uninterrupted(command, request)
    except OSError as error:
        done = attributes.MAP_BATCH.read(request, "count")
        # A type without batches leaves `count` as it was given.
        raise BatchFailed(error, done if done < count else 0) from error
