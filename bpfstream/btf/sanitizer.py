"""Rewriting an object's BTF for kernels that are older than parts of it.

A kernel refuses BTF as a whole when it does not know one kind in it, and maps and programs that
need BTF with it. Each unknown kind is put into words that the kernel knows, of the same size and
under the same id: nothing in the kernel depends on what is lost. The rewrites are libbpf's
(libbpf.c: bpf_object__sanitize_btf).
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from bpfstream.abi.btf import Linkage
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.reader import Btf
from bpfstream.btf.types import (
    Const,
    DataSection,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Function,
    FunctionPrototype,
    Int,
    Member,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Variable,
)


class BtfFeature(StrEnum):
    """What a kernel may or may not understand in BTF."""

    FUNC = "functions"  # Linux 5.0
    DATASEC = "variables and data sections"  # Linux 5.2
    FUNC_GLOBAL = "the linkage of functions"  # Linux 5.6
    FLOAT = "floating point types"  # Linux 5.13
    DECL_TAG = "declaration tags"  # Linux 5.16
    TYPE_TAG = "type tags"  # Linux 5.17
    ENUM64 = "64-bit and signed enums"  # Linux 6.0
    QUESTION_MARK_DATASEC = "data sections with '?' in their name"  # Linux 6.9
    LAYOUT = "the table of record sizes"


_PLACEHOLDER = Int("enum64_placeholder", 1, 8)


def sanitize(btf: Btf, missing: Collection[BtfFeature]) -> bytes:
    """The contents of .BTF with all that is missing from a kernel rewritten.

    Args:
        btf: An object's BTF. Ids and string offsets stay as they are.
        missing: What the kernel does not understand.

    Raises:
        BtfError: A type is malformed, or a data section is too large to be a struct.
    """
    if not missing:
        return bytes(btf.data)
    rewriting = _Rewriting(btf, missing)
    for type_id in range(btf.first_id, btf.end_id):
        type_ = btf.type(type_id)
        rewritten = rewriting.rewrite(type_)
        if rewritten is not type_:
            rewriting.builder.replace(type_id, rewritten)
    return rewriting.builder.to_bytes()


class _Rewriting:
    """The rewrites for one kernel, and what they need to have added."""

    def __init__(self, btf: Btf, missing: Collection[BtfFeature]) -> None:
        self.btf = btf
        self.builder = BtfBuilder(btf)
        self.missing = missing
        self.placeholder: int | None = None

    def rewrite(self, type_: Type) -> Type:
        """The type as the kernel knows it: itself, if it does."""
        missing = self.missing
        match type_:
            case Variable(name=name) if BtfFeature.DATASEC in missing:
                return Int(name, 1, 8)
            case DeclTag(name=name) if BtfFeature.DECL_TAG in missing:
                return Int(name, 1, 8)
            case DataSection() if BtfFeature.DATASEC in missing:
                return self._struct(type_)
            case DataSection(name=name, size=size, entries=entries) if (
                BtfFeature.QUESTION_MARK_DATASEC in missing and name.startswith("?")
            ):
                return DataSection(f"_{name[1:]}", size, entries)
            case FunctionPrototype(parameters=parameters) if BtfFeature.FUNC in missing:
                return Enum(
                    "",
                    4,
                    enumerators=tuple(Enumerator(each.name, each.type) for each in parameters),
                )
            case Function(name=name, prototype=prototype) if BtfFeature.FUNC in missing:
                return Typedef(name, prototype)
            case Function(name=name, prototype=prototype, linkage=linkage) if (
                BtfFeature.FUNC_GLOBAL in missing and linkage != Linkage.STATIC
            ):
                return Function(name, prototype, Linkage.STATIC)
            case Float(size=size) if BtfFeature.FLOAT in missing:
                return Struct("", size)
            case TypeTag(type=target) if BtfFeature.TYPE_TAG in missing:
                return Const(target)
            case Enum(signed=True) if BtfFeature.ENUM64 in missing:
                return _unsigned(type_)
            case Enum64() if BtfFeature.ENUM64 in missing:
                return self._union(type_)
        return type_

    def _struct(self, section: DataSection) -> Struct:
        """A struct with the variables, by now integers, as members."""
        members = (
            Member(self.btf.name(entry.variable), entry.variable, 8 * entry.offset)
            for entry in section.entries
        )
        name = section.name.replace(".", "_").replace("?", "_")
        return Struct(name, section.size, tuple(members))

    def _union(self, enum: Enum64) -> Union:
        if self.placeholder is None:
            self.placeholder = self.builder.add(_PLACEHOLDER)
        members = (Member(each.name, self.placeholder, 0) for each in enum.enumerators)
        return Union(enum.name, enum.size, tuple(members))


def _unsigned(enum: Enum) -> Enum:
    enumerators = (Enumerator(each.name, each.value & 0xFFFFFFFF) for each in enum.enumerators)
    return Enum(enum.name, enum.size, enumerators=tuple(enumerators))
