"""Finding in a type of the target what a CO-RE relocation asks about a type of the object.

Libbpf's rules (relo_core.c: bpf_core_spec_match, bpf_core_match_member): a field is found by the
names on the way to it, at any depth of anonymous nesting, and the first member of a name decides.
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.btf import Btf, essential_name
from bpfstream.btf.types import Array, Enum, Enum64, Member, Struct, Union
from bpfstream.errors import LinkingError
from bpfstream.linker.core_access import (
    ENUMERATOR_KINDS,
    FIELD_KINDS,
    MAX_DEPTH,
    OFFSET_MASK,
    Access,
    Accessor,
    in_bounds,
)
from bpfstream.linker.core_compatibility import TypeComparison, fields_are_compatible

_MAX_MEMBERS = 5_000_000
"""Members looked at for one object, so that none takes forever. Large ones need some hundred
thousand."""


class Mismatch(msgspec.Struct, frozen=True):
    """Why a type of the target lacks what a relocation asks about, in C terms."""

    reason: str


class AccessFinder:
    """Finds, in types of the target, what the relocations of one object ask about."""

    def __init__(self, local_btf: Btf) -> None:
        self._local_btf = local_btf
        self._comparisons: dict[Btf, TypeComparison] = {}
        self._enumerators: dict[tuple[Btf, int], dict[str, int]] = {}
        self._members_seen = 0

    def find(
        self, local: Access, btf: Btf, candidate: int, kind: CoreRelocationKind
    ) -> Access | Mismatch:
        """What `local` stands for in a type of the target.

        Args:
            local: What the relocation asks about, in the object's BTF.
            btf: The target's BTF.
            candidate: A type there that bears the same name as the local root.
            kind: The relocation's kind.

        Raises:
            LinkingError: The two can't be compared: types nest too deep.
            BtfError: A type of the target has no size.
        """
        if kind in FIELD_KINDS:
            search = _FieldSearch(local, btf, self._members_seen)
            try:
                return search.find(candidate)
            finally:
                self._members_seen = search.members_seen
        if kind in ENUMERATOR_KINDS:
            return self._find_enumerator(local, btf, candidate)
        if btf not in self._comparisons:
            self._comparisons[btf] = TypeComparison(self._local_btf, btf)
        comparison = self._comparisons[btf]
        if kind == CoreRelocationKind.TYPE_MATCHES:
            if comparison.matches(local.root, candidate):
                return Access(btf, candidate)
            return Mismatch(f"{btf.describe(candidate)} does not match the program's declaration")
        if comparison.compatible(local.root, candidate):
            return Access(btf, candidate)
        return Mismatch(f"{btf.describe(candidate)} is another kind of type")

    def _find_enumerator(self, local: Access, btf: Btf, candidate: int) -> Access | Mismatch:
        name = local.last.name or ""
        enum_id = btf.resolve(candidate)
        index = self._enumerators_of(btf, enum_id).get(essential_name(name))
        if index is None:
            return Mismatch(f'{btf.describe(candidate)} has no enumerator "{name}"')
        return Access(btf, candidate, (Accessor(enum_id, index, name),))

    def _enumerators_of(self, btf: Btf, type_id: int) -> dict[str, int]:
        """The index of the first enumerator of each name, flavours aside."""
        found = self._enumerators.get((btf, type_id))
        if found is None:
            found = self._enumerators[btf, type_id] = {}
            enum = btf.type(type_id)
            if isinstance(enum, Enum | Enum64):
                for index, enumerator in enumerate(enum.enumerators):
                    found.setdefault(essential_name(enumerator.name), index)
        return found


class _FieldSearch:
    """The search for one field in one type of the target."""

    def __init__(self, local: Access, btf: Btf, members_seen: int) -> None:
        self._local = local
        self._btf = btf
        self._bit_offset = 0
        self._without_member: set[int] = set()
        self.members_seen = members_seen

    def find(self, candidate: int) -> Access | Mismatch:
        btf = self._btf
        type_id = btf.resolve(candidate)
        first = self._local.accessors[0]
        accessors = [Accessor(type_id, first.index, None)]
        self._bit_offset = first.index * btf.size_of(type_id) * 8
        for position, step in enumerate(self._local.accessors[1:], 1):
            type_id = btf.resolve(type_id)
            if step.name is None:
                array = btf.type(type_id)
                if not isinstance(array, Array):
                    return Mismatch(f"{self._path(position)} is {btf.describe(type_id)}, no array")
                if not in_bounds(btf, accessors[-1], array, step.index):
                    return Mismatch(
                        f"{self._path(position)} is {btf.describe(type_id)} "
                        f"and has no element {step.index}"
                    )
                type_id = btf.resolve(array.element)
                accessors.append(Accessor(type_id, step.index, None))
                self._bit_offset += step.index * btf.size_of(type_id) * 8
                continue
            self._without_member.clear()
            found = self._find_member(step.name, type_id, depth=len(accessors))
            if found is None:
                return Mismatch(f'{btf.describe(type_id)} has no field "{step.name}"')
            accessor, member = found
            local_type = self._local_member(step).type
            if not fields_are_compatible(self._local.btf, local_type, btf, member.type):
                return Mismatch(
                    f'field "{step.name}" of {btf.describe(accessor.type)} '
                    f"is {btf.describe(member.type)}, "
                    f"not {self._local.btf.describe(local_type)}"
                )
            accessors.append(accessor)
            type_id = member.type
        return Access(btf, candidate, tuple(accessors), self._bit_offset & OFFSET_MASK)

    def _find_member(
        self, name: str, type_id: int, *, depth: int
    ) -> tuple[Accessor, Member] | None:
        """The first member called `name`, anonymous members searched in place."""
        type_id = self._btf.resolve(type_id)
        container = self._btf.type(type_id)
        if not isinstance(container, Struct | Union) or type_id in self._without_member:
            return None
        if depth >= MAX_DEPTH:
            raise LinkingError(f"{self._btf.describe(type_id)} nests deeper than {MAX_DEPTH}")
        for index, member in enumerate(container.members):
            self.members_seen += 1
            if self.members_seen > _MAX_MEMBERS:
                raise LinkingError(f"{self._btf.describe(type_id)} has too many members to search")
            if member.name == name:
                self._bit_offset += member.bit_offset
                return Accessor(type_id, index, name), member
            if not member.name:
                found = self._find_member(name, member.type, depth=depth + 1)
                if found is not None:
                    self._bit_offset += member.bit_offset
                    return found
        self._without_member.add(type_id)
        return None

    def _local_member(self, step: Accessor) -> Member:
        container = self._local.btf.type(step.type)
        assert isinstance(container, Struct | Union)  # parse_access() walked it
        return container.members[step.index]

    def _path(self, position: int) -> str:
        before = self._local.accessors[:position]
        return str(Access(self._local.btf, self._local.root, before))
