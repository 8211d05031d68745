"""Where a C compiler would put the members of a struct, and the padding that puts them right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from bpfstream.btf.types import Int, Member, Struct, Union
from bpfstream.errors import BtfError

if TYPE_CHECKING:
    from bpfstream.btf.reader import Btf


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A member as it is to be written, or padding before the next one.

    Attributes:
        member: The member; None for padding.
        bits: The width of a bitfield, 0 for any other member.
        padding: A declaration, for padding.
    """

    member: Member | None
    bits: int = 0
    padding: str = ""


def placed_members(btf: Btf, type_id: int, numbers: Iterator[int]) -> tuple[list[Placed], bool]:
    """The members of a struct or union, and padding, with which C lays it out as BTF says.

    Args:
        btf: Where it is.
        type_id: The struct or union.
        numbers: For names of padding, which anonymous structs share with what they are in.

    Returns:
        What to write, and whether the whole is packed.

    Raises:
        BtfError: Members overlap in a struct, or lie where no declaration can put them.
    """
    composite = btf.type(type_id)
    if isinstance(composite, Union):
        return _union(btf, composite, numbers)
    if not isinstance(composite, Struct):
        raise BtfError(f"{btf.describe(type_id)} is no struct or union")
    alignment = max([1, *(_alignment(btf, each) for each in composite.members)])
    packed = composite.size % alignment != 0 or any(
        not _bits(btf, each)[0] and each.bit_offset % (8 * _alignment(btf, each))
        for each in composite.members
    )
    return _Placement(btf, type_id, packed, numbers).place(composite), packed


def _union(btf: Btf, union: Union, numbers: Iterator[int]) -> tuple[list[Placed], bool]:
    alignment = max([1, *(_alignment(btf, each) for each in union.members)])
    placed = [Placed(each, _bits(btf, each)[0]) for each in union.members]
    packed = union.size % alignment != 0
    step = 1 if packed else alignment
    largest = max([0, *(btf.size_of(each.type) for each in union.members)])
    if union.size > -(-largest // step) * step:
        placed.append(Placed(None, padding=f"unsigned char __pad{next(numbers)}[{union.size}]"))
    return placed, packed


class _Placement:
    """Follows a compiler through a struct, bit by bit."""

    def __init__(self, btf: Btf, type_id: int, packed: bool, numbers: Iterator[int]) -> None:
        self._btf = btf
        self._type_id = type_id
        self._packed = packed
        self._end = 0  # of the last member, in bits
        self._placed: list[Placed] = []
        self._numbers = numbers

    def place(self, struct: Struct) -> list[Placed]:
        for member in struct.members:
            bits, begin = _bits(self._btf, member)
            if begin < self._end:
                raise self._error(member, "overlaps another")
            if self._natural(member, bits) != begin:
                self._pad(begin)
            self._placed.append(Placed(member, bits))
            self._end = begin + (bits or 8 * self._btf.size_of(member.type))
        if -(-self._end // self._step(struct)) * self._step(struct) != 8 * struct.size:
            self._pad(8 * struct.size)
        return self._placed

    def _error(self, member: Member, problem: str) -> BtfError:
        return BtfError(
            f"{self._btf.describe(self._type_id)}: member {member.name!r} {problem}",
            offset=self._btf.offset_of(self._type_id),
        )

    def _step(self, struct: Struct) -> int:
        if self._packed:
            return 8
        return 8 * max([1, *(_alignment(self._btf, each) for each in struct.members)])

    def _natural(self, member: Member, bits: int) -> int:
        """The bit at which a compiler puts the member if nothing is said."""
        if bits:
            unit = 8 * self._btf.size_of(member.type)
            if bits > unit:
                raise self._error(member, f"has {bits} bits, its type {unit}")
            if self._packed or self._end // unit == (self._end + bits - 1) // unit:
                return self._end
            return -(-self._end // unit) * unit
        step = 8 if self._packed else 8 * _alignment(self._btf, member)
        return -(-self._end // step) * step

    def _pad(self, until: int) -> None:
        """Take up the bits from the end of the last member to `until`."""
        if self._end % 8:
            bits = min(8 - self._end % 8, until - self._end)
            self._placed.append(Placed(None, padding=f"unsigned char : {bits}"))
            self._end += bits
        whole, rest = divmod(until - self._end, 8)
        if whole:
            name = f"__pad{next(self._numbers)}"
            self._placed.append(Placed(None, padding=f"unsigned char {name}[{whole}]"))
        if rest:
            self._placed.append(Placed(None, padding=f"unsigned char : {rest}"))
        self._end = until


def _bits(btf: Btf, member: Member) -> tuple[int, int]:
    """The width of a bitfield, or 0, and the bit at which the member begins."""
    if member.bit_size:
        return member.bit_size, member.bit_offset
    integer = btf.type(btf.resolve(member.type))
    if isinstance(integer, Int) and (integer.offset or integer.bits != 8 * integer.size):
        return integer.bits, member.bit_offset + integer.offset  # as before Linux 5.0
    return 0, member.bit_offset


def _alignment(btf: Btf, member: Member) -> int:
    """Of the member's type; an unnamed bitfield has none."""
    return btf.align_of(member.type) if member.name or not member.bit_size else 1
