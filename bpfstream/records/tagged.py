"""Several structs on one ring, told apart by a field that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bpfstream.errors import DecodeError, SchemaError
from bpfstream.records.decoder import decoder
from bpfstream.records.record_type import RecordType
from bpfstream.records.shapes import Boolean, Enumeration, Field, Integer, Record
from bpfstream.rings import BatchDecoder, Decode, EachRecord


def decoder_for(
    types: Sequence[RecordType[Any]] | Mapping[int, RecordType[Any]], tag: str | None = None
) -> BatchDecoder[list[Any]]:
    """One decoder for the records of a ring that carries several structs.

    In a sequence each class says its tag as msgspec's tagged unions do: ``class
    Exec(msgspec.Struct, tag=1)``; a tag that is a str is the name of an enumerator of the tag
    field's enum. A mapping has the structs by their tags.

    Args:
        types: What the ring carries. A single one needs no tag.
        tag: The C name of the integer that tells them apart, at the same place in all structs.

    Raises:
        SchemaError: There is no type, or several without `tag`; a struct lacks the field, or has
            it elsewhere; a class has no tag, or two have the same.

    The decoder raises `DecodeError` for a record with a tag that no type has.
    """
    if not types:
        raise SchemaError("a ring carries at least one struct")
    records = list(types.values()) if isinstance(types, Mapping) else types
    if len(records) == 1 and tag is None:
        return records[0].decoder
    if tag is None:
        raise SchemaError(
            f"{', '.join(each.name for each in records)} on one ring can't be told apart",
            hint="name the field that does it: tag='type'",
        )
    fields = [_tag_field(each, tag) for each in records]
    places = {(field.offset, field.shape.size, field.bits) for field in fields}
    if len(places) > 1:
        raise SchemaError("the structs of a ring have their tag at different places", field=tag)
    values = types if isinstance(types, Mapping) else map(_tag_value, records, fields)
    decoders: dict[int, Decode[Any]] = {}
    for each, value in zip(records, values, strict=True):
        if value in decoders:
            raise SchemaError(f"two structs of a ring have the tag {value}", field=tag)
        decoders[value] = each.decode
    return EachRecord(_tagged(decoders, records[0], fields[0]))


def _tagged(
    decoders: dict[int, Decode[Any]], example: RecordType[Any], field: Field
) -> Decode[Any]:
    tag_of = decoder(_just(field), example.byteorder)

    def decode(buffer: memoryview, offset: int, length: int) -> Any:
        tag = tag_of(buffer, offset, length).tag
        chosen = decoders.get(tag)
        if chosen is None:
            raise DecodeError(
                f"tag {tag} is none of {', '.join(map(str, sorted(decoders)))}",
                type_name=f"record with tag {field.c_name!r}",
                record=bytes(buffer[offset : offset + length]),
            )
        return chosen(buffer, offset, length)

    return decode


class _Tag(msgspec.Struct, frozen=True, gc=False):
    tag: int


def _just(field: Field) -> Record:
    """A struct of which only the tag is read, and that goes no further than the tag."""
    integer = Integer(field.shape.c_type, field.shape.size, _is_signed(field))
    only = msgspec.structs.replace(field, name="tag", shape=integer)
    size = field.offset + (field.bits.size if field.bits is not None else field.shape.size)
    return Record("the tag of a record", size, (only,), _Tag, least=size)


def _is_signed(field: Field) -> bool:
    return isinstance(field.shape, Integer | Enumeration) and field.shape.signed


def _tag_field(record: RecordType[Any], tag: str) -> Field:
    field = next((each for each in record.layout.fields if each.c_name == tag), None)
    if field is None:
        raise SchemaError(f"{record.name} has no field {tag!r} to tell it by", field=tag)
    if not isinstance(field.shape, Integer | Enumeration | Boolean):
        raise SchemaError(f"{record.name}.{tag} is {field.shape.c_type}: no integer", field=tag)
    return field


def _tag_value(record: RecordType[Any], field: Field) -> int:
    config = record.struct.__struct_config__
    if isinstance(config.tag, int):
        return config.tag
    members = field.shape.enum.__members__ if isinstance(field.shape, Enumeration) else {}
    if config.tag is not None and config.tag in members:
        return int(members[config.tag].value)
    raise SchemaError(
        f"{record.struct.__name__} does not say its {field.c_name!r}",
        field=field.c_name,
        hint=f"class {record.struct.__name__}(msgspec.Struct, tag=1)",
    )
