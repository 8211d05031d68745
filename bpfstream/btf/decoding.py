"""From the words of one type record to its `Type`."""

from collections.abc import Callable, Iterator

from bpfstream.abi.btf import (
    KIND_FLAG,
    KIND_MASK,
    KIND_SHIFT,
    VLEN_MASK,
    IntEncoding,
    Kind,
    Linkage,
)
from bpfstream.btf.index import Words
from bpfstream.btf.types import (
    Array,
    Const,
    DataSection,
    DataSectionEntry,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Forward,
    Function,
    FunctionPrototype,
    Int,
    Member,
    Parameter,
    Pointer,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Variable,
    Volatile,
)
from bpfstream.errors import BtfError

_COUNTED = frozenset(
    {Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FUNC_PROTO, Kind.DATASEC, Kind.FUNC}
)
"""Kinds whose vlen has a meaning: the number of elements, or the linkage of a function."""

_INT_ENCODINGS = IntEncoding.SIGNED | IntEncoding.CHAR | IntEncoding.BOOL

ENUM_SIZES = (1, 2, 4, 8)
FLOAT_SIZES = (2, 4, 8, 12, 16)
"""Bytes that the kernel takes (kernel/bpf/btf.c: btf_enum_check_meta, btf_float_check_meta)."""


def decode_type(words: Words, start: int, string: Callable[[int], str]) -> Type:
    """The type whose record begins at word `start`.

    The record must lie in `words` whole. Ids in it are not looked at.

    Args:
        words: The type section.
        start: The record's first word.
        string: From an offset to the string there; raises BtfError.

    Raises:
        BtfError: The record says something that has no meaning.
    """
    info, last = words[start + 1], words[start + 2]
    kind, count, flag = info >> KIND_SHIFT & KIND_MASK, info & VLEN_MASK, bool(info & KIND_FLAG)
    if count and kind not in _COUNTED:
        raise BtfError(f"{Kind(kind).name} with {count} elements")
    name = string(words[start])
    body = start + 3
    match kind:
        case Kind.INT:
            return _integer(name, last, words[body])
        case Kind.PTR:
            return Pointer(last)
        case Kind.ARRAY:
            return Array(words[body], words[body + 1], words[body + 2])
        case Kind.STRUCT:
            return Struct(name, last, _members(words, body, count, flag, string))
        case Kind.UNION:
            return Union(name, last, _members(words, body, count, flag, string))
        case Kind.ENUM:
            _check_size(kind, last, ENUM_SIZES)
            return Enum(name, last, flag, _enumerators(words, body, count, flag, string))
        case Kind.ENUM64:
            _check_size(kind, last, ENUM_SIZES)
            return Enum64(name, last, flag, _enumerators64(words, body, count, flag, string))
        case Kind.FWD:
            return Forward(name, is_union=flag)
        case Kind.TYPEDEF:
            return Typedef(name, last)
        case Kind.VOLATILE:
            return Volatile(last)
        case Kind.CONST:
            return Const(last)
        case Kind.RESTRICT:
            return Restrict(last)
        case Kind.TYPE_TAG:
            return TypeTag(name, last, is_attribute=flag)
        case Kind.FUNC:
            return Function(name, last, _linkage(count))
        case Kind.FUNC_PROTO:
            parameters = (
                Parameter(string(at), type_id) for at, type_id in _rows2(words, body, count)
            )
            return FunctionPrototype(last, tuple(parameters))
        case Kind.VAR:
            return Variable(name, last, _linkage(words[body]))
        case Kind.DATASEC:
            entries = (DataSectionEntry(*row) for row in _rows3(words, body, count))
            return DataSection(name, last, tuple(entries))
        case Kind.FLOAT:
            _check_size(kind, last, FLOAT_SIZES)
            return Float(name, last)
        case Kind.DECL_TAG:
            component = _signed32(words[body])
            if component < -1:
                raise BtfError(f"DECL_TAG on component {component}")
            return DeclTag(name, last, component, is_attribute=flag)
    raise BtfError(f"type kind {kind} is not known")


def _rows2(words: Words, body: int, count: int) -> Iterator[tuple[int, int]]:
    flat = iter(words[body : body + 2 * count].tolist())
    return zip(flat, flat, strict=True)


def _rows3(words: Words, body: int, count: int) -> Iterator[tuple[int, int, int]]:
    flat = iter(words[body : body + 3 * count].tolist())
    return zip(flat, flat, flat, strict=True)


def _integer(name: str, size: int, encoded: int) -> Int:
    encoding, offset, bits = encoded >> 24, encoded >> 16 & 0xFF, encoded & 0xFF
    if encoding > _INT_ENCODINGS:
        raise BtfError(f"INT {name!r} with encoding {encoding:#x}")
    if offset + bits > 8 * size:
        raise BtfError(f"INT {name!r} of {bits} bits from bit {offset} in {size} bytes")
    return Int(
        name,
        size,
        bits,
        offset,
        signed=bool(encoding & IntEncoding.SIGNED),
        char=bool(encoding & IntEncoding.CHAR),
        boolean=bool(encoding & IntEncoding.BOOL),
    )


def _members(
    words: Words, body: int, count: int, flag: bool, string: Callable[[int], str]
) -> tuple[Member, ...]:
    rows = _rows3(words, body, count)
    if flag:
        return tuple(
            Member(string(at), type_id, place & 0xFFFFFF, place >> 24)
            for at, type_id, place in rows
        )
    return tuple(Member(string(at), type_id, place) for at, type_id, place in rows)


def _signed32(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _signed64(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _enumerators(
    words: Words, body: int, count: int, flag: bool, string: Callable[[int], str]
) -> tuple[Enumerator, ...]:
    rows = _rows2(words, body, count)
    return tuple(Enumerator(string(at), _signed32(value) if flag else value) for at, value in rows)


def _enumerators64(
    words: Words, body: int, count: int, flag: bool, string: Callable[[int], str]
) -> tuple[Enumerator, ...]:
    rows = ((at, high << 32 | low) for at, low, high in _rows3(words, body, count))
    return tuple(Enumerator(string(at), _signed64(value) if flag else value) for at, value in rows)


def _linkage(number: int) -> Linkage:
    try:
        return Linkage(number)
    except ValueError:
        raise BtfError(f"linkage {number} is not known") from None


def _check_size(kind: int, size: int, sizes: tuple[int, ...]) -> None:
    if size not in sizes:
        raise BtfError(f"{Kind(kind).name} of {size} bytes")
