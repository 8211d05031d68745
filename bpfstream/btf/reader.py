"""Reading BTF: the bytes stay as they are, a type becomes an object when it is asked for."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Literal

from bpfstream._native import COMPILED
from bpfstream.abi.btf import KIND_MASK, KIND_SHIFT, Kind
from bpfstream.btf.decoding import decode_type
from bpfstream.btf.header import SECTION, Header, parse_header
from bpfstream.btf.index import NameIndex, Words, locate_types
from bpfstream.btf.strings import StringTable
from bpfstream.btf.types import (
    Array,
    Const,
    DataSection,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Int,
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
    references,
)
from bpfstream.errors import BtfError

if TYPE_CHECKING:
    import mmap

MAXIMUM_DEPTH: Final = 128
"""Types followed in a row before that is taken for a circle; kernels allow 32 (btf.c)."""

_KINDS: Final = {kind.value: kind for kind in Kind}
_MODIFIERS: Final = frozenset(
    {Kind.TYPEDEF, Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG}
)
_NAMELESS: Final = frozenset(
    {Kind.PTR, Kind.ARRAY, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.FUNC_PROTO}
)


class Btf:
    """Lazily indexed BTF: types are parsed when asked for. Ids start at 1; 0 is void.

    With `base` it is split BTF, as of a kernel module: its ids and string offsets go on where the
    base's end, and it refers to types of the base freely.

    Attributes:
        data: The raw bytes.
        byteorder: Of the data.
        base: What this is split from, or None.
        first_id: The lowest id of its own.
        end_id: One more than the highest id: own ids are ``range(first_id, end_id)``.
        pointer_size: Bytes of a pointer on the machine described.
    """

    pointer_size: int = 8

    def __init__(
        self,
        data: bytes | memoryview | mmap.mmap,
        *,
        base: Btf | None = None,
        native: bool = COMPILED,
    ) -> None:
        """Use `Btf.from_bytes`."""
        self.data = memoryview(data).cast("B")
        self.base = base
        self._header: Header = parse_header(self.data)
        self.byteorder: Literal["little", "big"] = self._header.byteorder
        self.strings: StringTable = StringTable(
            data if isinstance(data, bytes) else self.data,
            *self._header.strings,
            base.strings if base is not None else None,
        )
        self._words = self._read_words(*self._header.types)
        self._more_kinds = self._read_layout()
        self._starts = locate_types(
            self._words, self._more_kinds, self._header.types[0], native=native
        )
        self.first_id: int = base.end_id if base is not None else 1
        self.end_id: int = self.first_id + len(self._starts)
        self._names = NameIndex(self._words, self._starts, self.strings, native=native)
        self._types: dict[int, Type] = {0: Void()}
        self._alignments: dict[int, int] = {}

    @classmethod
    def from_bytes(
        cls,
        data: bytes | memoryview | mmap.mmap,
        *,
        base: Btf | None = None,
        native: bool = COMPILED,
    ) -> Btf:
        """Index the contents of a .BTF section or of a file in /sys/kernel/btf.

        The data are kept, not copied (but for their strings when they are not bytes, and for the
        types when they are in the other byte order).

        Args:
            data: The bytes, in either byte order.
            base: For split BTF, what it extends.
            native: Index it by the compiled twin.

        Raises:
            BtfError: The header, the sections or the type records do not hold together. What a
                single type says is checked when that type is asked for.
        """
        return cls(data, base=base, native=native)

    def __repr__(self) -> str:
        split = " split" if self.base is not None else ""
        return f"<Btf{split} of {self.end_id - self.first_id} types>"

    # Reading records

    def _read_words(self, start: int, end: int) -> Words:
        if (end - start) % 4:
            raise BtfError("BTF type section is cut off", section=SECTION, offset=end)
        if self.byteorder == sys.byteorder:
            return self.data[start:end].cast("I")
        words = array("I", bytes(self.data[start:end]))
        words.byteswap()
        return words

    def _read_layout(self) -> dict[int, tuple[int, int]]:
        """The trailers of kinds by the table that newest BTF has: info_sz, elem_sz, flags."""
        start, end = self._header.layout
        table = bytes(self.data[start:end])
        return {
            kind: (table[4 * kind] // 4, table[4 * kind + 1] // 4)
            for kind in range(len(table) // 4)
            if table[4 * kind] % 4 == 0 and table[4 * kind + 1] % 4 == 0 and kind > 0
        }

    def _owner(self, type_id: int) -> Btf:
        """Whichever of this and its bases has the type."""
        owner: Btf | None = self
        while owner is not None:
            if owner.first_id <= type_id < owner.end_id:
                return owner
            owner = owner.base
        raise BtfError(f"no type {type_id} in BTF of {self.end_id} types", section=SECTION)

    def offset_of(self, type_id: int) -> int:
        """Where a type's record begins, in bytes, in the data of this or of the base that has it.

        Raises:
            BtfError: There is no such type, or it is void.
        """
        owner = self._owner(type_id)
        return owner._header.types[0] + 4 * owner._starts[type_id - owner.first_id]

    def type(self, type_id: int) -> Type:
        """The type with this id, parsed at the first call.

        Raises:
            BtfError: There is no such type, or its record is malformed.
        """
        known = self._types.get(type_id)
        if known is not None:
            return known
        owner = self._owner(type_id)
        if owner is not self:
            return owner.type(type_id)
        start = self._starts[type_id - self.first_id]
        try:
            parsed = decode_type(self._words, start, self.strings.get)
            for reference in references(parsed):
                if reference >= self.end_id:
                    raise BtfError(f"refers to type {reference} of {self.end_id}")
        except BtfError as error:
            raise BtfError(
                f"type {type_id}: {error}", section=SECTION, offset=self.offset_of(type_id)
            ) from None
        self._types[type_id] = parsed
        return parsed

    def kind(self, type_id: int) -> Kind:
        """The kind of a type; the type is not built.

        Raises:
            BtfError: There is no such type, or its kind is not known.
        """
        if type_id == 0:
            return Kind.VOID
        owner = self._owner(type_id)
        info = owner._words[owner._starts[type_id - owner.first_id] + 1]
        number = info >> KIND_SHIFT & KIND_MASK
        if number not in _KINDS:
            raise BtfError(
                f"type kind {number} is not known", section=SECTION, offset=self.offset_of(type_id)
            )
        return _KINDS[number]

    def name(self, type_id: int) -> str:
        """The name of a type, empty if it has none; the type is not built.

        Raises:
            BtfError: There is no such type, or its name lies outside of the strings.
        """
        if type_id == 0:
            return ""
        owner = self._owner(type_id)
        return owner.strings.get(owner._words[owner._starts[type_id - owner.first_id]])

    def string(self, offset: int) -> str:
        """The string at an offset of the string table.

        Raises:
            BtfError: The offset is outside of it.
        """
        return self.strings.get(offset)

    def records(self, first_id: int, end_id: int) -> array[int]:
        """The records of a range of own types, as 32-bit words in the machine's byte order."""
        start, stop = (
            self._starts[type_id - self.first_id] if type_id < self.end_id else len(self._words)
            for type_id in (first_id, end_id)
        )
        return array("I", self._words[start:stop].tobytes())

    def check_kinds(self) -> None:
        """See that every own type is of a known kind: with a table of record sizes it need not be.

        Raises:
            BtfError: One is not.
        """
        if self._more_kinds.keys() - _KINDS.keys():
            for type_id in range(self.first_id, self.end_id):
                self.kind(type_id)

    # Looking up

    def find(self, name: str, kind: Kind) -> int | None:
        """The lowest id, the base's first, of a type with this name and kind; None without one."""
        if self.base is not None and (found := self.base.find(name, kind)) is not None:
            return found
        for number in self._names.named(name):
            if self._has_kind(number, kind):
                return self.first_id + number
        return None

    def candidates(self, essential_name: str, kinds: Collection[Kind]) -> list[int]:
        """Own ids, ascending, of these kinds whose name without flavour is this."""
        return [
            self.first_id + number
            for number in self._names.essentially_named(essential_name)
            if any(self._has_kind(number, kind) for kind in kinds)
        ]

    def _has_kind(self, number: int, kind: Kind) -> bool:
        return self._words[self._starts[number] + 1] >> KIND_SHIFT & KIND_MASK == kind

    # Following types

    def resolve(self, type_id: int) -> int:
        """The id below typedefs, qualifiers and type tags.

        Raises:
            BtfError: An id does not exist, or they go in a circle.
        """
        for _ in range(MAXIMUM_DEPTH):
            if self.kind(type_id) not in _MODIFIERS:
                return type_id
            owner = self._owner(type_id)
            type_id = owner._words[owner._starts[type_id - owner.first_id] + 2]
        raise self._too_deep(type_id)

    def _too_deep(self, type_id: int) -> BtfError:
        return BtfError(
            f"type {type_id}: more than {MAXIMUM_DEPTH} types in a row, or a circle",
            section=SECTION,
            offset=self.offset_of(type_id),
        )

    def size_of(self, type_id: int) -> int:
        """Bytes that a value of this type takes, as ``sizeof`` gives; 0 for a flexible array.

        Raises:
            BtfError: It has no size (void, functions, what is only declared), or goes in a circle.
        """
        elements = 1
        for _ in range(MAXIMUM_DEPTH):
            match self.type(type_id):
                case (
                    Int(size=size)
                    | Struct(size=size)
                    | Union(size=size)
                    | Enum(size=size)
                    | Enum64(size=size)
                    | Float(size=size)
                    | DataSection(size=size)
                ):
                    return elements * size
                case Pointer():
                    return elements * self.pointer_size
                case Array(element=inner, length=length):
                    elements, type_id = elements * length, inner
                case (
                    Typedef(type=inner)
                    | Const(type=inner)
                    | Volatile(type=inner)
                    | Restrict(type=inner)
                    | TypeTag(type=inner)
                    | DeclTag(type=inner)
                    | Variable(type=inner)
                ):
                    type_id = inner
                case _:
                    raise self._without(type_id, "size")
        raise self._too_deep(type_id)

    def _without(self, type_id: int, what: str) -> BtfError:
        return BtfError(
            f"{self.describe(type_id)} has no {what}",
            section=SECTION,
            offset=self.offset_of(type_id) if type_id else None,
        )

    def align_of(self, type_id: int) -> int:
        """Bytes to which a value of this type is aligned; 1 for what is packed.

        BTF does not say it: it follows from the members, and from their places where those show
        that a struct is packed.

        Raises:
            BtfError: It has no alignment (void, functions), or goes in a circle.
        """
        return self._align(type_id, MAXIMUM_DEPTH)

    def _align(self, type_id: int, depth: int) -> int:
        known = self._alignments.get(type_id)
        if known is not None:
            return known
        if depth == 0:
            raise self._too_deep(type_id)
        match self.type(type_id):
            case Int(size=size) | Enum(size=size) | Enum64(size=size) | Float(size=size):
                alignment = max(1, min(size, self.pointer_size))
            case Pointer():
                alignment = self.pointer_size
            case (
                Array(element=inner)
                | Typedef(type=inner)
                | Const(type=inner)
                | Volatile(type=inner)
                | Restrict(type=inner)
                | TypeTag(type=inner)
                | DeclTag(type=inner)
                | Variable(type=inner)
            ):
                alignment = self._align(inner, depth - 1)
            case Struct(size=size, members=members) | Union(size=size, members=members):
                alignment = 1
                packed = False
                for member in members:
                    needed = self._align(member.type, depth - 1)
                    alignment = max(alignment, needed)
                    packed |= member.bit_size == 0 and member.bit_offset % (8 * needed) != 0
                if packed or size % alignment:
                    alignment = 1
            case _:
                raise self._without(type_id, "alignment")
        self._alignments[type_id] = alignment
        return alignment

    def describe(self, type_id: int) -> str:
        """A type in the words of C, for messages: ``"const struct sock *"``, ``"char[16]"``."""
        from bpfstream.btf.describe import describe

        return describe(self, type_id)
