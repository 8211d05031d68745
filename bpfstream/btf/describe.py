"""Types in the words of C, for messages that people read."""

from __future__ import annotations

from typing import Protocol

from bpfstream.btf.types import (
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


class TypeSource(Protocol):
    """Whatever has types by id."""

    def type(self, type_id: int) -> Type:
        """The type with this id."""


_DEPTH = 16
"""Types followed in a row; what is deeper shows as ``...``."""

_PARAMETERS = 12
"""Parameters of a function that are shown; so many go with the kernel's own functions."""


def describe(btf: TypeSource, type_id: int) -> str:
    """The type as a C declaration without a name; long or circular ones are cut with ``...``."""
    return _declare(btf, type_id, "", _DEPTH)


def _declare(btf: TypeSource, type_id: int, declarator: str, depth: int) -> str:
    """`declarator` declared to be of the type: its name, stars and brackets so far."""
    if depth == 0:
        return _join("...", declarator)
    match btf.type(type_id):
        case Void():
            return _join("void", declarator)
        case Int(name=name) | Float(name=name) | Typedef(name=name):
            return _join(name or "(anonymous)", declarator)
        case Struct(name=name):
            return _join(f"struct {name or '(anonymous)'}", declarator)
        case Union(name=name):
            return _join(f"union {name or '(anonymous)'}", declarator)
        case Enum(name=name) | Enum64(name=name):
            return _join(f"enum {name or '(anonymous)'}", declarator)
        case Forward(name=name, is_union=is_union):
            return _join(f"{'union' if is_union else 'struct'} {name}", declarator)
        case Pointer(type=target):
            return _declare(btf, target, f"*{declarator}", depth - 1)
        case Array(element=element, length=length):
            return _declare(btf, element, f"{_grouped(declarator)}[{length or ''}]", depth - 1)
        case Const(type=target):
            return _qualify(btf, target, "const", declarator, depth)
        case Volatile(type=target):
            return _qualify(btf, target, "volatile", declarator, depth)
        case Restrict(type=target):
            return _qualify(btf, target, "restrict", declarator, depth)
        case TypeTag(type=target):
            return _declare(btf, target, declarator, depth - 1)
        case FunctionPrototype(return_type=result, parameters=parameters):
            # Prototypes within prototypes would multiply: a level or two tell a function.
            inner = min(2, depth - 1)
            declared = [
                _declare(btf, parameter.type, parameter.name, inner)
                if parameter.type or parameter.name
                else "..."
                for parameter in parameters[:_PARAMETERS]
            ]
            if len(parameters) > _PARAMETERS:
                declared.append("...")
            arguments = ", ".join(declared) or "void"
            return _declare(btf, result, f"{_grouped(declarator)}({arguments})", inner)
        case Function(name=name, prototype=prototype):
            return _declare(btf, prototype, name, depth - 1)
        case Variable(name=name, type=target):
            return _declare(btf, target, name, depth - 1)
        case DataSection(name=name):
            return f"section {name}"
        case DeclTag(name=name, type=target):
            return f"tag {name!r} on {_declare(btf, target, '', depth - 1)}"


def _qualify(btf: TypeSource, target: int, qualifier: str, declarator: str, depth: int) -> str:
    """A qualifier stands before what it qualifies, but after the star of a pointer."""
    if isinstance(btf.type(target), Pointer):
        return _declare(btf, target, _join(qualifier, declarator), depth - 1)
    return f"{qualifier} {_declare(btf, target, declarator, depth - 1)}"


def _grouped(declarator: str) -> str:
    """Brackets bind tighter than a star: a pointer to an array or a function needs parentheses."""
    return f"({declarator})" if declarator.startswith("*") else declarator


def _join(name: str, declarator: str) -> str:
    separator = "" if not declarator or declarator.startswith("[") else " "
    return f"{name}{separator}{declarator}"
