"""The object's own BTF, completed for the kernel.

The kernel refuses BTF as compilers leave it: data sections lack their sizes and the offsets of
their variables, and sections of externs describe what has no place in the object at all (libbpf.c:
btf_fixup_datasec, bpf_object__collect_externs). Type ids stay as they are: function information and
maps refer to them.
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.btf import types
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.errors import LinkingError
from bpfstream.linker.kconfig import KCONFIG_MAP, Kconfig
from bpfstream.spec import DataSectionSpec, ObjectSpec

_KSYMS_SECTION = ".ksyms"
_STAND_IN = "dummy_ksym"
"""Name of the variable that takes a kernel function's place, and of its nameless parameters."""

_STAND_IN_SIZE = 4


def fix_up(spec: ObjectSpec, configuration: Kconfig | None) -> bytes | None:
    """The object's BTF with sections completed and externs made ordinary variables.

    Args:
        spec: The object.
        configuration: The layout of its ``.kconfig``, if it has one.

    Returns:
        Raw BTF in the object's byte order; None when the object has none.
    """
    if spec.btf is None:
        return None
    builder = BtfBuilder(spec.btf)
    for section in spec.data_sections.values():
        if section.name == KCONFIG_MAP and configuration is not None:
            _complete_configuration(builder, section, configuration)
        elif section.name == _KSYMS_SECTION:
            _replace_symbols(builder, section)
        else:
            _complete(builder, section)
    _hide_functions(builder, spec)
    return builder.to_bytes()


def _complete(builder: BtfBuilder, section: DataSectionSpec) -> None:
    builder.replace(section.type_id, types.DataSection(section.name, section.size, section.entries))
    for type_id in section.hidden:
        variable = builder.type(type_id)
        assert isinstance(variable, types.Variable)  # the spec checked it
        builder.replace(type_id, msgspec.structs.replace(variable, linkage=Linkage.STATIC))


def _complete_configuration(
    builder: BtfBuilder, section: DataSectionSpec, configuration: Kconfig
) -> None:
    entries = []
    for entry in section.entries:
        variable = builder.type(entry.variable)
        if not isinstance(variable, types.Variable) or variable.name not in configuration.offsets:
            raise LinkingError(f"{KCONFIG_MAP} holds a {builder.describe(entry.variable)}")
        builder.replace(entry.variable, msgspec.structs.replace(variable, linkage=Linkage.GLOBAL))
        offset = configuration.offsets[variable.name]
        entries.append(types.DataSectionEntry(entry.variable, offset, entry.size))
    entries.sort(key=lambda entry: entry.offset)
    size = configuration.map.value_size
    builder.replace(section.type_id, types.DataSection(section.name, size, tuple(entries)))


def _replace_symbols(builder: BtfBuilder, section: DataSectionSpec) -> None:
    """Put a variable of 4 bytes in the place of each symbol: the kernel takes no externs."""
    integer = _find_integer(builder)
    stand_in: int | None = None
    entries = []
    for index, entry in enumerate(section.entries):
        extern = builder.type(entry.variable)
        variable_id = entry.variable
        match extern:
            case types.Function():
                _name_parameters(builder, extern.prototype)
                builder.replace(
                    entry.variable, msgspec.structs.replace(extern, linkage=Linkage.GLOBAL)
                )
                if stand_in is None:
                    stand_in = builder.add(types.Variable(_STAND_IN, integer, Linkage.GLOBAL))
                variable_id = stand_in
            case types.Variable():
                builder.replace(
                    entry.variable, types.Variable(extern.name, integer, Linkage.GLOBAL)
                )
            case _:
                raise LinkingError(f"{_KSYMS_SECTION} holds type {entry.variable}, no symbol")
        offset = index * _STAND_IN_SIZE
        entries.append(types.DataSectionEntry(variable_id, offset, _STAND_IN_SIZE))
    size = len(entries) * _STAND_IN_SIZE
    builder.replace(section.type_id, types.DataSection(section.name, size, tuple(entries)))


def _find_integer(builder: BtfBuilder) -> int:
    """An integer type of 32 bits, added if there is none."""
    for type_id in range(1, builder.end_id):
        candidate = builder.type(type_id)
        if isinstance(candidate, types.Int) and candidate.bits == 8 * _STAND_IN_SIZE:
            return type_id
    return builder.add(types.Int("int", _STAND_IN_SIZE, 8 * _STAND_IN_SIZE, signed=True))


def _name_parameters(builder: BtfBuilder, prototype_id: int) -> None:
    """The kernel wants a name for every parameter of a function that is no extern."""
    prototype = builder.type(prototype_id)
    if not isinstance(prototype, types.FunctionPrototype):
        return
    parameters = tuple(
        types.Parameter(_STAND_IN, parameter.type)
        if parameter.type and not parameter.name
        else parameter
        for parameter in prototype.parameters
    )
    builder.replace(prototype_id, types.FunctionPrototype(prototype.return_type, parameters))


def _hide_functions(builder: BtfBuilder, spec: ObjectSpec) -> None:
    """Hidden functions count as static: the verifier need not check them for any caller."""
    hidden = {name for name, function in spec.functions.items() if function.symbol.is_hidden}
    if not hidden or spec.btf is None:
        return
    for type_id in range(spec.btf.first_id, spec.btf.end_id):
        if spec.btf.kind(type_id) != Kind.FUNC or spec.btf.name(type_id) not in hidden:
            continue
        function = builder.type(type_id)
        assert isinstance(function, types.Function)
        if function.linkage == Linkage.GLOBAL:
            builder.replace(type_id, msgspec.structs.replace(function, linkage=Linkage.STATIC))
