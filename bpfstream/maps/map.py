"""What all maps have in common: a descriptor, a shape, and codecs for keys and values."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from bpfstream.abi.maps import MapType, UpdateFlags
from bpfstream.btf import Btf
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


def _codec(btf: Btf | None, type_id: int, size: int) -> Codec[Any]:
    return RawCodec() if btf is None or not type_id or not size else codec(btf, type_id)


class Map(OwnedDescriptor, Generic[K, V]):
    """A map in the kernel. It lives while something holds it: this object, a program, a pin.

    Keys and values have the types that the object's BTF gives them, and are `bytes` where it gives
    none, as for sections of data.

    Attributes:
        name: Its name in the object.
        spec: The shape that it was created with.
    """

    def __init__(self, fd: int, spec: MapSpec, btf: Btf | None = None) -> None:
        """Take over `fd`.

        Args:
            fd: The map.
            spec: The shape that it was created with.
            btf: The object's types.
        """
        super().__init__(fd, f"map {spec.name!r}")
        self.name = spec.name
        self.spec = spec
        self._btf = btf

    @cached_property
    def _key(self) -> Codec[Any]:
        return _codec(self._btf, self.spec.key_type_id, self.spec.key_size)

    @cached_property
    def _value(self) -> Codec[Any]:
        type_id = 0 if self.spec.is_data else self.spec.value_type_id
        return _codec(self._btf, type_id, self.spec.value_size)

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
