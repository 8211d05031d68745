"""An object spec as text for people."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.errors import ObjectError
from bpfstream.spec.functions import ProgramSpec
from bpfstream.spec.maps import MapSpec, Pinning
from bpfstream.spec.variables import VariableSpec

if TYPE_CHECKING:
    from bpfstream.spec.object import ObjectSpec

_MAX_VALUE_SIZE = 256
"""Bytes of the largest variable whose value is shown."""

_MAX_VALUE_LENGTH = 60
"""Characters of a value that are shown."""


def summarize(spec: "ObjectSpec") -> str:
    """A line for the object, then a line for each program, map, variable and extern."""
    return "\n".join(_lines(spec))


def _lines(spec: "ObjectSpec") -> Iterator[str]:
    license_text = f"license {spec.license}" if spec.license else "no license"
    yield f"object {spec.name} ({spec.byteorder}-endian, {license_text})"
    for program in spec.programs.values():
        yield f"  program {program.name}: {_describe_program(program)}"
    for function in spec.functions.values():
        yield f"  function {function.name}: {len(function.instructions) // 8} instructions"
    for map_spec in spec.maps.values():
        yield f"  map {map_spec.name}: {_describe_map(map_spec)}"
    for name, variable in spec.variables.items():
        yield f"  variable {name}: {_describe_variable(variable)}"
    for extern in spec.externs:
        weak = ", weak" if extern.weak else ""
        yield f"  extern {extern.name} ({extern.section}{weak})"
    for warning in spec.warnings:
        yield f"  warning: {warning}"


def _describe_program(program: ProgramSpec) -> str:
    parts = [f"section {program.section}", program.type.name]
    parts.append(f"{len(program.instructions) // 8} instructions")
    if not program.autoload:
        parts.append("not loaded by default")
    return ", ".join(parts)


def _describe_map(spec: MapSpec) -> str:
    kind = spec.type.name if isinstance(spec.type, MapType) else f"type {spec.type}"
    parts = [kind, f"key {spec.key_size}", f"value {spec.value_size}"]
    parts.append(f"max_entries {spec.max_entries}")
    if spec.flags:
        parts.append(f"flags {_flag_names(spec.flags)}")
    if spec.inner is not None:
        parts.append(f"of ({_describe_map(spec.inner)})")
    if spec.initial_slots:
        parts.append(f"holds {', '.join(name for _, name in spec.initial_slots)}")
    if spec.pinning is not Pinning.NONE:
        parts.append(f"pinned {spec.pinning.name}")
    return ", ".join(parts)


def _flag_names(flags: MapFlags) -> str:
    return flags.name or f"{int(flags):#x}"


def _describe_variable(variable: VariableSpec) -> str:
    shown = f"{variable.size} bytes"
    if variable.size <= _MAX_VALUE_SIZE:
        with suppress(ObjectError):  # of a type that has no value in Python
            shown = repr(variable.value)
    if len(shown) > _MAX_VALUE_LENGTH:
        shown = f"{shown[: _MAX_VALUE_LENGTH - 3]}..."
    constant = ", constant" if variable.is_read_only else ""
    return f"{variable.describe()} = {shown} (in {variable.map}{constant})"
