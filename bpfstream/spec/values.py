"""Values in memory to Python values and back, as a BTF type says.

| Type                     | Python value                                                     |
|--------------------------|------------------------------------------------------------------|
| integer, pointer         | int                                                              |
| bool                     | bool                                                             |
| enum                     | int; an enumerator's name is taken too                           |
| float, double            | float                                                            |
| array of char            | str, up to the NUL; bytes are taken too, and need no NUL         |
| other array              | tuple; lists are taken too, and bytes for arrays of bytes        |
| struct, union            | dict by member name; members left out when writing stay the same |

Members of anonymous structs and unions count as members of the struct around them.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

import msgspec

from bpfstream.btf import Btf
from bpfstream.btf.types import (
    Array,
    Enum,
    Enum64,
    Float,
    Int,
    Member,
    Pointer,
    Struct,
    Type,
    Union,
)
from bpfstream.errors import BtfError, ObjectError

Value = int | bool | float | str | tuple["Value", ...] | dict[str, "Value"]
"""What a value can be read as."""

MAX_VALUE_SIZE: Final = 1 << 20
"""Bytes of the largest value that is taken apart: as Python objects it takes 50 times as much."""

_PARTS_PER_BYTE: Final = 16
_PARTS_AT_LEAST: Final = 1000
"""Most members and elements of a value: unions of unions may have any number a byte."""

_FLOAT_FORMATS: Final = {2: "e", 4: "f", 8: "d"}


class ValueCodec:
    """Reads and writes values of one object's types.

    Args:
        btf: Where the types are from; its byte order is that of the values.
        what: What the value is, for errors: ``"variable 'min_us'"``.
    """

    def __init__(self, btf: Btf, what: str) -> None:
        self._btf = btf
        self._what = what
        self._parts_left = 0

    def read(self, type_id: int, data: bytes) -> Value:
        """The value in `data`, which has the size of the type.

        Raises:
            ObjectError: The type has no values, or too large ones.
        """
        self._begin(type_id, len(data))
        return self._read(type_id, data, 0)

    def write(self, type_id: int, data: bytearray, value: object) -> None:
        """Put a value into `data`, which has the size of the type and an old value.

        Raises:
            ObjectError: The value doesn't fit the type; `data` may then be half written.
        """
        self._begin(type_id, len(data))
        self._write(type_id, data, 0, value, self._what)

    def _begin(self, type_id: int, available: int) -> None:
        size = self._btf.size_of(type_id)
        if size > available:
            raise ObjectError(f"{self._what}: {self._name(type_id)} is larger than its place")
        if size > MAX_VALUE_SIZE:
            raise self._too_large(type_id)
        self._parts_left = size * _PARTS_PER_BYTE + _PARTS_AT_LEAST

    def _too_large(self, type_id: int) -> ObjectError:
        return ObjectError(
            f"{self._what}: {self._name(type_id)} is too large to be taken apart",
            hint="use its raw bytes",
        )

    def _count_part(self, type_id: int) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise self._too_large(type_id)

    def _name(self, type_id: int) -> str:
        return self._btf.describe(type_id)

    def _resolved(self, type_id: int) -> Type:
        return self._btf.type(self._btf.resolve(type_id))

    def _named_members(self, composite: Struct | Union) -> Iterator[tuple[str, Member]]:
        """The members by name, those of anonymous members too; offsets are from the whole."""
        pending = [(0, member) for member in reversed(composite.members)]
        while pending:
            base, member = pending.pop()
            bit_offset = base + member.bit_offset
            if member.name:
                yield member.name, Member(member.name, member.type, bit_offset, member.bit_size)
                continue
            self._count_part(member.type)
            inner = self._resolved(member.type)
            if isinstance(inner, Struct | Union):  # otherwise padding: an unnamed bitfield
                pending += [(bit_offset, each) for each in reversed(inner.members)]

    # Reading

    def _read(self, type_id: int, data: bytes, offset: int) -> Value:
        self._count_part(type_id)
        resolved = self._resolved(type_id)
        match resolved:
            case Int() | Enum() | Enum64() | Pointer():
                scalar = self._scalar(resolved)
                raw = data[offset : offset + scalar.size]
                number = int.from_bytes(raw, self._btf.byteorder, signed=scalar.signed)
                return bool(number) if scalar.boolean else number
            case Float(size=size) if size in _FLOAT_FORMATS:
                return cast("float", struct.unpack_from(self._float_format(size), data, offset)[0])
            case Array():
                return self._read_array(resolved, data, offset)
            case Struct() | Union():
                return {
                    name: self._read_member(member, data, offset)
                    for name, member in self._named_members(resolved)
                }
            case _:
                raise ObjectError(f"{self._what}: values of {self._name(type_id)} can't be read")

    def _read_array(self, array: Array, data: bytes, offset: int) -> Value:
        size = self._btf.size_of(array.element)
        if _is_char(self._resolved(array.element)):
            text, _, _ = data[offset : offset + array.length].partition(b"\0")
            return text.decode(errors="replace")
        length = array.length if size else 0
        return tuple(self._read(array.element, data, offset + i * size) for i in range(length))

    def _read_member(self, member: Member, data: bytes, offset: int) -> Value:
        if not member.bit_size:
            return self._read(member.type, data, offset + member.bit_offset // 8)
        self._count_part(member.type)
        scalar = self._scalar(self._resolved(member.type))
        word, shift = self._bit_field(member, data, offset)
        number = word >> shift & (1 << member.bit_size) - 1
        if scalar.signed and number >> (member.bit_size - 1):
            number -= 1 << member.bit_size
        return bool(number) if scalar.boolean else number

    def _bit_field(self, member: Member, data: bytes | bytearray, offset: int) -> tuple[int, int]:
        """The bytes that hold a bitfield, as a number, and the bit where it begins there."""
        first, last = self._bit_field_bytes(member, offset)
        if last > len(data):
            raise BtfError(f"{self._what}: bitfield {member.name!r} lies outside of its struct")
        word = int.from_bytes(data[first:last], self._btf.byteorder)
        lead = member.bit_offset % 8
        if self._btf.byteorder == "big":  # bits count from the most significant one
            lead = (last - first) * 8 - lead - member.bit_size
        return word, lead

    @staticmethod
    def _bit_field_bytes(member: Member, offset: int) -> tuple[int, int]:
        end = member.bit_offset + member.bit_size
        return offset + member.bit_offset // 8, offset + (end + 7) // 8

    # Writing

    def _write(self, type_id: int, data: bytearray, offset: int, value: object, where: str) -> None:
        self._count_part(type_id)
        resolved = self._resolved(type_id)
        match resolved:
            case Int() | Enum() | Enum64() | Pointer():
                scalar = self._scalar(resolved)
                number = self._number(resolved, type_id, value, scalar.bits, scalar.signed, where)
                field = number & (1 << scalar.size * 8) - 1
                data[offset : offset + scalar.size] = field.to_bytes(
                    scalar.size, self._btf.byteorder
                )
            case Float(size=size) if size in _FLOAT_FORMATS:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._wrong_type(type_id, value, "a number", where)
                try:
                    struct.pack_into(self._float_format(size), data, offset, value)
                except OverflowError as error:
                    raise self._out_of_range(type_id, value, "too large", where) from error
            case Array():
                self._write_array(resolved, type_id, data, offset, value, where)
            case Struct() | Union():
                self._write_members(resolved, type_id, data, offset, value, where)
            case _:
                raise ObjectError(f"{where}: values of {self._name(type_id)} can't be written")

    def _write_array(
        self, array: Array, type_id: int, data: bytearray, offset: int, value: object, where: str
    ) -> None:
        size = self._btf.size_of(array.element)
        element = self._resolved(array.element)
        if isinstance(value, str) and _is_char(element):
            encoded = value.encode(errors="surrogateescape")
            if len(encoded) >= array.length or b"\0" in encoded:
                wanted = f"it takes at most {max(array.length - 1, 0)} bytes of UTF-8 without NUL"
                raise self._out_of_range(type_id, value, wanted, where)
            data[offset : offset + array.length] = encoded.ljust(array.length, b"\0")
        elif isinstance(value, bytes | bytearray) and size == 1:
            if len(value) > array.length:
                wanted = f"it takes at most {array.length} bytes"
                raise self._out_of_range(type_id, value, wanted, where)
            data[offset : offset + array.length] = bytes(value).ljust(array.length, b"\0")
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
            if len(value) != array.length:
                wanted = f"it takes {array.length} elements, not {len(value)}"
                raise self._out_of_range(type_id, value, wanted, where)
            for i, item in enumerate(value):
                self._write(array.element, data, offset + i * size, item, f"{where}[{i}]")
        else:
            wanted = "a str" if _is_char(element) else "a tuple or list"
            raise self._wrong_type(type_id, value, wanted, where)

    def _write_members(
        self,
        composite: Struct | Union,
        type_id: int,
        data: bytearray,
        offset: int,
        value: object,
        where: str,
    ) -> None:
        if not isinstance(value, Mapping):
            raise self._wrong_type(type_id, value, "a dict by member name", where)
        members = dict(self._named_members(composite))
        for name, item in value.items():
            if name not in members:
                raise ObjectError(
                    f"{where}: {self._name(type_id)} has no member {name!r}",
                    hint=f"it has {', '.join(members) or 'none'}",
                )
            member = members[name]
            place = f"{where}.{name}"
            if member.bit_size:
                self._write_bit_field(member, data, offset, item, place)
            else:
                self._write(member.type, data, offset + member.bit_offset // 8, item, place)

    def _write_bit_field(
        self, member: Member, data: bytearray, offset: int, value: object, where: str
    ) -> None:
        resolved = self._resolved(member.type)
        signed = self._scalar(resolved).signed
        number = self._number(resolved, member.type, value, member.bit_size, signed, where)
        word, shift = self._bit_field(member, data, offset)
        mask = (1 << member.bit_size) - 1
        word = word & ~(mask << shift) | (number & mask) << shift
        first, last = self._bit_field_bytes(member, offset)
        data[first:last] = word.to_bytes(last - first, self._btf.byteorder)

    def _number(
        self, resolved: Type, type_id: int, value: object, bits: int, signed: bool, where: str
    ) -> int:
        """The integer that `value` stands for, in the range of so many bits."""
        if isinstance(value, str) and isinstance(resolved, Enum | Enum64):
            named = {enumerator.name: enumerator.value for enumerator in resolved.enumerators}
            if value not in named:
                raise self._out_of_range(type_id, value, f"one of {', '.join(named)}", where)
            value = named[value]
        if not isinstance(value, int):
            raise self._wrong_type(type_id, value, "an int", where)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if isinstance(resolved, Int) and resolved.boolean:
            high = 1
        elif isinstance(resolved, Enum):
            low = -(1 << bits - 1)  # compilers before LLVM 16 call every enum unsigned
        if not low <= value <= high:
            raise self._out_of_range(type_id, value, f"it takes {low} to {high}", where)
        return int(value)

    def _wrong_type(self, type_id: int, value: object, wanted: str, where: str) -> ObjectError:
        name = self._name(type_id)
        return ObjectError(f"{where}: {name} takes {wanted}, not {type(value).__name__}")

    def _out_of_range(self, type_id: int, value: object, wanted: str, where: str) -> ObjectError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return ObjectError(f"{where}: {shown} doesn't fit {self._name(type_id)}: {wanted}")

    def _float_format(self, size: int) -> str:
        return ("<" if self._btf.byteorder == "little" else ">") + _FLOAT_FORMATS[size]

    def _scalar(self, resolved: Type) -> "_Scalar":
        match resolved:
            case Int(size=size, signed=signed, boolean=boolean):
                return _Scalar(size, size * 8, signed, boolean)
            case Enum(size=size, signed=signed) | Enum64(size=size, signed=signed):
                return _Scalar(size, size * 8, signed or _has_negative(resolved), boolean=False)
            case Pointer():
                size = self._btf.pointer_size
                return _Scalar(size, size * 8, signed=False, boolean=False)
            case _:
                raise ObjectError(f"{self._what}: {type(resolved).__name__} is no number")


class _Scalar(msgspec.Struct, frozen=True):
    """How a number lies in memory: bytes of storage, and what its bits mean."""

    size: int
    bits: int
    signed: bool
    boolean: bool


def _has_negative(enum: Enum | Enum64) -> bool:
    return any(enumerator.value < 0 for enumerator in enum.enumerators)


def _is_char(resolved: Type) -> bool:
    """Whether an array of this holds text: clang marks char by its name alone."""
    return (
        isinstance(resolved, Int)
        and resolved.size == 1
        and (resolved.char or resolved.name == "char")
    )
