"""Record types: the events of a ring, each an instance of a msgspec Struct class."""

from __future__ import annotations

import sys
from typing import Generic, TypeVar, cast
from weakref import WeakKeyDictionary

import msgspec

from bpfstream.btf.reader import Btf
from bpfstream.errors import SchemaError
from bpfstream.records.from_btf import shape_of
from bpfstream.records.layouts import shape_of_class
from bpfstream.records.record_decoder import RecordDecoder, record_decoder
from bpfstream.records.schema import bind
from bpfstream.records.shapes import ByteOrder, Record
from bpfstream.rings import Decode

T = TypeVar("T", bound=msgspec.Struct)

_cache: WeakKeyDictionary[Btf, dict[tuple[int, type | None], RecordType[msgspec.Struct]]]
_cache = WeakKeyDictionary()


class RecordType(Generic[T]):
    """The C struct of a record and the class that it is read as.

    Attributes:
        name: In the words of C: ``"struct event"``.
        size: Bytes of the struct; a record may be longer.
        struct: The class of the events.
        fields: Names of the class's fields, in order.
        layout: All of the C struct, with what the class leaves out.
        shape: What the class reads of it.
        byteorder: Of the records.
        decode: ``decode(buffer, offset, length)`` gives an event; `DecodeError` for a record that
            is too short. The last array of bytes of a struct may be cut short: programs send
            strings only as far as they are filled. A flexible array takes what the record has left,
            which in a perf buffer is up to 7 bytes more than the program sent.
        decoder: Makes lists of events of the records in a ring, as `decode` does of one.
    """

    __slots__ = (
        "byteorder",
        "decode",
        "decoder",
        "fields",
        "layout",
        "name",
        "shape",
        "size",
        "struct",
    )

    def __init__(self, shape: Record, layout: Record, byteorder: ByteOrder) -> None:
        self.name = layout.c_type
        self.size = layout.size
        self.struct = cast("type[T]", shape.struct)
        self.fields: tuple[str, ...] = self.struct.__struct_fields__
        self.layout = layout
        self.shape = shape
        self.byteorder: ByteOrder = byteorder
        self.decoder: RecordDecoder[T] = record_decoder(shape, byteorder)
        self.decode: Decode[T] = self.decoder.one

    def __repr__(self) -> str:
        return f"<RecordType {self.name} as {self.struct.__name__}>"


def record_type(btf: Btf, type_id: int, *, struct: type[T] | None = None) -> RecordType[T]:
    """The record type of a struct that BTF describes; made once for each BTF, type and class.

    Without a class of the user's one is made: frozen, with a field for each member. Integers and
    pointers are `int`, char arrays `str` (up to the NUL), other arrays tuples, enums members of an
    IntEnum (or `int` for a value without a name), nested structs and unions Structs. Members of
    anonymous structs and unions are fields of the whole; all members of a union are decoded from
    the same bytes. Names that Python reserves get a trailing underscore.

    Args:
        btf: Where the struct is described.
        type_id: A struct or union, or a typedef of one.
        struct: The user's class. Each of its fields is looked up in the C struct by its name (or
            the name that msgspec encodes it as) and checked; members that it leaves out are
            skipped.

    Raises:
        BtfError: There is no such type, or it contradicts itself.
        SchemaError: The type is no struct, or the class does not fit it.
    """
    known = _cache.setdefault(btf, {})
    key = (btf.resolve(type_id), struct)
    found = known.get(key)
    if found is None:
        layout = shape_of(btf, type_id)
        if not isinstance(layout, Record):
            raise SchemaError(f"{layout.c_type} is no struct")
        shape = layout if struct is None else bind(layout, struct)
        found = known[key] = RecordType(shape, layout, btf.byteorder)
    return cast("RecordType[T]", found)


def record_type_of_class(struct: type[T], *, byteorder: ByteOrder = sys.byteorder) -> RecordType[T]:
    """The record type of a class that says its C types itself, for rings without BTF.

    Its annotations give each field's C type, and fields lie one behind the other with the alignment
    of C: see `bpfstream.records.layouts`.

    Raises:
        SchemaError: A field's annotation has no C type.
    """
    layout = shape_of_class(struct)
    return RecordType(layout, layout, byteorder)
