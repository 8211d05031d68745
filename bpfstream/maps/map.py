"""What all maps have in common: a descriptor, a shape, and codecs for keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from bpfstream._native import COMPILED, hot
from bpfstream.abi.maps import MapType, UpdateFlags
from bpfstream.btf import Btf
from bpfstream.errors import SchemaError
from bpfstream.kernel import bpf
from bpfstream.kernel.descriptors import OwnedDescriptor
from bpfstream.kernel.privileges import explain
from bpfstream.records import codec
from bpfstream.spec import MapSpec

if TYPE_CHECKING:
    from bpfstream.kernel.info import MapInfo

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Codec(Protocol[T]):
    """Turns keys or values into the map's bytes and back.

    A run of them lies in one buffer, `stride` bytes from each to the next.
    """

    def encode(self, value: T, /) -> bytes:
        """The bytes of `value`; `SchemaError` when it does not fit."""
        ...

    def decode(self, data: bytes, /) -> T:
        """The value that `data` holds."""
        ...

    def encode_run(self, values: Sequence[T], stride: int, /) -> bytes:
        """A run of these values; `SchemaError` when one does not fit."""
        ...

    def decode_run(self, buffer: memoryview, stride: int, count: int, /) -> list[T]:
        """The values of a run."""
        ...


class RawCodec:
    """Bytes as they are: for keys and values of which the object does not tell the type."""

    def __init__(self, size: int, *, native: bool = COMPILED) -> None:
        """The codec of elements of `size` bytes."""
        self._size = size
        self._native = native

    def encode(self, value: bytes, /) -> bytes:
        """`value` itself.

        Raises:
            SchemaError: It does not have the size of an element: the kernel would read on.
        """
        data = bytes(value)
        if len(data) != self._size:
            raise SchemaError(f"{len(data)} bytes where {self._size} are wanted")
        return data

    def decode(self, data: bytes, /) -> bytes:
        """`data` itself."""
        return data

    def encode_run(self, values: Sequence[bytes], stride: int, /) -> bytes:
        """The values, with zeros between them."""
        run = hot.join_bytes(tuple(values), self._size, stride) if self._native else None
        if run is None:
            run = b"".join([self.encode(value).ljust(stride, b"\0") for value in values])
        return run

    def decode_run(self, buffer: memoryview, stride: int, count: int, /) -> list[bytes]:
        """Each value for itself."""
        if self._native:
            return hot.split_bytes(buffer, self._size, stride, count)
        data, size = bytes(buffer), self._size
        return [data[at : at + size] for at in range(0, count * stride, stride)]


class Map(OwnedDescriptor, Generic[K, V]):
    """A map in the kernel. It lives while something holds it: this object, a program, a pin.

    Keys and values have the types that the object's BTF gives them, and are `bytes` where it gives
    none, as for sections of data.

    Attributes:
        name: Its name in the object.
        spec: The shape that it was created with.
    """

    def __init__(
        self, fd: int, spec: MapSpec, btf: Btf | None = None, *, native: bool = COMPILED
    ) -> None:
        """Take over `fd`.

        Args:
            fd: The map.
            spec: The shape that it was created with.
            btf: The object's types.
            native: Make values of many elements by the compiled twin.
        """
        super().__init__(fd, f"map {spec.name!r}")
        self.name = spec.name
        self.spec = spec
        self._btf = btf
        self._native = native

    @cached_property
    def _key(self) -> Codec[Any]:
        return self._codec(self.spec.key_type_id, self.spec.key_size)

    @cached_property
    def _value(self) -> Codec[Any]:
        type_id = 0 if self.spec.is_data else self.spec.value_type_id
        return self._codec(type_id, self.spec.value_size)

    def _codec(self, type_id: int, size: int) -> Codec[Any]:
        if self._btf is None or not type_id or not size:
            return RawCodec(size, native=self._native)
        return codec(self._btf, type_id, native=self._native)

    @property
    def _value_bytes(self) -> int:
        """What the kernel writes for a value."""
        return self.spec.value_size

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
        from bpfstream.kernel.info import map_info

        try:
            return map_info(self.fd)
        except OSError as error:
            raise explain(f"query map {self.name!r}", error) from error

    def _lookup(self, key: bytes) -> V | None:
        try:
            data = bpf.map_lookup(self.fd, key, self._value_bytes)
        except OSError as error:
            raise explain(f"look up an element of map {self.name!r}", error) from error
        if data is None:
            return None
        value: V = self._value.decode(data)
        return value

    def _update(self, key: bytes, value: bytes, flags: UpdateFlags) -> None:
        try:
            bpf.map_update(self.fd, key, value, flags)
        except OSError as error:
            raise explain(f"update an element of map {self.name!r}", error) from error
