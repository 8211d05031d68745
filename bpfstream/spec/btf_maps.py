"""Maps declared in BTF: a variable of section ``.maps`` whose type encodes the map's attributes.

A number is the length of an array that a member points to, or an enumerator; a type is what a
member points to (libbpf's bpf_helpers.h: ``__uint``, ``__type``, ``__array``, ``__ulong``). The
program never reads such a member: only its type counts.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from bpfstream.abi.btf import Linkage
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf import Btf
from bpfstream.btf.types import (
    Array,
    DataSectionEntry,
    Enum,
    Enum64,
    FunctionPrototype,
    Member,
    Pointer,
    Struct,
    Variable,
)
from bpfstream.errors import BtfError, ObjectError
from bpfstream.spec.data_sections import DataSectionSpec
from bpfstream.spec.elf import RelocationEntry
from bpfstream.spec.functions import ProgramSpec
from bpfstream.spec.maps import MapSpec, Pinning

SECTION: Final = ".maps"

_MAPS_IN_MAPS: Final = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)
_SLOT_SIZE: Final = 8
"""Bytes of an element of ``values``: a pointer of the BPF machine."""


class DeclaredMap(msgspec.Struct, frozen=True):
    """A map and the place of its variable, for the relocations that fill its slots."""

    spec: MapSpec
    entry: DataSectionEntry
    values_offset: int | None


def read_btf_maps(btf: Btf, section: DataSectionSpec, section_size: int) -> list[DeclaredMap]:
    """The maps of section ``.maps``, by their offset.

    Raises:
        ObjectError: A declaration isn't one; it says which map and which member.
    """
    return [_read_map(btf, section, entry, section_size) for entry in section.entries]


def _read_map(
    btf: Btf, section: DataSectionSpec, entry: DataSectionEntry, section_size: int
) -> DeclaredMap:
    variable = btf.type(entry.variable)
    assert isinstance(variable, Variable)  # data_sections checked it

    def error(message: str) -> ObjectError:
        return ObjectError(
            f"map {variable.name!r}: {message}", section=SECTION, offset=entry.offset
        )

    if not variable.name:
        raise error("it has no name")
    if variable.linkage is not Linkage.GLOBAL or entry.variable in section.hidden:
        raise error("a map must be a global variable that is neither static nor hidden")
    if entry.offset + entry.size > section_size:
        raise error(f"it ends beyond its section of {section_size} bytes")
    definition = btf.type(btf.resolve(variable.type))
    if not isinstance(definition, Struct):
        raise error(f"its type is {btf.describe(variable.type)}, not a struct")
    if definition.size > entry.size:
        raise error(f"its struct has {definition.size} bytes, the variable {entry.size}")
    spec = _Declaration(btf, variable.name, definition, is_inner=False).read()
    spec.section, spec.section_offset = SECTION, entry.offset
    values = next((each for each in definition.members if each.name == "values"), None)
    return DeclaredMap(spec, entry, values.bit_offset // 8 if values is not None else None)


class _Declaration:
    """A struct that declares a map, read member by member."""

    def __init__(self, btf: Btf, name: str, definition: Struct, *, is_inner: bool) -> None:
        self._btf = btf
        self._name = name
        self._definition = definition
        self._is_inner = is_inner
        self._spec = MapSpec(name=name, type=MapType.UNSPEC)

    def read(self) -> MapSpec:
        readers: dict[str, Callable[[Member], None]] = {
            "type": self._read_type,
            "max_entries": self._read_max_entries,
            "map_flags": self._read_flags,
            "numa_node": self._read_numa_node,
            "key_size": self._read_key_size,
            "value_size": self._read_value_size,
            "key": self._read_key,
            "value": self._read_value,
            "values": self._read_values,
            "pinning": self._read_pinning,
            "map_extra": self._read_map_extra,
        }
        seen: set[str] = set()
        for member in self._definition.members:
            reader = readers.get(member.name)
            if reader is None:
                raise self._error(
                    f"unknown member {member.name!r}", hint=f"known are {', '.join(readers)}"
                )
            if member.name in seen:
                raise self._error(f"member {member.name!r} occurs twice")
            seen.add(member.name)
            reader(member)
        if self._spec.type == MapType.UNSPEC:
            raise self._error("it has no type", hint="__uint(type, BPF_MAP_TYPE_...)")
        return self._spec

    def _error(self, message: str, hint: str = "") -> ObjectError:
        return ObjectError(f"map {self._name!r}: {message}", section=SECTION, hint=hint)

    def _read_type(self, member: Member) -> None:
        self._spec.type = map_type(self._number(member))

    def _read_max_entries(self, member: Member) -> None:
        self._spec.max_entries = self._number(member)

    def _read_flags(self, member: Member) -> None:
        self._spec.flags = MapFlags(self._number(member))

    def _read_numa_node(self, member: Member) -> None:
        self._spec.numa_node = self._number(member)

    def _read_key_size(self, member: Member) -> None:
        self._set_key_size(self._number(member), member)

    def _read_value_size(self, member: Member) -> None:
        self._set_value_size(self._number(member), member)

    def _read_key(self, member: Member) -> None:
        self._spec.key_type_id = self._pointee(member)
        self._set_key_size(self._size(self._spec.key_type_id, member), member)

    def _read_value(self, member: Member) -> None:
        self._spec.value_type_id = self._pointee(member)
        self._set_value_size(self._size(self._spec.value_type_id, member), member)

    def _read_pinning(self, member: Member) -> None:
        if self._is_inner:
            raise self._error("an inner map can't be pinned")
        number = self._number(member)
        try:
            self._spec.pinning = Pinning(number)
        except ValueError:
            raise self._error(f"unknown pinning {number}") from None

    def _read_map_extra(self, member: Member) -> None:
        kind = self._btf.type(self._btf.resolve(member.type))
        if isinstance(kind, Pointer):
            self._spec.map_extra = self._number(member)
        elif isinstance(kind, Enum | Enum64) and len(kind.enumerators) == 1:
            value = kind.enumerators[0].value
            if isinstance(kind, Enum):  # its 32 bits are signed, whatever the enum says
                value = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
            self._spec.map_extra = value & 0xFFFFFFFFFFFFFFFF
        else:
            raise self._error("'map_extra' is not a number", hint="__ulong(map_extra, ...)")

    def _read_values(self, member: Member) -> None:
        if self._is_inner:
            raise self._error("an inner map can't have maps in it")
        if member is not self._definition.members[-1]:
            raise self._error("'values' must be the last member")
        holds_maps = self._spec.type in _MAPS_IN_MAPS
        if not holds_maps and self._spec.type != MapType.PROG_ARRAY:
            raise self._error(
                "'values' is for maps of maps and of programs",
                hint="the member 'type' comes before it",
            )
        self._set_value_size(4, member)
        element = self._values_element(member)
        if not holds_maps:
            if not isinstance(element, FunctionPrototype):
                raise self._error("'values' of a program array must point to functions")
            return
        if not isinstance(element, Struct):
            raise self._error("'values' must point to the struct of an inner map")
        inner_name = f"{self._name}.inner"
        self._spec.inner = _Declaration(self._btf, inner_name, element, is_inner=True).read()

    def _values_element(self, member: Member) -> object:
        """What the elements of ``values``, a flexible array of pointers, point to."""
        array = self._btf.type(member.type)
        if not isinstance(array, Array) or array.length:
            raise self._error("'values' is not an array without length", hint="__array(values, T)")
        pointer = self._btf.type(self._btf.resolve(array.element))
        if not isinstance(pointer, Pointer):
            raise self._error("'values' is not an array of pointers", hint="__array(values, T)")
        return self._btf.type(self._btf.resolve(pointer.type))

    def _number(self, member: Member) -> int:
        """What ``__uint`` encodes."""
        pointer = self._btf.type(self._btf.resolve(member.type))
        array = self._btf.type(pointer.type) if isinstance(pointer, Pointer) else None
        if not isinstance(array, Array):
            raise self._error(
                f"{member.name!r} is not a number", hint=f"__uint({member.name}, ...)"
            )
        return array.length

    def _pointee(self, member: Member) -> int:
        """The type id that ``__type`` encodes."""
        pointer = self._btf.type(member.type)
        if not isinstance(pointer, Pointer):
            raise self._error(f"{member.name!r} is not a type", hint=f"__type({member.name}, ...)")
        return pointer.type

    def _size(self, type_id: int, member: Member) -> int:
        try:
            return self._btf.size_of(type_id)
        except BtfError as error:
            raise self._error(f"{member.name!r}: {error}") from error

    def _set_key_size(self, size: int, member: Member) -> None:
        if self._spec.key_size not in (0, size):
            raise self._conflict(member, self._spec.key_size, size)
        self._spec.key_size = size

    def _set_value_size(self, size: int, member: Member) -> None:
        if self._spec.value_size not in (0, size):
            raise self._conflict(member, self._spec.value_size, size)
        self._spec.value_size = size

    def _conflict(self, member: Member, before: int, now: int) -> ObjectError:
        return self._error(f"{member.name!r} says {now} bytes, a member before it {before}")


def map_type(number: int) -> MapType | int:
    """The map type of this number, or the number itself when it is a newer one."""
    try:
        return MapType(number)
    except ValueError:
        return number


def fill_initial_slots(
    declared: Sequence[DeclaredMap],
    relocations: Iterator[RelocationEntry],
    programs: Mapping[str, ProgramSpec],
) -> None:
    """Set `MapSpec.initial_slots` from the relocations of section ``.maps``.

    Raises:
        ObjectError: A relocation doesn't put a map or a program into a slot of a map that takes it.
    """
    starts = [each.entry.offset for each in declared]
    names = {each.spec.name for each in declared}
    slots: dict[str, list[tuple[int, str]]] = {}
    for relocation in relocations:
        index = bisect_right(starts, relocation.offset) - 1
        owner = declared[index] if index >= 0 else None
        if owner is None or relocation.offset + _SLOT_SIZE > owner.entry.offset + owner.entry.size:
            raise ObjectError(
                "a relocation outside of any map", section=SECTION, offset=relocation.offset
            )
        _check_slot_target(owner.spec, relocation, names, programs)
        slot = _slot(owner, relocation.offset)
        slots.setdefault(owner.spec.name, []).append((slot, relocation.symbol.name))
    for each in declared:
        each.spec.initial_slots = tuple(slots.get(each.spec.name, ()))


def _slot(owner: DeclaredMap, offset: int) -> int:
    start = owner.entry.offset + (owner.values_offset or 0)
    if owner.values_offset is None or offset < start or (offset - start) % _SLOT_SIZE:
        raise ObjectError(
            f"map {owner.spec.name!r}: a relocation that fills no slot of 'values'",
            section=SECTION,
            offset=offset,
        )
    return (offset - start) // _SLOT_SIZE


def _check_slot_target(
    spec: MapSpec,
    relocation: RelocationEntry,
    map_names: set[str],
    programs: Mapping[str, ProgramSpec],
) -> None:
    symbol = relocation.symbol

    def error(message: str) -> ObjectError:
        return ObjectError(
            f"map {spec.name!r}: {message}", section=SECTION, offset=relocation.offset
        )

    if spec.type in _MAPS_IN_MAPS:
        if symbol.section != SECTION or symbol.name not in map_names:
            raise error(f"its slot is to hold {symbol.name!r}, which is not a map")
        if spec.type == MapType.HASH_OF_MAPS and spec.key_size != 4:
            raise error(f"slots number its keys, which have {spec.key_size} bytes, not 4")
    elif spec.type == MapType.PROG_ARRAY:
        program = programs.get(symbol.name)
        if (
            program is None
            or program.section_index != symbol.section_index
            or program.section_offset != symbol.value
        ):
            raise error(f"its slot is to hold {symbol.name!r}, which is not a program")
    else:
        raise error("only maps of maps and of programs have slots to fill")
