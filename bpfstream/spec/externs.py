"""Symbols that an object expects from the kernel: its configuration, variables and functions."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.abi.elf import SymbolBinding, SymbolKind
from bpfstream.btf import Btf
from bpfstream.btf.types import Function, Variable
from bpfstream.errors import ObjectError
from bpfstream.spec.data_sections import EXTERN_SECTIONS, DataSectionSpec
from bpfstream.spec.functions import Symbol

KCONFIG: Final = ".kconfig"
KSYMS: Final = ".ksyms"


class ExternSpec(msgspec.Struct, frozen=True):
    """A symbol that the object declares and the kernel defines.

    Attributes:
        name: The symbol's name.
        section: ``".kconfig"`` for a value of the kernel's configuration, ``".ksyms"`` for a
            variable or function of the kernel.
        type_id: The variable's type or the function's prototype, in the object's BTF. 0 is void:
            only the symbol's address is wanted.
        weak: The object copes without it.
        is_function: It is a function that programs call (a kfunc).
    """

    name: str
    section: str
    type_id: int
    weak: bool
    is_function: bool


def read_externs(
    btf: Btf | None, sections: dict[str, DataSectionSpec], symbols: Sequence[Symbol]
) -> tuple[ExternSpec, ...]:
    """The externs among the symbols, in libbpf's order (libbpf.c, ``cmp_externs``).

    Raises:
        ObjectError: A symbol is undefined and BTF doesn't say what it should be.
    """
    wanted = [symbol for symbol in symbols if _is_extern(symbol)]
    if not wanted:
        return ()
    if btf is None:
        raise _undefined(wanted[0])
    declarations = _extern_declarations(btf)
    section_of = {
        entry.variable: name
        for name in EXTERN_SECTIONS & sections.keys()
        for entry in sections[name].entries
    }
    externs = []
    for symbol in wanted:
        type_id = declarations.get(symbol.name, 0)
        section = section_of.get(type_id)
        if section is None:
            raise _undefined(symbol)
        externs.append(_extern(btf, symbol, type_id, section))
    return tuple(sorted(externs, key=lambda extern: _order(btf, extern)))


def _undefined(symbol: Symbol) -> ObjectError:
    return ObjectError(
        f"symbol {symbol.name!r} is not defined",
        hint="externs need __kconfig or __ksym, and BTF (clang -g)",
    )


def _is_extern(symbol: Symbol) -> bool:
    return (
        symbol.section_index == 0
        and symbol.kind is SymbolKind.NOTYPE
        and symbol.binding in (SymbolBinding.GLOBAL, SymbolBinding.WEAK)
        and symbol.name != ""
    )


def _extern_declarations(btf: Btf) -> dict[str, int]:
    """Ids of the extern variables and functions of the BTF, by name."""
    declarations: dict[str, int] = {}
    for type_id in range(btf.first_id, btf.end_id):
        if btf.kind(type_id) in (Kind.VAR, Kind.FUNC):
            declared = btf.type(type_id)
            assert isinstance(declared, Variable | Function)
            if declared.linkage is Linkage.EXTERN:
                declarations.setdefault(declared.name, type_id)
    return declarations


def _extern(btf: Btf, symbol: Symbol, type_id: int, section: str) -> ExternSpec:
    declared = btf.type(type_id)
    is_function = isinstance(declared, Function)
    if is_function and section == KCONFIG:
        raise ObjectError(f"function {symbol.name!r} can't be a configuration value")
    assert isinstance(declared, Variable | Function)
    return ExternSpec(
        name=symbol.name,
        section=section,
        type_id=declared.prototype if isinstance(declared, Function) else declared.type,
        weak=symbol.binding is SymbolBinding.WEAK,
        is_function=is_function,
    )


def _order(btf: Btf, extern: ExternSpec) -> tuple[bool, int, int, bytes]:
    name = extern.name.encode()
    if extern.section == KSYMS:
        return True, 0, 0, name
    return False, -btf.align_of(extern.type_id), btf.size_of(extern.type_id), name
