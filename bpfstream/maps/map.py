"""What all maps have in common: a descriptor, a shape, and codecs for keys and values."""

from __future__ import annotations

import os
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from bpfstream.abi.maps import MapType, UpdateFlags
from bpfstream.errors import closed
from bpfstream.kernel import bpf
from bpfstream.kernel.cpus import possible_cpus
from bpfstream.kernel.info import MapInfo, map_info
from bpfstream.kernel.privileges import explain
from bpfstream.spec import MapSpec

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Codec(Protocol[T]):
    """Turns keys or values into the map's bytes and back."""

    def encode(self, value: T, /) -> bytes:
        """The bytes of `value`; `SchemaError` when it does not fit."""
        ...

    def decode(self, data: bytes, /) -> T:
        """The value that `data` holds."""
        ...


class RawCodec:
    """Bytes as they are: for keys and values of which the object does not tell the type."""

    def encode(self, value: bytes, /) -> bytes:
        """`value` itself."""
        return bytes(value)

    def decode(self, data: bytes, /) -> bytes:
        """`data` itself."""
        return data


class PerCpuValue(tuple[V, ...]):
    """A value of a per-CPU map: one for each possible CPU, in the order of their numbers."""

    __slots__ = ()

    def sum(self) -> V:
        """The total over all CPUs; for values that are numbers."""
        total: Any = sum(cast("tuple[Any, ...]", self))
        return cast("V", total)


class PerCpuCodec(Generic[V]):
    """Values of a per-CPU map.

    The kernel copies one slot of `value_size` rounded up to 8 bytes for each possible CPU, online
    or not (kernel/bpf/arraymap.c, bpf_percpu_array_copy).
    """

    def __init__(self, value: Codec[V], value_size: int) -> None:
        self._value = value
        self._value_size = value_size
        self._stride = -(-value_size // 8) * 8
        self._cpus = len(possible_cpus())
        self.size = self._stride * self._cpus

    def encode(self, value: PerCpuValue[V], /) -> bytes:
        """The slots of all possible CPUs.

        Raises:
            ValueError: There is not one value for each possible CPU.
        """
        if len(value) != self._cpus:
            raise ValueError(f"{len(value)} values for {self._cpus} possible CPUs")
        return b"".join(self._value.encode(item).ljust(self._stride, b"\0") for item in value)

    def decode(self, data: bytes, /) -> PerCpuValue[V]:
        """One value for each possible CPU."""
        slots = range(0, self.size, self._stride)
        return PerCpuValue(self._value.decode(data[at : at + self._value_size]) for at in slots)


class Map(Generic[K, V]):
    """A map in the kernel. It lives while something holds it: this object, a program, a pin.

    Attributes:
        name: Its name in the object.
        spec: The shape that it was created with.
    """

    def __init__(self, name: str, fd: int, spec: MapSpec, key: Codec[K], value: Codec[V]) -> None:
        """Take over `fd`."""
        self.name = name
        self.spec = spec
        self._fd = fd
        self._key = key
        self._value = value
        self._value_bytes = value.size if isinstance(value, PerCpuCodec) else spec.value_size

    @property
    def fd(self) -> int:
        """The file descriptor; the map keeps owning it.

        Raises:
            trio.ClosedResourceError: The map is closed.
        """
        if self._fd < 0:
            raise closed(f"map {self.name!r}")
        return self._fd

    @property
    def type(self) -> MapType | int:
        """The map's type; a plain number if this version of bpfstream does not know it."""
        return self.spec.type

    @property
    def max_entries(self) -> int:
        """How many elements it can hold; of a ring, its size in bytes."""
        return self.spec.max_entries

    def info(self) -> MapInfo:
        """What the kernel says of the map (Linux 4.13)."""
        try:
            return map_info(self.fd)
        except OSError as error:
            raise explain(f"query map {self.name!r}", error) from error

    def close(self) -> None:
        """Give up the descriptor; idempotent. Programs that use the map keep it alive."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = self.type.name if isinstance(self.type, MapType) else f"type {self.type}"
        state = "closed" if self._fd < 0 else f"fd {self._fd}"
        return f"<{type(self).__name__} {self.name!r} {kind} {state}>"

    def _lookup(self, key: bytes) -> V | None:
        try:
            data = bpf.map_lookup(self.fd, key, self._value_bytes)
        except OSError as error:
            raise explain(f"look up an element of map {self.name!r}", error) from error
        return None if data is None else self._value.decode(data)

    def _update(self, key: bytes, value: bytes, flags: UpdateFlags) -> None:
        try:
            bpf.map_update(self.fd, key, value, flags)
        except OSError as error:
            raise explain(f"update an element of map {self.name!r}", error) from error
