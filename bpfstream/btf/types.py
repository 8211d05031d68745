"""The types that BTF describes, one frozen Struct for each kind.

A type refers to others by id, never by reference, so that one type can be read without reading
what it is made of. Id 0 is void. Sizes and array lengths are as BTF gives them; whether they make
sense together is for whoever uses them: see `bpfstream.btf.layout`.
"""

import msgspec

from bpfstream.abi.btf import Kind, Linkage


class Void(msgspec.Struct, frozen=True, gc=False):
    """No type, or any: type id 0."""


class Int(msgspec.Struct, frozen=True, gc=False):
    """An integer.

    Attributes:
        name: As in C: ``"unsigned int"``.
        size: Bytes of storage.
        bits: Bits in use. Fewer than the storage only in the bitfields of old compilers.
        offset: Bit at which they begin in the storage, with such bitfields.
        signed: Negative values are possible.
        char: Meant as a character.
        boolean: Meant as true or false.
    """

    name: str
    size: int
    bits: int
    offset: int = 0
    signed: bool = False
    char: bool = False
    boolean: bool = False


class Pointer(msgspec.Struct, frozen=True, gc=False):
    """A pointer to `type`."""

    type: int


class Array(msgspec.Struct, frozen=True, gc=False):
    """`length` elements of one type. Length 0 is a flexible array or an empty one.

    Attributes:
        element: Type id of an element, itself an array in an array of several dimensions.
        index: Type id of an integer; of no use.
        length: Number of elements.
    """

    element: int
    index: int
    length: int


class Member(msgspec.Struct, frozen=True, gc=False):
    """A member of a struct or union.

    Attributes:
        name: Empty for anonymous structs and unions and for unnamed bitfields.
        type: Type id.
        bit_offset: Bits from the start of the struct, in memory order.
        bit_size: Width in bits of a bitfield, 0 for any other member.
    """

    name: str
    type: int
    bit_offset: int
    bit_size: int = 0


class Struct(msgspec.Struct, frozen=True, gc=False):
    """A struct: its size in bytes and its members in order. An anonymous one has no name."""

    name: str
    size: int
    members: tuple[Member, ...] = ()


class Union(msgspec.Struct, frozen=True, gc=False):
    """A union: its size in bytes and its members. An anonymous one has no name."""

    name: str
    size: int
    members: tuple[Member, ...] = ()


class Enumerator(msgspec.Struct, frozen=True, gc=False):
    """A named value of an enum, read as the enum's signedness says.

    Compilers before LLVM 16 mark every enum unsigned: a negative value then shows as the positive
    one with the same 32 bits.
    """

    name: str
    value: int


class Enum(msgspec.Struct, frozen=True, gc=False):
    """An enum whose values have 32 bits; `size` is that of its storage, in bytes."""

    name: str
    size: int
    signed: bool = False
    enumerators: tuple[Enumerator, ...] = ()


class Enum64(msgspec.Struct, frozen=True, gc=False):
    """An enum whose values have 64 bits (since Linux 6.0); `size` is its storage, in bytes."""

    name: str
    size: int
    signed: bool = False
    enumerators: tuple[Enumerator, ...] = ()


class Forward(msgspec.Struct, frozen=True, gc=False):
    """A struct or union that is declared and not defined."""

    name: str
    is_union: bool = False


class Typedef(msgspec.Struct, frozen=True, gc=False):
    """Another name for `type`."""

    name: str
    type: int


class Volatile(msgspec.Struct, frozen=True, gc=False):
    """`type` with the qualifier volatile."""

    type: int


class Const(msgspec.Struct, frozen=True, gc=False):
    """`type` with the qualifier const."""

    type: int


class Restrict(msgspec.Struct, frozen=True, gc=False):
    """`type`, a pointer, with the qualifier restrict."""

    type: int


class TypeTag(msgspec.Struct, frozen=True, gc=False):
    """`type` with ``__attribute__((btf_type_tag(name)))``, since Linux 5.17.

    Attributes:
        is_attribute: The name is a whole attribute rather than a tag (Linux 6.15).
    """

    name: str
    type: int
    is_attribute: bool = False


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """A parameter of a function. A last one with no name and type 0 stands for ``...``."""

    name: str
    type: int


class FunctionPrototype(msgspec.Struct, frozen=True, gc=False):
    """What a function takes and returns."""

    return_type: int
    parameters: tuple[Parameter, ...] = ()


class Function(msgspec.Struct, frozen=True, gc=False):
    """A function; `prototype` is the id of its `FunctionPrototype`."""

    name: str
    prototype: int
    linkage: Linkage = Linkage.STATIC


class Variable(msgspec.Struct, frozen=True, gc=False):
    """A global variable."""

    name: str
    type: int
    linkage: Linkage = Linkage.STATIC


class DataSectionEntry(msgspec.Struct, frozen=True, gc=False):
    """Where a variable lies in its section.

    Attributes:
        variable: Id of the `Variable`, or of the `Function` in ``.ksyms``.
        offset: Bytes from the section's start.
        size: Bytes.
    """

    variable: int
    offset: int
    size: int


class DataSection(msgspec.Struct, frozen=True, gc=False):
    """An ELF section of variables. Compilers leave the size 0 and the loader fills it in."""

    name: str
    size: int
    entries: tuple[DataSectionEntry, ...] = ()


class Float(msgspec.Struct, frozen=True, gc=False):
    """A floating point number of `size` bytes (since Linux 5.13)."""

    name: str
    size: int


class DeclTag(msgspec.Struct, frozen=True, gc=False):
    """``__attribute__((btf_decl_tag(name)))`` on `type` (since Linux 5.16).

    Attributes:
        component: Index of the member or parameter that bears it, -1 for the whole.
        is_attribute: The name is a whole attribute rather than a tag (Linux 6.15).
    """

    name: str
    type: int
    component: int = -1
    is_attribute: bool = False


Type = (
    Void
    | Int
    | Pointer
    | Array
    | Struct
    | Union
    | Enum
    | Forward
    | Typedef
    | Volatile
    | Const
    | Restrict
    | Function
    | FunctionPrototype
    | Variable
    | DataSection
    | Float
    | DeclTag
    | TypeTag
    | Enum64
)

KIND_OF: dict[type[Type], Kind] = {
    Void: Kind.VOID,
    Int: Kind.INT,
    Pointer: Kind.PTR,
    Array: Kind.ARRAY,
    Struct: Kind.STRUCT,
    Union: Kind.UNION,
    Enum: Kind.ENUM,
    Forward: Kind.FWD,
    Typedef: Kind.TYPEDEF,
    Volatile: Kind.VOLATILE,
    Const: Kind.CONST,
    Restrict: Kind.RESTRICT,
    Function: Kind.FUNC,
    FunctionPrototype: Kind.FUNC_PROTO,
    Variable: Kind.VAR,
    DataSection: Kind.DATASEC,
    Float: Kind.FLOAT,
    DeclTag: Kind.DECL_TAG,
    TypeTag: Kind.TYPE_TAG,
    Enum64: Kind.ENUM64,
}
"""The kind that each class stands for."""


def references(type_: Type) -> tuple[int, ...]:
    """The ids that a type refers to, in the order in which its record has them."""
    match type_:
        case Struct(members=members) | Union(members=members):
            return tuple(member.type for member in members)
        case FunctionPrototype(return_type=result, parameters=parameters):
            return (result, *(parameter.type for parameter in parameters))
        case DataSection(entries=entries):
            return tuple(entry.variable for entry in entries)
        case Array(element=element, index=index):
            return (element, index)
        case Function(prototype=prototype):
            return (prototype,)
        case (
            Pointer(type=target)
            | Typedef(type=target)
            | Volatile(type=target)
            | Const(type=target)
            | Restrict(type=target)
            | TypeTag(type=target)
            | Variable(type=target)
            | DeclTag(type=target)
        ):
            return (target,)
        case _:
            return ()
