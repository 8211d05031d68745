"""Maps with one value for each CPU."""

from __future__ import annotations

from collections.abc import Sequence
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
        return self._value.encode_run(value, self._stride)

    def decode(self, data: bytes, /) -> PerCpuValue[V]:
        """One value for each possible CPU."""
        return self.decode_run(memoryview(data), self.size, 1)[0]

    def encode_run(self, values: Sequence[PerCpuValue[V]], stride: int, /) -> bytes:
        """The slots of these values; `stride` is the `size` of one."""
        return b"".join([self.encode(value) for value in values])

    def decode_run(self, buffer: memoryview, stride: int, count: int, /) -> list[PerCpuValue[V]]:
        """Values of one for each possible CPU; `stride` is the `size` of one."""
        slots = self._value.decode_run(buffer, self._stride, count * self._cpus)
        return list(map(PerCpuValue, zip(*[iter(slots)] * self._cpus, strict=True)))


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
