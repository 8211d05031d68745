"""Several structs on one ring, told apart by a field that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bpfstream._native import COMPILED, hot
from bpfstream.errors import DecodeError, SchemaError
from bpfstream.records.decoder import decoder
from bpfstream.records.plan import describe, describe_tag
from bpfstream.records.record_decoder import RecordDecoder
from bpfstream.records.record_type import RecordType
from bpfstream.records.shapes import Boolean, Enumeration, Field, Integer, Record
from bpfstream.rings import Decode


def decoder_for(
    types: Sequence[RecordType[Any]] | Mapping[int, RecordType[Any]],
    tag: str | None = None,
    *,
    native: bool = COMPILED,
) -> RecordDecoder[Any]:
    """One decoder for the records of a ring that carries several structs.

    In a sequence each class says its tag as msgspec's tagged unions do: ``class
    Exec(msgspec.Struct, tag=1)``; a tag that is a str is the name of an enumerator of the tag
    field's enum. A mapping has the structs by their tags.

    Args:
        types: What the ring carries. A single one needs no tag.
        tag: The C name of the integer that tells them apart, at the same place in all structs.
        native: Whether the compiled twin does what it can; a single type's decoder is its own.

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
    by_tag: dict[int, RecordType[Any]] = {}
    for each, value in zip(records, values, strict=True):
        if value in by_tag:
            raise SchemaError(f"two structs of a ring have the tag {value}", field=tag)
        by_tag[value] = each
    plan = _plan(by_tag, fields[0]) if native else None
    return RecordDecoder(_tagged(by_tag, fields[0]), plan=plan)


def _tagged(by_tag: dict[int, RecordType[Any]], field: Field) -> Decode[Any]:
    decoders = {value: each.decode for value, each in by_tag.items()}
    tag_of = decoder(_just(field), next(iter(by_tag.values())).byteorder)

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


def _plan(by_tag: dict[int, RecordType[Any]], field: Field) -> hot.Plan | None:
    """The compiled twin; records with a tag that does not fit the field are never seen."""
    tag = describe_tag(field)
    if tag is None:
        return None
    signed, _, width, _ = tag[3]
    low, high = (-(1 << (width - 1)), 1 << (width - 1)) if signed else (0, 1 << width)
    fitting = {value: each for value, each in by_tag.items() if low <= value < high}
    layouts = tuple(describe(each.shape) for each in fitting.values())
    # As 64 bits are seen with a sign
    tags = tuple(value - (1 << 64) if value >> 63 > 0 else value for value in fitting)
    big = next(iter(by_tag.values())).byteorder == "big"
    return hot.Plan(layouts, big, tag, tags)


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
