"""From a map's spec to a map in the kernel."""

from __future__ import annotations

import errno
from typing import Any

from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf import Btf
from bpfstream.kernel import bpf
from bpfstream.kernel.cpus import possible_cpus
from bpfstream.kernel.memory import PAGE_SIZE
from bpfstream.kernel.privileges import explain
from bpfstream.maps.map import Map
from bpfstream.spec import MapSpec, kernel_shape


def create_map(spec: MapSpec, *, btf: Btf | None = None, btf_fd: int = 0) -> Map[Any, Any]:
    """Create the map that `spec` describes; what it is to hold is not put in yet.

    Args:
        spec: The map; it is copied with the sizes that the kernel was told.
        btf: The object's types, for typed keys and values.
        btf_fd: The same types in the kernel, so that its tools show typed values; 0 without.

    Returns:
        A map of the class for its type: `HashMap`, `ArrayMap`, ..., or plain `Map`.

    Raises:
        PermissionDeniedError: The process may not create it.
        NotSupportedError: The kernel lacks the type or a flag.
        KernelError: The kernel refuses its shape.
    """
    shape = kernel_shape(spec, page_size=PAGE_SIZE, possible_cpus=len(possible_cpus()))
    created = spec.copy()
    created.key_size, created.value_size = shape.key_size, shape.value_size
    created.max_entries = shape.max_entries
    inner = None if spec.inner is None else create_map(spec.inner, btf=btf, btf_fd=btf_fd)
    try:
        types = (shape.key_type_id, shape.value_type_id) if btf_fd else (0, 0)
        fd = _create(created, btf_fd, types, 0 if inner is None else inner.fd)
    finally:
        if inner is not None:
            inner.close()
    return _face(created.type)(fd, created, btf)


def _face(map_type: MapType | int) -> type[Map[Any, Any]]:
    """The class for maps of a type; its file is imported when it is first needed."""
    match map_type:
        case MapType.HASH | MapType.LRU_HASH:
            from bpfstream.maps.hash import HashMap

            return HashMap
        case MapType.ARRAY:
            from bpfstream.maps.array import ArrayMap

            return ArrayMap
        case MapType.PERCPU_HASH | MapType.LRU_PERCPU_HASH:
            from bpfstream.maps.per_cpu import PerCpuHashMap

            return PerCpuHashMap
        case MapType.PERCPU_ARRAY:
            from bpfstream.maps.per_cpu import PerCpuArrayMap

            return PerCpuArrayMap
    return Map


def _create(spec: MapSpec, btf_fd: int, types: tuple[int, int], inner_fd: int) -> int:
    def attempt(btf_fd: int, key_type_id: int, value_type_id: int) -> int:
        return bpf.map_create(
            spec.type,
            spec.key_size,
            spec.value_size,
            spec.max_entries,
            spec.flags,
            name=spec.kernel_name,
            inner_map_fd=inner_fd,
            numa_node=spec.numa_node,
            btf_fd=btf_fd,
            btf_key_type_id=key_type_id,
            btf_value_type_id=value_type_id,
            map_extra=spec.map_extra,
        )

    try:
        if any(types):
            try:
                return attempt(btf_fd, *types)
            except PermissionError:
                raise
            except OSError:
                # Which types a map may be told differs from kernel to kernel; it works without.
                return attempt(0, 0, 0)
        return attempt(0, 0, 0)
    except OSError as error:
        if error.errno == errno.EINVAL and _is_mapped_without_need(spec):
            spec.flags &= ~MapFlags.MMAPABLE
            return _create(spec, btf_fd, types, inner_fd)
        raise explain(f"create map {spec.name!r}", error, map_type=spec.type) from error


def _is_mapped_without_need(spec: MapSpec) -> bool:
    """Whether only the flag is in the way: kernels before 5.5 lack it, and data work without."""
    from bpfstream.kernel.features import Feature, supports

    flagged = spec.is_data and MapFlags.MMAPABLE in spec.flags
    return flagged and not supports(Feature.ARRAY_MMAP)
