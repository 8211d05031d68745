"""Maps as an object declares them, and the sizes that the kernel wants for them."""

from enum import IntEnum
from typing import Final

import msgspec

from bpfstream.abi.maps import MapFlags, MapType

KERNEL_NAME_LENGTH: Final = 15
"""Bytes of a name in the kernel: ``BPF_OBJ_NAME_LEN`` less the NUL (linux/bpf.h)."""


class Pinning(IntEnum):
    """How a map is shared through the BPF file system (``LIBBPF_PIN_*`` in bpf_helpers.h)."""

    NONE = 0
    BY_NAME = 1
    """Reused from, or pinned to, ``/sys/fs/bpf/NAME``."""


class MapSpec(msgspec.Struct, kw_only=True):
    """A map as the file declares it. All of it can be edited before it is created.

    Sections of data are maps too: arrays of one entry that holds the section. They are named after
    their section (``".rodata"``).

    Attributes:
        name: The map's name in the object.
        type: The map type; a plain number when it is newer than this library.
        key_size: Bytes of a key.
        value_size: Bytes of a value.
        max_entries: Most entries; for ring buffers, bytes. Tools leave 0 what they set later.
        flags: Flags to create it with.
        numa_node: The memory node to put it on; in force only with the flag ``NUMA_NODE``.
        map_extra: A number that some map types take, such as a bloom filter's hash functions.
        key_type_id: The key's type in the object's BTF, 0 for none.
        value_type_id: The value's type in the object's BTF, 0 for none. A ring buffer's is the
            type of its records: the kernel is not told, see `kernel_shape`.
        pinning: How it is shared.
        inner: What the maps in this map look like, where the object says.
        initial_slots: What an object puts into the map: slots, and names of maps or programs. Of
            a ``STRUCT_OPS`` map the slots are byte offsets in the value.
        contents: The value to begin with. None means none given, which for ``.bss`` is zeros.
        section: The ELF section that declares it; empty for a map that no file declares.
        section_offset: Bytes from that section's start.
        autocreate: Whether the object's loading creates it.
        kernel_name: The name to create it with, at most 15 bytes.
    """

    name: str
    type: MapType | int
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: MapFlags = MapFlags(0)
    numa_node: int = 0
    map_extra: int = 0
    key_type_id: int = 0
    value_type_id: int = 0
    pinning: Pinning = Pinning.NONE
    inner: "MapSpec | None" = None
    initial_slots: tuple[tuple[int, str], ...] = ()
    contents: bytes | None = None
    section: str = ""
    section_offset: int = 0
    autocreate: bool = True
    kernel_name: str = ""

    def __post_init__(self) -> None:
        if not self.kernel_name:
            self.kernel_name = self.name.encode()[:KERNEL_NAME_LENGTH].decode(errors="ignore")

    @property
    def is_data(self) -> bool:
        """Whether the map holds a section of global variables."""
        return self.section.startswith((".data", ".rodata", ".bss", ".kconfig"))

    @property
    def is_read_only(self) -> bool:
        """Whether programs may only read it: the kernel then takes its contents as constants."""
        return MapFlags.RDONLY_PROG in self.flags

    def copy(self) -> "MapSpec":
        """A copy that shares nothing that can be edited."""
        inner = self.inner.copy() if self.inner is not None else None
        return msgspec.structs.replace(self, inner=inner)


class KernelShape(msgspec.Struct, frozen=True):
    """What the kernel is told of a map's sizes and types.

    Attributes:
        key_size: Bytes of a key.
        value_size: Bytes of a value.
        max_entries: Most entries; for ring buffers, bytes.
        key_type_id: The key's type in the object's BTF, or 0.
        value_type_id: The value's type in the object's BTF, or 0.
    """

    key_size: int
    value_size: int
    max_entries: int
    key_type_id: int
    value_type_id: int


_RING_BUFFERS: Final = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})

_TAKES_NO_TYPES: Final = _RING_BUFFERS | {
    MapType.PERF_EVENT_ARRAY,
    MapType.CGROUP_ARRAY,
    MapType.STACK_TRACE,
    MapType.ARRAY_OF_MAPS,
    MapType.HASH_OF_MAPS,
    MapType.DEVMAP,
    MapType.DEVMAP_HASH,
    MapType.CPUMAP,
    MapType.XSKMAP,
    MapType.SOCKMAP,
    MapType.SOCKHASH,
    MapType.QUEUE,
    MapType.STACK,
    MapType.ARENA,
}
"""Map types without a ``map_check_btf`` operation (kernel/bpf/): they refuse BTF types."""


def kernel_shape(spec: MapSpec, *, page_size: int, possible_cpus: int) -> KernelShape:
    """What to tell the kernel of a map, which is not always what its author wrote.

    * A ring buffer has neither keys nor values (kernel/bpf/ringbuf.c, ``ringbuf_map_alloc``): its
      declared value type is the type of its records. Its size becomes a power of two and a
      multiple of the page size.
    * A perf event array has 4-byte keys and values (kernel/bpf/arraymap.c), and without a size
      one entry for each possible CPU.
    * Some types take no BTF types at all.

    Args:
        spec: The map.
        page_size: Bytes of a page of memory.
        possible_cpus: Number of CPUs that the machine may ever have.
    """
    key_size, value_size, max_entries = spec.key_size, spec.value_size, spec.max_entries
    if spec.type in _RING_BUFFERS:
        key_size = value_size = 0
        max_entries = ring_buffer_size(max_entries, page_size)
    elif spec.type == MapType.PERF_EVENT_ARRAY:
        key_size = value_size = 4
        max_entries = max_entries or possible_cpus
    typed = spec.type not in _TAKES_NO_TYPES
    return KernelShape(
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        key_type_id=spec.key_type_id if typed else 0,
        # A STRUCT_OPS map's value is a type of the kernel, not of the object.
        value_type_id=spec.value_type_id if typed and spec.type != MapType.STRUCT_OPS else 0,
    )


def ring_buffer_size(size: int, page_size: int) -> int:
    """The least power of two of pages that holds `size` bytes; 0 and what is too big stay."""
    if size == 0:
        return 0
    pages = -(-size // page_size)
    rounded = page_size << (pages - 1).bit_length()
    return rounded if rounded < 1 << 32 else size
