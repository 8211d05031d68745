"""Classes made at run time: a msgspec Struct for a C struct, an IntEnum for a C enum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, cast

import msgspec

from bpfstream.records.naming import python_name
from bpfstream.records.shapes import Field, python_type

MODULE = "bpfstream.records"
"""Where the classes say they come from."""

_SPECIAL = "mro"
"""A name that Enum refuses, beside all that begin and end with an underscore."""


def make_struct(name: str, fields: Sequence[Field]) -> type[msgspec.Struct]:
    """A frozen Struct class with these fields, whose JSON has the names of C."""
    renamed = {field.name: field.c_name for field in fields if field.name != field.c_name}
    if len({field.c_name for field in fields}) != len(fields):
        renamed = {}
    return msgspec.defstruct(
        python_name(name),
        [(field.name, python_type(field.shape)) for field in fields],
        module=MODULE,
        frozen=True,
        gc=False,  # no field can refer back to its record
        rename=renamed or None,
    )


def make_enum(name: str, values: Iterable[tuple[str, int]]) -> type[IntEnum]:
    """An IntEnum of these names and values; of names for one value the first is the member's."""
    members: dict[str, int] = {}
    for c_name, value in values:
        member = python_name(c_name)
        if member == _SPECIAL or (member[0] == "_" == member[-1]):
            member = f"{member.strip('_') or 'member'}_"
        members[python_name(member, members)] = value
    # The functional form makes a class; mypy only knows it with literal members.
    return cast("type[IntEnum]", cast("Any", IntEnum)(python_name(name), members, module=MODULE))
