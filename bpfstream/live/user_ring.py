"""From the name of a map to a user ring: what programs expect in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bpfstream.abi.maps import MapType
from bpfstream.errors import SchemaError
from bpfstream.kernel.privileges import explain
from bpfstream.live.events import EventType, not_of_type, record_type_for
from bpfstream.maps import Map
from bpfstream.records import RecordType, event_type_of, record_type
from bpfstream.records.encoder import encode
from bpfstream.spec import ObjectSpec
from bpfstream.streams.user_ring import UserRing

RecordEncoder = Callable[[Any], bytes]


def open_user_ring(
    spec: ObjectSpec,
    maps: Mapping[str, Map[Any, Any]],
    name: str,
    wanted: EventType | type[bytes] | None,
) -> UserRing[Any]:
    """Open the ring that `bpfstream.Object.user_ring` describes."""
    ring = maps[name]
    if ring.type != MapType.USER_RINGBUF:
        raise not_of_type(ring, "no ring that programs read")
    encoder = record_encoder(spec, name, wanted)
    try:
        return UserRing(ring.fd, ring.max_entries, encoder)
    except OSError as error:
        raise explain(f"open the user ring {name!r}", error) from error


def record_encoder(
    spec: ObjectSpec, name: str, wanted: EventType | type[bytes] | None
) -> RecordEncoder:
    """What makes the records of the ring `name`.

    Raises:
        SchemaError: A class differs from its BTF struct; or there is no such struct.
    """
    if wanted is None:
        carried = event_type_of(spec, name)
        if carried is None or spec.btf is None:
            return _copied
        return _encoder_of(record_type(spec.btf, carried))
    if isinstance(wanted, type) and issubclass(wanted, bytes):
        return _copied
    return _encoder_of(record_type_for(spec, wanted, ring=name))


def _encoder_of(record: RecordType[Any]) -> RecordEncoder:
    def encoder(value: Any) -> bytes:
        return encode(record.shape, value, record.byteorder)

    return encoder


def _copied(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise SchemaError(
            f"{type(value).__name__} where bytes are wanted",
            hint="say with type= which struct the programs expect",
        )
    return bytes(value)
