"""What a CO-RE relocation asks about: a type, an enumerator, or the way to a field of a type.

The compiler writes the way as indices, ``0:6:1``: the first treats the root type as if it were an
array, every other one is the index of a member or of an array element. For a look-up in another
BTF only names count, so the way is kept as accessors: named members and elements of arrays.
Anonymous structs on the way add to the offset and leave no accessor (libbpf, relo_core.c:
bpf_core_parse_spec).
"""

from __future__ import annotations

import re

import msgspec

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.btf import Btf
from bpfstream.btf.types import Array, Enum, Enum64, Struct, Union
from bpfstream.errors import LinkingError

MAX_DEPTH = 64
"""The most indices a way may have, and the deepest nesting that is searched for a member."""

OFFSET_MASK = 0xFFFF_FFFF
"""libbpf counts bit offsets in 32 bits."""

_WAY = re.compile(r"[0-9]{1,9}(:[0-9]{1,9})*", re.ASCII)

FIELD_KINDS = frozenset(
    {
        CoreRelocationKind.FIELD_BYTE_OFFSET,
        CoreRelocationKind.FIELD_BYTE_SIZE,
        CoreRelocationKind.FIELD_EXISTS,
        CoreRelocationKind.FIELD_SIGNED,
        CoreRelocationKind.FIELD_LSHIFT_U64,
        CoreRelocationKind.FIELD_RSHIFT_U64,
    }
)
ENUMERATOR_KINDS = frozenset({CoreRelocationKind.ENUMVAL_EXISTS, CoreRelocationKind.ENUMVAL_VALUE})


class Accessor(msgspec.Struct, frozen=True, gc=False):
    """One step of the way.

    Attributes:
        type: Id of the struct or union that holds the member, or of the element that an index
            leads to, or of the enum; modifiers and typedefs peeled off.
        index: Of the member, element or enumerator.
        name: Of the member or enumerator; None for an element.
    """

    type: int
    index: int
    name: str | None


class Access(msgspec.Struct, frozen=True):
    """A type, or a way into it.

    Attributes:
        btf: The BTF that the type ids belong to.
        root: Id of the type that the relocation names, not peeled.
        accessors: Empty when it is about the type as a whole.
        bit_offset: Of the field, from the start of the root.
    """

    btf: Btf
    root: int
    accessors: tuple[Accessor, ...] = ()
    bit_offset: int = 0

    @property
    def last(self) -> Accessor:
        """The last accessor; there is one for fields and enumerators."""
        return self.accessors[-1]

    def __str__(self) -> str:
        """In C terms: ``task_struct::mm.start_code``, or the type for types."""
        if not self.accessors:
            return self.btf.describe(self.root)
        text = self.btf.name(self.root) or self.btf.describe(self.root)
        first, *others = self.accessors
        if first.name is not None:
            return f"{text}::{first.name}"
        if first.index:
            text += f"[{first.index}]"
        path = ""
        for accessor in others:
            if accessor.name is None:
                path += f"[{accessor.index}]"
            else:
                path += f".{accessor.name}" if path else f"::{accessor.name}"
        return text + path


def parse_access(btf: Btf, type_id: int, text: str, kind: CoreRelocationKind) -> Access:
    """Read what a relocation of the object asks about.

    Args:
        btf: The object's BTF.
        type_id: The relocation's type.
        text: The relocation's access string.
        kind: The relocation's kind.

    Raises:
        LinkingError: The access string is malformed, or it does not fit the type.
        BtfError: A type on the way has no size or does not exist.
    """
    if not _WAY.fullmatch(text):
        raise LinkingError(f"malformed access string {text!r}")
    indices = [int(index) for index in text.split(":")]
    if len(indices) > MAX_DEPTH:
        raise LinkingError(f"access string of {len(indices)} indices, {MAX_DEPTH} at most")
    if kind in FIELD_KINDS:
        return _parse_field(btf, type_id, indices)
    if kind in ENUMERATOR_KINDS:
        return _parse_enumerator(btf, type_id, indices)
    if text != "0":
        raise LinkingError(f"access string {text!r} of a relocation about a whole type")
    return Access(btf, type_id)


def _parse_enumerator(btf: Btf, type_id: int, indices: list[int]) -> Access:
    enum_id = btf.resolve(type_id)
    enum = btf.type(enum_id)
    index = indices[0]
    if not isinstance(enum, Enum | Enum64):
        raise LinkingError(f"{btf.describe(type_id)} is no enum")
    if len(indices) > 1 or index >= len(enum.enumerators):
        raise LinkingError(f"{btf.describe(type_id)} has no enumerator {indices}")
    return Access(btf, type_id, (Accessor(enum_id, index, enum.enumerators[index].name),))


def _parse_field(btf: Btf, root: int, indices: list[int]) -> Access:
    type_id = btf.resolve(root)
    bit_offset = indices[0] * btf.size_of(type_id) * 8
    accessors = [Accessor(type_id, indices[0], None)]
    for index in indices[1:]:
        type_id = btf.resolve(type_id)
        container = btf.type(type_id)
        match container:
            case Struct() | Union():
                if index >= len(container.members):
                    raise LinkingError(
                        f"{btf.describe(type_id)} has {len(container.members)} members, "
                        f"the access wants number {index}"
                    )
                member = container.members[index]
                bit_offset += member.bit_offset
                if member.name:
                    accessors.append(Accessor(type_id, index, member.name))
                type_id = member.type
            case Array():
                if not in_bounds(btf, accessors[-1], container, index):
                    raise LinkingError(
                        f"{btf.describe(type_id)} has no element {index} that the access wants"
                    )
                type_id = btf.resolve(container.element)
                accessors.append(Accessor(type_id, index, None))
                bit_offset += index * btf.size_of(type_id) * 8
            case _:
                raise LinkingError(f"{btf.describe(type_id)} has no members, nor elements")
    return Access(btf, root, tuple(accessors), bit_offset & OFFSET_MASK)


def in_bounds(btf: Btf, holder: Accessor, array: Array, index: int) -> bool:
    """Whether an array has an element.

    A flexible array has as many as it likes: an array of length 0 that is the last member of the
    struct that holds it (relo_core.c: is_flex_arr).
    """
    if index < array.length:
        return True
    if array.length > 0 or holder.name is None:
        return False
    struct = btf.type(holder.type)
    return isinstance(struct, Struct | Union) and holder.index == len(struct.members) - 1
