"""Which struct a ring carries: what an object says about it, one way or another.

Records have no type of their own, so it is told by convention. Those that objects in the wild
follow are asked in turn, the most explicit first, and an answer that is not plain is none: bytes
are better than fields that are wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfstream.abi.btf import Kind
from bpfstream.abi.maps import MapType
from bpfstream.btf import Btf
from bpfstream.btf.types import Array, Pointer, Struct, Union, Variable
from bpfstream.records.output_calls import record_sizes
from bpfstream.spec import ObjectSpec

RINGS = frozenset({MapType.RINGBUF, MapType.PERF_EVENT_ARRAY})
"""Map types that carry events."""

LOSS_SUFFIX = "_lost"
"""What include/bpfstream.h puts behind a ring's name for the map that counts its losses."""

_TRACER_VARIABLE = "gadget_tracer_"
_TRACER_TAG = "ig:tracer:"
_TRACER_SEPARATOR = "___"


def event_type_of(
    spec: ObjectSpec, map_name: str, *, kernel_btf: Callable[[], Btf | None] | None = None
) -> int | None:
    """The struct that a ring carries, as an id of the object's BTF; None when nothing tells it.

    In this order: the loss counter that ``BPFSTREAM_RING`` declares beside the ring; Inspektor
    Gadget's ``GADGET_TRACER``; the map's value type; the one global pointer ``struct event
    *unused`` of an object with one ring (the custom of bpf2go); the one struct that is as large as
    the records that the code sends and that is not the kernel's.

    Args:
        spec: The object.
        map_name: The ring.
        kernel_btf: Gives the kernel's BTF, which tells the kernel's structs from the object's;
            called only if it comes to that. Without it sizes are not looked at.
    """
    btf = spec.btf
    if btf is None or map_name not in spec.maps:
        return None
    for found in (
        _from_loss_counter(spec, btf, map_name),
        _from_tracer(btf, map_name),
        _from_value(spec, btf, map_name),
        _from_unused_pointer(spec, btf, map_name),
    ):
        if found is not None:
            return found
    return None if kernel_btf is None else _from_sizes(spec, btf, map_name, kernel_btf)


def loss_counter_of(spec: ObjectSpec, map_name: str) -> str | None:
    """The name of the map that counts the records that a ring had no space for, if there is one.

    It is what ``BPFSTREAM_RING`` of include/bpfstream.h declares: a per-CPU array with one entry,
    whose value begins with a u64.
    """
    name = map_name + LOSS_SUFFIX
    counter = spec.maps.get(name)
    if (
        counter is None
        or counter.type != MapType.PERCPU_ARRAY
        or counter.max_entries != 1
        or counter.value_size != 8
    ):
        return None
    return name


def _struct(btf: Btf, type_id: int) -> int | None:
    """The struct or union below typedefs and qualifiers; None when it is something else."""
    resolved = btf.resolve(type_id)
    return resolved if isinstance(btf.type(resolved), Struct | Union) else None


def _from_loss_counter(spec: ObjectSpec, btf: Btf, map_name: str) -> int | None:
    name = loss_counter_of(spec, map_name)
    type_id = spec.maps[name].value_type_id if name is not None else 0
    value = btf.type(btf.resolve(type_id))
    if not isinstance(value, Struct):
        return None
    for member in value.members:
        array = btf.type(btf.resolve(member.type))
        if member.name == "event" and isinstance(array, Array):
            return _struct(btf, array.element)
    return None


def _from_tracer(btf: Btf, map_name: str) -> int | None:
    """``gadget_tracer_NAME___MAP___STRUCT``, in newer versions ``ig:tracer:`` and the same."""
    for type_id in range(btf.first_id, btf.end_id):
        kind = btf.kind(type_id)
        if kind not in (Kind.VAR, Kind.DECL_TAG):
            continue
        prefix = _TRACER_VARIABLE if kind is Kind.VAR else _TRACER_TAG
        name = btf.name(type_id)
        parts = name.removeprefix(prefix).split(_TRACER_SEPARATOR)
        if name.startswith(prefix) and len(parts) == 3 and parts[1] == map_name:
            found = btf.find(parts[2], Kind.STRUCT)
            if found is not None:
                return found
    return None


def _from_value(spec: ObjectSpec, btf: Btf, map_name: str) -> int | None:
    type_id = spec.maps[map_name].value_type_id
    return _struct(btf, type_id) if type_id else None


def _from_unused_pointer(spec: ObjectSpec, btf: Btf, map_name: str) -> int | None:
    if [each.name for each in spec.maps.values() if each.type in RINGS] != [map_name]:
        return None
    found = set()
    for type_id in range(btf.first_id, btf.end_id):
        variable = btf.type(type_id) if btf.kind(type_id) is Kind.VAR else None
        if isinstance(variable, Variable) and "unused" in variable.name:
            pointer = btf.type(btf.resolve(variable.type))
            found.add(_struct(btf, pointer.type) if isinstance(pointer, Pointer) else None)
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _from_sizes(
    spec: ObjectSpec, btf: Btf, map_name: str, kernel_btf: Callable[[], Btf | None]
) -> int | None:
    sizes = record_sizes(spec, map_name)
    if sizes is None or len(sizes) != 1:
        return None
    (size,) = sizes
    structs = [
        (type_id, name)
        for type_id in range(btf.first_id, btf.end_id)
        if btf.kind(type_id) is Kind.STRUCT
        and (name := btf.name(type_id))
        and btf.size_of(type_id) == size
    ]
    kernel = kernel_btf() if structs else None
    if kernel is None:
        return None
    own = [type_id for type_id, name in structs if kernel.find(name, Kind.STRUCT) is None]
    return own[0] if len(own) == 1 else None
