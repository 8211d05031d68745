"""From the name of a map to a stream of its events: which type they are, and who counts losses."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, TypeVar

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf import Btf
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
from bpfstream.rings import BatchDecoder, EachRecord, copy_record
from bpfstream.spec import ObjectSpec
from bpfstream.streams import EventSource, RingBufferSource
from bpfstream.streams.base import BaseEventStream, ColumnFormat
from bpfstream.streams.perf_options import PerfOptions

S = TypeVar("S", bound=BaseEventStream[Any])

EventType = str | type[msgspec.Struct]
EventTypes = EventType | type[bytes] | Sequence[EventType] | Mapping[int, EventType]
"""How a user says what a ring carries; see `bpfstream.Object.events`."""

_KEY = struct.Struct("=I")
_COUNTER = struct.Struct("=Q")


def open_stream(
    kind: type[S],
    spec: ObjectSpec,
    maps: Mapping[str, Map[Any, Any]],
    name: str,
    *,
    types: EventTypes | None,
    tag: str | None,
    max_latency: float,
    perf: PerfOptions,
) -> S:
    """Open the stream that `bpfstream.Object.events` describes.

    Args:
        kind: The class of the stream, by the event loop.
        spec: The object.
        maps: Its live maps.
        name: The ring.
        types: As `bpfstream.Object.events` takes it, like the rest.
        tag: Likewise.
        max_latency: Likewise.
        perf: Likewise, for a perf event array.
    """
    maps[name]  # or KeyError
    carried, decoder = event_decoder(spec, name, types, tag)

    @cache  # a decoder uses the memory of batches again
    def column_decoder(
        format: ColumnFormat,  # noqa: A002
        fields: frozenset[str] | None,
    ) -> BatchDecoder[Any]:
        from bpfstream.records.columns import Columns

        columns = Columns(carried, only=fields)
        return columns.numpy_decoder() if format == "numpy" else columns.arrow_decoder()

    with ExitStack() as undo:
        try:
            source = _open_source(spec, maps, name, perf, quiet=max_latency > 0)
            undo.callback(source.close)
            stream = kind(
                source,
                decoder,
                max_latency=max_latency,
                columns=column_decoder if carried else None,
            )
        except OSError as error:
            raise explain(f"read events from map {name!r}", error) from error
        undo.pop_all()
    return stream


def _open_source(
    spec: ObjectSpec,
    maps: Mapping[str, Map[Any, Any]],
    name: str,
    perf: PerfOptions,
    *,
    quiet: bool,
) -> EventSource:
    ring = maps[name]
    if ring.type == MapType.RINGBUF:
        count_lost = _loss_counter(spec, maps, name)
        overwrite = MapFlags.RB_OVERWRITE in ring.spec.flags
        return RingBufferSource(
            ring.fd, ring.max_entries, count_lost=count_lost, overwrite=overwrite
        )
    if ring.type == MapType.PERF_EVENT_ARRAY:
        from bpfstream.streams.perf_buffer import PerfBufferSource

        return PerfBufferSource(ring.fd, options=perf, quiet=quiet)
    raise not_of_type(ring, "no ring that carries events")


def not_of_type(ring: Map[Any, Any], why: str) -> StreamError:
    """The error for a map that can't be what is asked for."""
    kind = ring.type.name if isinstance(ring.type, MapType) else ring.type
    return StreamError(f"map {ring.name!r} is of type {kind}: {why}")


def event_decoder(
    spec: ObjectSpec, name: str, types: EventTypes | None, tag: str | None
) -> tuple[Sequence[RecordType[Any]], BatchDecoder[list[Any]]]:
    """Which structs the ring `name` carries, none if bytes, and what makes events of its records.

    Raises:
        SchemaError: A class differs from its BTF struct; or there is no such struct.
    """
    if types is None:
        carried = event_type_of(spec, name, kernel_btf=btf_of_running_kernel)
        if carried is None or spec.btf is None:
            return (), EachRecord(copy_record)
        only: RecordType[Any] = record_type(spec.btf, carried)
        return (only,), only.decoder
    if isinstance(types, Mapping):
        by_tag = {value: record_type_for(spec, one) for value, one in types.items()}
        return tuple(by_tag.values()), decoder_for(by_tag, tag)
    if not isinstance(types, str | type):
        several = [record_type_for(spec, one) for one in types]
        return several, decoder_for(several, tag)
    if isinstance(types, type) and issubclass(types, bytes):
        return (), EachRecord(copy_record)
    only = record_type_for(spec, types, ring=name)
    return (only,), only.decoder


def record_type_for(spec: ObjectSpec, wanted: EventType, *, ring: str = "") -> RecordType[Any]:
    """The type that the user means: by a struct's name, or by a class of their own.

    Args:
        spec: The object.
        wanted: The name or the class.
        ring: A ring that carries nothing else: then a class may have a better name than its struct.
    """
    btf = spec.btf
    if isinstance(wanted, str):
        type_id = _find_struct(btf, wanted.removeprefix("struct "))
        if btf is None or type_id is None:
            raise SchemaError(f"the object {spec.name!r} has no struct {wanted!r} in its BTF")
        return record_type(btf, type_id)
    type_id = _find_struct(btf, wanted.__name__, _in_c_style(wanted.__name__))
    if type_id is None and ring:
        type_id = event_type_of(spec, ring, kernel_btf=btf_of_running_kernel)
    if btf is None or type_id is None:
        return record_type_of_class(wanted)
    return record_type(btf, type_id, struct=wanted)


def _find_struct(btf: Btf | None, *names: str) -> int | None:
    found = (btf.find(name, Kind.STRUCT) for name in names) if btf is not None else ()
    return next((type_id for type_id in found if type_id is not None), None)


def _in_c_style(name: str) -> str:
    """``open_event`` for ``OpenEvent``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


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
