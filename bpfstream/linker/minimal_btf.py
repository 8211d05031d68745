"""A small BTF that relocates given objects as a kernel's whole BTF does.

Of the kernel's types only those stay that CO-RE relocations of the objects ask about, and of their
members only those on the way. Sizes and offsets stay, so that every answer does. With such a file
of some kilobytes for each kernel a program runs on kernels that have no BTF of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    Array,
    Const,
    FunctionPrototype,
    Pointer,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Volatile,
)
from bpfstream.linker.core_access import ENUMERATOR_KINDS, FIELD_KINDS, Access, parse_access
from bpfstream.linker.core_candidates import Candidates
from bpfstream.linker.core_match import AccessFinder, Mismatch
from bpfstream.linker.target import Target
from bpfstream.spec import ObjectSpec


def minimal_btf(btf: Btf, specs: Iterable[ObjectSpec]) -> bytes:
    """The part of a kernel's BTF that the relocations of the objects ask about.

    Args:
        btf: The kernel's types.
        specs: The objects.

    Returns:
        The contents of a BTF file, in the byte order of `btf`.

    Raises:
        LinkingError: A relocation is malformed.
        BtfError: A type contradicts itself.
    """
    selection = _Selection(btf)
    target = Target(relocation_btf=btf)
    for spec in specs:
        if spec.btf is None or spec.btf_ext is None:
            continue
        candidates, finder = Candidates(spec.btf, target), AccessFinder(spec.btf)
        for record in spec.btf_ext.relocations:
            if record.kind == CoreRelocationKind.TYPE_ID_LOCAL:
                continue
            local = parse_access(spec.btf, record.type_id, record.access, record.kind)
            for candidate in candidates.of(record.type_id):
                found = finder.find(local, btf, candidate.type, record.kind)
                if not isinstance(found, Mismatch):
                    selection.add(found, record.kind)
    return selection.to_bytes()


class _Selection:
    """Types, and members of them, that stay."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._members: dict[int, set[int]] = {}
        self._whole: set[int] = set()

    def add(self, found: Access, kind: CoreRelocationKind) -> None:
        """Keep what a relocation found."""
        if kind in FIELD_KINDS:
            self._add_way(found)
        elif kind in ENUMERATOR_KINDS:
            self._keep(found.root)
        else:
            # Whether types match is a question about all members, and what these are.
            self._keep(found.root, whole=kind == CoreRelocationKind.TYPE_MATCHES)

    def _add_way(self, found: Access) -> None:
        self._keep(found.root)
        container = self._btf.resolve(found.root)
        for step in found.accessors[1:]:
            if step.name is None:
                self._keep(step.type)
                container = step.type
                continue
            self._add_anonymous(container, step.type)
            struct = self._btf.type(step.type)
            assert isinstance(struct, Struct | Union)  # the finder walked it
            self._members[step.type].add(step.index)
            self._keep(struct.members[step.index].type)
            container = self._btf.resolve(struct.members[step.index].type)

    def _add_anonymous(self, container: int, wanted: int) -> bool:
        """Keep the anonymous members that lead from one struct to one inside of it."""
        if container == wanted:
            return True
        struct = self._btf.type(container)
        if not isinstance(struct, Struct | Union):
            return False
        for index, member in enumerate(struct.members):
            if not member.name and self._add_anonymous(self._btf.resolve(member.type), wanted):
                self._keep(member.type)
                self._members.setdefault(container, set()).add(index)
                return True
        return False

    def _keep(self, type_id: int, *, whole: bool = False) -> None:
        """Keep a type and what it is made of; of structs only the name and the size, or all."""
        waiting = [(type_id, whole)]
        while waiting:
            type_id, whole = waiting.pop()
            if type_id in self._whole or (type_id in self._members and not whole):
                continue
            kept = self._members.setdefault(type_id, set())
            if whole:
                self._whole.add(type_id)
            match self._btf.type(type_id):
                case Struct(members=members) | Union(members=members) if whole:
                    kept.update(range(len(members)))
                    waiting += [(member.type, True) for member in members]
                case (
                    Typedef(type=inner)
                    | Const(type=inner)
                    | Volatile(type=inner)
                    | Restrict(type=inner)
                    | TypeTag(type=inner)
                    | Array(element=inner)
                ):
                    waiting.append((inner, whole))
                case Pointer(type=inner) if whole:
                    # of what is pointed to, only the name counts
                    waiting.append((inner, False))
                case FunctionPrototype(return_type=result, parameters=parameters):
                    waiting += [(result, whole), *((each.type, whole) for each in parameters)]

    def to_bytes(self) -> bytes:
        ids = sorted(self._members.keys() - {0})
        new_ids = {old: new for new, old in enumerate(ids, 1)}
        builder = BtfBuilder()
        for old in ids:
            builder.add(_renumbered(self._btf.type(old), self._members[old], new_ids))
        return builder.to_bytes(self._btf.byteorder)


def _renumbered(type_: Type, members: set[int], new_ids: dict[int, int]) -> Type:
    """A type as it is in the selection. What was left out is void: nothing asks about it."""
    match type_:
        case Struct() | Union():
            kept = tuple(
                msgspec.structs.replace(member, type=new_ids.get(member.type, 0))
                for index, member in enumerate(type_.members)
                if index in members
            )
            return msgspec.structs.replace(type_, members=kept)
        case Array(element=element):
            new = new_ids.get(element, 0)
            return Array(new, new, type_.length)
        case FunctionPrototype(return_type=result, parameters=parameters):
            return FunctionPrototype(
                new_ids.get(result, 0),
                tuple(
                    msgspec.structs.replace(each, type=new_ids.get(each.type, 0))
                    for each in parameters
                ),
            )
        case Pointer() | Typedef() | Const() | Volatile() | Restrict() | TypeTag():
            return msgspec.structs.replace(type_, type=new_ids.get(type_.type, 0))
    return type_
