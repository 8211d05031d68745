"""The value that a CO-RE relocation asks for, of a type as it is in one BTF.

The same rules give the value that the compiler used, from the object's BTF, and the value that the
target needs, from its own (libbpf, relo_core.c: bpf_core_calc_field_relo and its neighbours).
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.btf import Btf
from bpfstream.btf.types import Array, Enum, Enum64, Int, Member, Pointer, Struct, Union
from bpfstream.errors import LinkingError
from bpfstream.linker.core_access import ENUMERATOR_KINDS, FIELD_KINDS, Access

_U32 = 0xFFFF_FFFF
_U64 = 0xFFFF_FFFF_FFFF_FFFF


class RelocationValue(msgspec.Struct, frozen=True):
    """The answer to a relocation.

    Attributes:
        value: Unsigned, of 64 bits.
        is_certain: The compiler must have used this very value, so that the instruction can be
            checked against it. Not so for bitfields, which compilers may load otherwise.
        access_size: Bytes that a load of the field takes, where the value is the offset of a field
            that is no bitfield; else 0.
        access_type: Id of the type that is loaded then.
    """

    value: int
    is_certain: bool = True
    access_size: int = 0
    access_type: int = 0


def relocation_value(access: Access, kind: CoreRelocationKind) -> RelocationValue:
    """The value for a type, field or enumerator that was found.

    Raises:
        LinkingError: The kind does not apply to what was found.
        BtfError: A type has no size.
    """
    if kind in FIELD_KINDS:
        return _field_value(access, kind)
    if kind in ENUMERATOR_KINDS:
        return _enumerator_value(access, kind)
    return _type_value(access, kind)


def absent_value(kind: CoreRelocationKind) -> int | None:
    """The value where the target has no such thing; None: no value will do.

    Questions about types have an answer, 0, as has whether something exists.
    """
    match kind:
        case CoreRelocationKind.FIELD_EXISTS | CoreRelocationKind.ENUMVAL_EXISTS:
            return 0
        case _ if kind in FIELD_KINDS or kind in ENUMERATOR_KINDS:
            return None
        case _:
            return 0


def _type_value(access: Access, kind: CoreRelocationKind) -> RelocationValue:
    match kind:
        case CoreRelocationKind.TYPE_ID_LOCAL | CoreRelocationKind.TYPE_ID_TARGET:
            # Static linking of objects renumbers types without changing instructions.
            return RelocationValue(access.root, is_certain=False)
        case CoreRelocationKind.TYPE_SIZE:
            return RelocationValue(access.btf.size_of(access.root))
        case _:
            return RelocationValue(1)


def _enumerator_value(access: Access, kind: CoreRelocationKind) -> RelocationValue:
    if kind == CoreRelocationKind.ENUMVAL_EXISTS:
        return RelocationValue(1)
    enum = access.btf.type(access.last.type)
    assert isinstance(enum, Enum | Enum64)  # how the access was found
    value = enum.enumerators[access.last.index].value
    if isinstance(enum, Enum) and value >= 1 << 31:
        value -= 1 << 32  # sign-extended whatever the enum's sign, as libbpf does
    return RelocationValue(value & _U64)


def _field_value(access: Access, kind: CoreRelocationKind) -> RelocationValue:
    if kind == CoreRelocationKind.FIELD_EXISTS:
        return RelocationValue(1)
    btf = access.btf
    last = access.last
    if last.name is None:
        size = btf.size_of(last.type)
        if kind == CoreRelocationKind.FIELD_BYTE_OFFSET:
            return RelocationValue(access.bit_offset // 8, access_size=size, access_type=last.type)
        if kind == CoreRelocationKind.FIELD_BYTE_SIZE:
            return RelocationValue(size)
        raise LinkingError(f"{kind.name} of {access}, which is an array element")
    container = btf.type(last.type)
    assert isinstance(container, Struct | Union)  # how the access was found
    member = container.members[last.index]
    if member.bit_size:
        return _bitfield_value(access, member, kind)
    return _plain_field_value(access, member, kind)


def _plain_field_value(access: Access, member: Member, kind: CoreRelocationKind) -> RelocationValue:
    btf = access.btf
    field_type = btf.resolve(member.type)
    size = btf.size_of(field_type)
    offset = access.bit_offset // 8
    if kind == CoreRelocationKind.FIELD_BYTE_OFFSET:
        element = field_type
        while isinstance(array := btf.type(element), Array):
            element = btf.resolve(array.element)
        return RelocationValue(offset, access_size=btf.size_of(element), access_type=field_type)
    return RelocationValue(_storage_value(access, field_type, kind, offset, size, size * 8))


def _bitfield_value(access: Access, member: Member, kind: CoreRelocationKind) -> RelocationValue:
    """A bitfield is loaded with the bytes of its declared type, or more if it needs them."""
    field_type = access.btf.resolve(member.type)
    size = access.btf.size_of(field_type)
    if not size:
        raise LinkingError(f"{access} is a bitfield of a type without size")
    end = access.bit_offset + member.bit_size
    offset = access.bit_offset // 8 // size * size
    while end - offset * 8 > size * 8:
        if size >= 8:
            raise LinkingError(f"{access} is a bitfield that no load of 8 bytes covers")
        size *= 2
        offset = access.bit_offset // 8 // size * size
    if kind == CoreRelocationKind.FIELD_BYTE_OFFSET:
        return RelocationValue(offset, is_certain=False)
    return RelocationValue(
        _storage_value(access, field_type, kind, offset, size, member.bit_size),
        is_certain=kind in (CoreRelocationKind.FIELD_SIGNED, CoreRelocationKind.FIELD_RSHIFT_U64),
    )


def _storage_value(
    access: Access,
    field_type: int,
    kind: CoreRelocationKind,
    offset: int,
    size: int,
    bits: int,
) -> int:
    """What is asked about the `size` bytes at byte `offset`, of which the field takes `bits`."""
    match kind:
        case CoreRelocationKind.FIELD_BYTE_SIZE:
            return size & _U32
        case CoreRelocationKind.FIELD_SIGNED:
            return int(_is_signed(access.btf, field_type))
        case CoreRelocationKind.FIELD_LSHIFT_U64:
            before = access.bit_offset - offset * 8
            if access.btf.byteorder == "little":
                return 64 - (before + bits) & _U32
            return (8 - size) * 8 + before & _U32
        case _:
            return 64 - bits & _U32


def _is_signed(btf: Btf, type_id: int) -> bool:
    match btf.type(type_id):
        case Enum(signed=signed) | Enum64(signed=signed) | Int(signed=signed):
            return signed
        case _:
            return False


def loads_alike(local: Access, local_type: int, target: Access, target_type: int) -> bool:
    """Whether a load may take as many bytes as the target's field has, if sizes differ.

    So with pointers, which are zero-extended to the 64 bits that programs see, and with unsigned
    integers (relo_core.c: bpf_core_calc_relo).
    """
    match local.btf.type(local_type), target.btf.type(target_type):
        case Pointer(), Pointer():
            return True
        case Int() as ours, Int() as theirs:
            return not (_is_plainly_signed(ours) or _is_plainly_signed(theirs))
        case _:
            return False


def _is_plainly_signed(integer: Int) -> bool:
    return integer.signed and not integer.char and not integer.boolean
