"""Maps with one value for each CPU."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from bpfstream.kernel.cpus import possible_cpus
from bpfstream.maps.array import ArrayMap
from bpfstream.maps.hash import HashMap
from bpfstream.maps.map import Codec, Map

K = TypeVar("K")
V = TypeVar("V")


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


class _PerCpuMap(Map[K, PerCpuValue[V]]):
    """What makes a map's values lists over CPUs."""

    @cached_property
    def _value(self) -> PerCpuCodec[Any]:
        return PerCpuCodec(super()._value, self.spec.value_size)

    @property
    def _value_bytes(self) -> int:
        return self._value.size


class PerCpuArrayMap(_PerCpuMap[int, V], ArrayMap[PerCpuValue[V]]):
    """An array map with one value a CPU (``PERCPU_ARRAY``)."""


class PerCpuHashMap(_PerCpuMap[K, V], HashMap[K, PerCpuValue[V]]):
    """A hash map with one value a CPU (``PERCPU_HASH``, ``LRU_PERCPU_HASH``)."""
