"""From a `Type` to the words of its record: the way back of `bpfstream.btf.decoding`."""

from collections.abc import Callable, Sequence

from bpfstream.abi.btf import KIND_FLAG, KIND_SHIFT, VLEN_MASK, IntEncoding
from bpfstream.btf.types import (
    KIND_OF,
    Array,
    Const,
    DataSection,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Forward,
    Function,
    FunctionPrototype,
    Int,
    Member,
    Pointer,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Variable,
    Void,
    Volatile,
)
from bpfstream.errors import BtfError


def encode_type(type_: Type, intern: Callable[[str], int]) -> list[int]:
    """The words of a type's record.

    Args:
        type_: Anything but `Void`, which has no record.
        intern: From a string to its offset in the string table.

    Raises:
        BtfError: A number does not fit its field.
    """
    kind = KIND_OF[type(type_)]

    def record(
        name: str, last: int, body: Sequence[int] = (), *, count: int = 0, flag: bool = False
    ) -> list[int]:
        info = kind << KIND_SHIFT | _fit(count, VLEN_MASK, "count") | (KIND_FLAG if flag else 0)
        return [intern(name), info, _word(last), *body]

    match type_:
        case Void():
            raise BtfError("void has no record")
        case Int():
            return record(type_.name, type_.size, [_integer(type_)])
        case Float(name=name, size=size):
            return record(name, size)
        case Pointer(type=target) | Const(type=target):
            return record("", target)
        case Volatile(type=target) | Restrict(type=target):
            return record("", target)
        case Array(element=element, index=index, length=length):
            return record("", 0, [_word(element), _word(index), _word(length)])
        case Struct(name=name, size=size, members=members):
            flag = any(member.bit_size for member in members)
            body = _members(members, intern, flag=flag)
            return record(name, size, body, count=len(members), flag=flag)
        case Union(name=name, size=size, members=members):
            flag = any(member.bit_size for member in members)
            body = _members(members, intern, flag=flag)
            return record(name, size, body, count=len(members), flag=flag)
        case Enum(name=name, size=size, signed=signed, enumerators=enumerators):
            body = []
            for enumerator in enumerators:
                body += intern(enumerator.name), _number(enumerator.value, 32, signed=signed)
            return record(name, size, body, count=len(enumerators), flag=signed)
        case Enum64(name=name, size=size, signed=signed, enumerators=enumerators):
            body = []
            for enumerator in enumerators:
                value = _number(enumerator.value, 64, signed=signed)
                body += intern(enumerator.name), value & 0xFFFFFFFF, value >> 32
            return record(name, size, body, count=len(enumerators), flag=signed)
        case Forward(name=name, is_union=is_union):
            return record(name, 0, flag=is_union)
        case Typedef(name=name, type=target):
            return record(name, target)
        case TypeTag(name=name, type=target, is_attribute=is_attribute):
            return record(name, target, flag=is_attribute)
        case DeclTag(name=name, type=target, component=component, is_attribute=is_attribute):
            body = [_number(component, 32, signed=True)]
            return record(name, target, body, flag=is_attribute)
        case Function(name=name, prototype=prototype, linkage=linkage):
            return record(name, prototype, count=linkage)
        case FunctionPrototype(return_type=result, parameters=parameters):
            body = []
            for parameter in parameters:
                body += intern(parameter.name), _word(parameter.type)
            return record("", result, body, count=len(parameters))
        case Variable(name=name, type=target, linkage=linkage):
            return record(name, target, [linkage])
        case DataSection(name=name, size=size, entries=entries):
            body = []
            for entry in entries:
                body += _word(entry.variable), _word(entry.offset), _word(entry.size)
            return record(name, size, body, count=len(entries))


def _fit(value: int, maximum: int, what: str) -> int:
    if not 0 <= value <= maximum:
        raise BtfError(f"{what} {value} is not within 0 to {maximum}")
    return value


def _word(value: int) -> int:
    return _fit(value, 0xFFFFFFFF, "number")


def _number(value: int, bits: int, *, signed: bool) -> int:
    """A value in two's complement."""
    lowest = -(1 << (bits - 1)) if signed else 0
    if not lowest <= value < lowest + (1 << bits):
        raise BtfError(f"{value} does not fit {'' if signed else 'un'}signed {bits} bits")
    return value & ((1 << bits) - 1)


def _integer(integer: Int) -> int:
    encoding = (
        IntEncoding.SIGNED * integer.signed
        | IntEncoding.CHAR * integer.char
        | IntEncoding.BOOL * integer.boolean
    )
    bits, offset = _fit(integer.bits, 0xFF, "bits"), _fit(integer.offset, 0xFF, "bit offset")
    return encoding << 24 | offset << 16 | bits


def _members(members: Sequence[Member], intern: Callable[[str], int], *, flag: bool) -> list[int]:
    body: list[int] = []
    for member in members:
        place = member.bit_offset
        if flag:
            # A struct with bitfields has the width above 24 bits of place.
            place = _fit(place, 0xFFFFFF, "bit offset") | _fit(member.bit_size, 0xFF, "width") << 24
        body += intern(member.name), _word(member.type), _word(place)
    return body
