"""Writing BTF: from nothing, or as an edited copy whose type ids and string offsets stay."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Literal

from bpfstream.abi import btf as abi
from bpfstream.btf.describe import describe
from bpfstream.btf.encoding import encode_type
from bpfstream.btf.reader import Btf
from bpfstream.btf.strings import encode_name
from bpfstream.btf.types import Type, Void, references
from bpfstream.errors import BtfError


class BtfBuilder:
    """Types that become BTF.

    Ids are given in the order of adding, from 1 or from the end of the base. A type may refer to
    one that is added later; `to_bytes` checks that all are there. Strings are stored once.

    Attributes:
        first_id: The lowest id of its own.
        end_id: The id that the next added type gets.
    """

    def __init__(self, source: Btf | None = None, *, base: Btf | None = None) -> None:
        """Begin with a copy of `source`, or with nothing.

        Every type of `source` keeps its id and every string its offset, so that what refers to them
        from outside (.BTF.ext, map definitions) goes on to hold.

        Args:
            source: BTF to be edited; may be split BTF.
            base: Without a source: what the new BTF is split from.

        Raises:
            BtfError: The source has types of a kind that is not known.
        """
        self._source = source
        self._base = source.base if source is not None else base
        self.first_id: int = self._base.end_id if self._base is not None else 1
        self.end_id: int = self.first_id
        self._first_string = self._base.strings.end if self._base is not None else 0
        self._strings = bytearray(b"\0" if self._base is None else b"")
        if source is not None:
            source.check_kinds()
            self.end_id = source.end_id
            self._strings = bytearray(source.strings.raw())
        self._interned: dict[str, int] = {"": 0}
        self._types: dict[int, Type] = {0: Void()}
        self._records: dict[int, list[int]] = {}

    def type(self, type_id: int) -> Type:
        """The type with this id, as it is now.

        Raises:
            BtfError: There is no such type.
        """
        if type_id in self._types:
            return self._types[type_id]
        origin = self._source or self._base
        if origin is None:
            raise BtfError(f"no type {type_id} among {self.end_id}")
        return origin.type(type_id)

    def describe(self, type_id: int) -> str:
        """A type in the words of C, for messages."""
        return describe(self, type_id)

    def add(self, type_: Type) -> int:
        """Append a type.

        Returns:
            Its id.

        Raises:
            BtfError: A number in it does not fit its field, or a name has a NUL in it.
        """
        type_id = self.end_id
        self._store(type_id, type_)
        self.end_id += 1
        return type_id

    def replace(self, type_id: int, type_: Type) -> None:
        """Put another type in a type's place: what refers to it then refers to the new one.

        Raises:
            BtfError: There is no such type, or it is the base's, or `type_` can't be encoded.
        """
        if not self.first_id <= type_id < self.end_id:
            raise BtfError(f"no type {type_id} to replace in {self.first_id} to {self.end_id - 1}")
        self._store(type_id, type_)

    def _store(self, type_id: int, type_: Type) -> None:
        self._records[type_id] = encode_type(type_, self.intern)
        self._types[type_id] = type_

    def intern(self, text: str) -> int:
        """The offset of a string, which is appended if it is not there.

        Raises:
            BtfError: The string has a NUL in it.
        """
        offset = self._interned.get(text)
        if offset is None:
            found = self._find(text)
            offset = self._interned[text] = self._append(text) if found is None else found
        return offset

    def _find(self, text: str) -> int | None:
        origin = self._source or self._base
        return origin.strings.offset_of(text) if origin is not None else None

    def _append(self, text: str) -> int:
        encoded = encode_name(text)
        if 0 in encoded:
            raise BtfError(f"name with a NUL in it: {text!r}")
        offset = self._first_string + len(self._strings)
        self._strings += encoded + b"\0"
        return offset

    def to_bytes(self, byteorder: Literal["little", "big"] | None = None) -> bytes:
        """The contents of a .BTF section: header, types, strings.

        A table of record sizes by kind that the source may have had is left out: no kind here needs
        it, and only the newest kernels take it.

        Args:
            byteorder: The source's (or the base's, or the machine's) if none is given.

        Raises:
            BtfError: A type refers to one that was never added.
        """
        origin = self._source or self._base
        byteorder = byteorder or (origin.byteorder if origin is not None else sys.byteorder)
        words = array("I")
        copied = self.first_id
        for type_id in sorted(self._records):
            self._check(type_id)
            if self._source is not None and copied < self._source.end_id:
                words += self._source.records(copied, min(type_id, self._source.end_id))
            words.extend(self._records[type_id])
            copied = type_id + 1
        if self._source is not None and copied < self._source.end_id:
            words += self._source.records(copied, self._source.end_id)
        if byteorder != sys.byteorder:
            words.byteswap()
        header = _HEADERS[byteorder].pack(
            abi.MAGIC,
            abi.VERSION,
            0,
            abi.HEADER_SIZE,
            0,
            len(words) * 4,
            len(words) * 4,
            len(self._strings),
        )
        return header + words.tobytes() + self._strings

    def _check(self, type_id: int) -> None:
        for reference in references(self._types[type_id]):
            if reference >= self.end_id:
                raise BtfError(f"type {type_id} refers to type {reference} of {self.end_id}")


_HEADERS = {"little": struct.Struct("<HBBIIIII"), "big": struct.Struct(">HBBIIIII")}
