"""From the name of a map to a flight recorder of its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.kernel.privileges import explain
from bpfstream.live.events import EventTypes, event_decoder, not_of_type
from bpfstream.maps import Map
from bpfstream.spec import ObjectSpec
from bpfstream.streams.recorder import (
    FlightRecorder,
    PerfRecorderRings,
    RecorderRings,
    RingBufferRecorderRings,
)


def open_recorder(
    spec: ObjectSpec,
    maps: Mapping[str, Map[Any, Any]],
    name: str,
    *,
    types: EventTypes | None,
    tag: str | None,
    pages: int,
) -> FlightRecorder[Any]:
    """Open the recorder that `bpfstream.Object.recorder` describes."""
    ring = maps[name]
    _, decoder = event_decoder(spec, name, types, tag)
    try:
        rings: RecorderRings
        if ring.type == MapType.PERF_EVENT_ARRAY:
            rings = PerfRecorderRings(ring.fd, pages)
        elif ring.type == MapType.RINGBUF and MapFlags.RB_OVERWRITE in ring.spec.flags:
            rings = RingBufferRecorderRings(ring.fd, ring.max_entries)
        else:
            raise not_of_type(ring, "nothing that overwrites its oldest events")
    except OSError as error:
        raise explain(f"record the events of map {name!r}", error) from error
    return FlightRecorder(rings, decoder)
