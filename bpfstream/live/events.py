"""From the name of a map to a stream of its events: which type they are, and who counts losses."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.abi.maps import MapType
from bpfstream.errors import SchemaError, StreamError
from bpfstream.kernel import bpf
from bpfstream.kernel.cpus import possible_cpus
from bpfstream.kernel.privileges import explain
from bpfstream.live.target import btf_of_running_kernel
from bpfstream.maps import Map
from bpfstream.records import (
    RecordType,
    decoder_for,
    event_type_of,
    loss_counter_of,
    record_type,
    record_type_of_class,
)
from bpfstream.rings import Decode, copy_record
from bpfstream.spec import ObjectSpec
from bpfstream.streams import EventSource, EventStream, PerfBufferSource, RingBufferSource

EventTypes = str | type[bytes | msgspec.Struct] | Sequence[str | type[msgspec.Struct]]
"""How a user says what a ring carries; see `bpfstream.Object.events`."""

_KEY = struct.Struct("=I")
_COUNTER = struct.Struct("=Q")


def open_stream(
    spec: ObjectSpec,
    maps: Mapping[str, Map[Any, Any]],
    name: str,
    *,
    types: EventTypes | None,
    tag: str | None,
    max_latency: float,
    pages: int,
) -> EventStream[Any]:
    """Open the stream that `bpfstream.Object.events` describes."""
    ring = maps[name]
    decode = event_decoder(spec, name, types, tag)
    try:
        source: EventSource[Any]
        if ring.type == MapType.RINGBUF:
            count_lost = _loss_counter(spec, maps, name)
            source = RingBufferSource(ring.fd, ring.max_entries, decode, count_lost=count_lost)
        elif ring.type == MapType.PERF_EVENT_ARRAY:
            source = PerfBufferSource(ring.fd, decode, pages=pages)
        else:
            kind = ring.type.name if isinstance(ring.type, MapType) else ring.type
            raise StreamError(f"map {name!r} is of type {kind}: no ring that carries events")
    except OSError as error:
        raise explain(f"read events from map {name!r}", error) from error
    return EventStream(source, max_latency=max_latency)


def event_decoder(
    spec: ObjectSpec, name: str, types: EventTypes | None, tag: str | None
) -> Decode[Any]:
    """What makes events of the records in the ring `name`.

    Raises:
        SchemaError: A class differs from its BTF struct; or there is no such struct.
    """
    if types is None:
        carried = event_type_of(spec, name, kernel_btf=btf_of_running_kernel)
        if carried is None or spec.btf is None:
            return copy_record
        return record_type(spec.btf, carried).decode
    wanted: Sequence[str | type[msgspec.Struct]]
    if isinstance(types, str):
        wanted = [types]
    elif not isinstance(types, type):
        wanted = types
    elif issubclass(types, bytes):
        return copy_record
    else:
        wanted = [types]
    resolved = [_record_type(spec, name, one, alone=len(wanted) == 1) for one in wanted]
    if len(resolved) == 1 and tag is None:
        return resolved[0].decode
    return decoder_for(resolved, tag)


def _record_type(
    spec: ObjectSpec, name: str, wanted: str | type[msgspec.Struct], *, alone: bool
) -> RecordType[Any]:
    """The type that the user means: by a struct's name, or by a class of their own."""
    btf = spec.btf
    struct_name = wanted if isinstance(wanted, str) else wanted.__name__
    type_id = btf.find(struct_name.removeprefix("struct "), Kind.STRUCT) if btf else None
    if isinstance(wanted, str):
        if btf is None or type_id is None:
            raise SchemaError(f"the object {spec.name!r} has no struct {struct_name!r} in its BTF")
        return record_type(btf, type_id)
    if type_id is None and alone:
        # The class may have a better name than the C struct has.
        type_id = event_type_of(spec, name, kernel_btf=btf_of_running_kernel)
    if btf is None or type_id is None:
        return record_type_of_class(wanted)
    return record_type(btf, type_id, struct=wanted)


def _loss_counter(
    spec: ObjectSpec, maps: Mapping[str, Map[Any, Any]], ring: str
) -> Callable[[], int] | None:
    """Reads the counter that ``BPFSTREAM_RING`` of bpfstream.h declares beside its ring."""
    name = loss_counter_of(spec, ring)
    counter = None if name is None else maps.get(name)
    if counter is None:
        return None
    key, cpus = _KEY.pack(0), len(possible_cpus())

    def count_lost() -> int:
        value = bpf.map_lookup(counter.fd, key, _COUNTER.size * cpus) or b""
        return sum(lost for (lost,) in _COUNTER.iter_unpack(value))

    return count_lost
