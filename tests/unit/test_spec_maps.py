"""Maps declared in BTF, read by libbpf's grammar, and what the kernel is told of them."""

import struct

import pytest

from bpfstream.abi.btf import Linkage
from bpfstream.abi.elf import SymbolVisibility
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    Array,
    Const,
    DataSection,
    DataSectionEntry,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Forward,
    FunctionPrototype,
    Int,
    Member,
    Pointer,
    Struct,
    Type,
    Typedef,
    Variable,
)
from bpfstream.errors import ObjectError
from bpfstream.spec import KernelShape, MapSpec, ObjectSpec, Pinning, kernel_shape
from tests.support.elf_files import ElfFile

SLOTS_OFFSET = 24


class Declarations:
    """BTF of map declarations, as libbpf's bpf_helpers.h encodes them, and the file around it."""

    def __init__(self) -> None:
        self.btf = BtfBuilder()
        self.int = self.btf.add(Int("int", 4, 32, signed=True))
        self.file = ElfFile()
        self._entries: list[DataSectionEntry] = []
        self._names: list[tuple[str, int, int]] = []
        self.section = 0

    def add(self, type_: Type) -> int:
        return self.btf.add(type_)

    def uint(self, value: int) -> int:
        return self.add(Pointer(self.add(Array(self.int, self.int, value))))

    def pointer(self, type_id: int) -> int:
        return self.add(Pointer(type_id))

    def ulong(self, value: int, enum: type[Enum] | type[Enum64] = Enum64) -> int:
        return self.add(enum("", 8, False, (Enumerator("__unique_value", value),)))

    def array(self, type_id: int, length: int = 0) -> int:
        return self.add(Array(self.add(Pointer(type_id)), self.int, length))

    def struct(self, **members: int) -> int:
        fields = tuple(
            Member(name, type_id, SLOTS_OFFSET * 8 if name == "values" else 0)
            for name, type_id in members.items()
        )
        return self.add(Struct("", 32, fields))

    def declare(
        self,
        name: str,
        type_id: int,
        *,
        linkage: Linkage = Linkage.GLOBAL,
        visibility: SymbolVisibility = SymbolVisibility.DEFAULT,
        size: int = 64,
    ) -> None:
        offset = 64 * len(self._entries)
        variable = self.add(Variable(name, type_id, linkage))
        self._entries.append(DataSectionEntry(variable, 0, size))
        self._names.append((name, offset, visibility))

    def map(self, name: str = "example", **members: int) -> None:
        self.declare(name, self.struct(**members))

    def finish(self) -> dict[str, int]:
        """Write the sections; the symbols' indexes by name."""
        self.add(DataSection(".maps", 0, tuple(self._entries)))
        self.section = self.file.section(".maps", bytes(64 * len(self._entries)))
        symbols = {
            name: self.file.symbol(name, self.section, offset, 64, visibility=visibility)
            for name, offset, visibility in self._names
        }
        self.file.section(".BTF", self.btf.to_bytes("little"))
        return symbols

    def read(self) -> ObjectSpec:
        if not self.section:
            self.finish()
        return ObjectSpec.from_bytes(self.file.to_bytes())

    def read_map(self) -> MapSpec:
        (spec,) = self.read().maps.values()
        return spec


@pytest.fixture
def declarations() -> Declarations:
    return Declarations()


def test_numbers_are_array_lengths(declarations):
    number = declarations.uint
    declarations.map(
        type=number(MapType.LRU_HASH),
        key_size=number(4),
        value_size=number(24),
        max_entries=number(1 << 20),
        map_flags=number(MapFlags.NUMA_NODE | MapFlags.NO_PREALLOC),
        numa_node=number(3),
        pinning=number(1),
    )
    spec = declarations.read_map()
    assert spec == MapSpec(
        name="example",
        type=MapType.LRU_HASH,
        key_size=4,
        value_size=24,
        max_entries=1 << 20,
        flags=MapFlags.NUMA_NODE | MapFlags.NO_PREALLOC,
        numa_node=3,
        pinning=Pinning.BY_NAME,
        section=".maps",
    )


def test_types_give_sizes(declarations):
    key = declarations.add(Struct("key", 12))
    value = declarations.add(Typedef("value_t", declarations.int))
    declarations.map(
        type=declarations.uint(1),
        key=declarations.pointer(key),
        value=declarations.pointer(value),
        value_size=declarations.uint(4),
    )
    spec = declarations.read_map()
    assert (spec.key_size, spec.key_type_id) == (12, key)
    assert (spec.value_size, spec.value_type_id) == (4, value)


def test_a_typedef_of_the_whole_struct_is_looked_through(declarations):
    inner = declarations.struct(type=declarations.uint(2))
    declarations.declare("example", declarations.add(Typedef("map_t", inner)))
    assert declarations.read_map().type is MapType.ARRAY


def test_a_map_type_newer_than_the_library_stays_a_number(declarations):
    declarations.map(type=declarations.uint(900))
    spec = declarations.read_map()
    assert spec.type == 900
    assert not isinstance(spec.type, MapType)


@pytest.mark.parametrize(
    ("value", "enum", "expected"),
    [
        (0xABCD_0000_0001, Enum64, 0xABCD_0000_0001),
        (7, Enum, 7),
        (0xFFFFFFFF, Enum, (1 << 64) - 1),  # 32 bits of an enum are signed
    ],
)
def test_map_extra_has_64_bits(declarations, value, enum, expected):
    declarations.map(
        type=declarations.uint(MapType.BLOOM_FILTER),
        map_extra=declarations.ulong(value, enum),
    )
    assert declarations.read_map().map_extra == expected


def test_map_extra_can_be_a_plain_number_too(declarations):
    declarations.map(type=declarations.uint(30), map_extra=declarations.uint(5))
    assert declarations.read_map().map_extra == 5


def test_maps_come_in_the_order_of_their_offsets(declarations):
    for name in ("c", "a", "b"):
        declarations.map(name, type=declarations.uint(2))
    spec = declarations.read()
    assert list(spec.maps) == ["c", "a", "b"]
    assert [each.section_offset for each in spec.maps.values()] == [0, 64, 128]


def test_a_ring_keeps_the_type_of_its_records(declarations):
    event = declarations.add(Struct("event", 40))
    declarations.map(type=declarations.uint(MapType.RINGBUF), value=declarations.pointer(event))
    assert declarations.read_map().value_type_id == event


# Maps of maps and of programs ------------------------------------------------------------------


def outer(declarations: Declarations, map_type: MapType, **members: int) -> None:
    inner = declarations.struct(type=declarations.uint(2), max_entries=declarations.uint(5))
    declarations.map(
        "outer", type=declarations.uint(map_type), **members, values=declarations.array(inner)
    )


def test_values_declare_an_inner_map(declarations):
    outer(declarations, MapType.ARRAY_OF_MAPS)
    spec = declarations.read_map()
    assert spec.value_size == 4
    assert spec.inner is not None
    assert (spec.inner.name, spec.inner.type) == ("outer.inner", MapType.ARRAY)
    assert spec.inner.max_entries == 5


def test_relocations_fill_the_slots_of_maps_of_maps(declarations):
    outer(declarations, MapType.ARRAY_OF_MAPS)
    declarations.map("inner", type=declarations.uint(2))
    symbols = declarations.finish()
    for slot in (3, 1):
        declarations.file.relocate(declarations.section, SLOTS_OFFSET + 8 * slot, symbols["inner"])
    assert declarations.read().maps["outer"].initial_slots == ((3, "inner"), (1, "inner"))


def test_relocations_fill_the_slots_of_program_arrays(declarations):
    prototype = declarations.add(FunctionPrototype(declarations.int))
    declarations.map("stages", type=declarations.uint(3), values=declarations.array(prototype))
    declarations.finish()
    code = declarations.file.program("tail", "xdp")
    symbol = declarations.file.symbol("tail", code)
    declarations.file.relocate(declarations.section, SLOTS_OFFSET + 8, symbol, 2)
    assert declarations.read().maps["stages"].initial_slots == ((1, "tail"),)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (SLOTS_OFFSET - 8, "fills no slot"),
        (SLOTS_OFFSET + 4, "fills no slot"),
        (60, "outside of any map"),
        (1 << 50, "outside of any map"),
    ],
)
def test_a_relocation_must_fill_a_slot(declarations, offset, message):
    outer(declarations, MapType.ARRAY_OF_MAPS)
    symbols = declarations.finish()
    declarations.file.relocate(declarations.section, offset, symbols["outer"])
    with pytest.raises(ObjectError, match=message) as caught:
        declarations.read()
    assert caught.value.offset == offset


def test_a_slot_of_a_map_of_maps_holds_a_map(declarations):
    outer(declarations, MapType.ARRAY_OF_MAPS)
    declarations.finish()
    code = declarations.file.program("main", "xdp")
    declarations.file.relocate(
        declarations.section, SLOTS_OFFSET, declarations.file.symbol("main", code)
    )
    with pytest.raises(ObjectError, match="'main', which is not a map"):
        declarations.read()


def test_a_hash_of_maps_with_slots_has_numbers_for_keys(declarations):
    outer(declarations, MapType.HASH_OF_MAPS, key_size=declarations.uint(8))
    symbols = declarations.finish()
    declarations.file.relocate(declarations.section, SLOTS_OFFSET, symbols["outer"])
    with pytest.raises(ObjectError, match="keys, which have 8 bytes, not 4"):
        declarations.read()


# What is not a declaration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (lambda d: {}, "it has no type"),
        (lambda d: {"type": d.uint(0)}, "it has no type"),
        (lambda d: {"type": d.int}, "'type' is not a number"),
        (lambda d: {"type": d.pointer(d.int)}, "'type' is not a number"),
        (lambda d: {"type": d.uint(1), "size": d.uint(1)}, "unknown member 'size'"),
        (lambda d: {"type": d.uint(1), "key": d.int}, "'key' is not a type"),
        (
            lambda d: {"type": d.uint(1), "key": d.add(Const(d.pointer(d.int)))},
            "'key' is not a type",
        ),
        (
            lambda d: {"type": d.uint(1), "key": d.pointer(d.add(Forward("missing")))},
            "'key': .*missing",
        ),
        (
            lambda d: {"type": d.uint(1), "key_size": d.uint(8), "key": d.pointer(d.int)},
            "'key' says 4 bytes, a member before it 8",
        ),
        (
            lambda d: {"type": d.uint(1), "value": d.pointer(d.int), "value_size": d.uint(8)},
            "'value_size' says 8 bytes, a member before it 4",
        ),
        (lambda d: {"type": d.uint(1), "pinning": d.uint(2)}, "unknown pinning 2"),
        (lambda d: {"type": d.uint(1), "map_extra": d.int}, "'map_extra' is not a number"),
        (lambda d: {"values": d.array(d.struct(type=d.uint(1)))}, "for maps of maps"),
        (lambda d: {"type": d.uint(1), "values": d.array(d.int)}, "for maps of maps"),
        (lambda d: {"type": d.uint(12), "values": d.array(d.int)}, "struct of an inner map"),
        (lambda d: {"type": d.uint(3), "values": d.array(d.int)}, "must point to functions"),
        (lambda d: {"type": d.uint(12), "values": d.array(d.int, 4)}, "array without length"),
        (
            lambda d: {"type": d.uint(12), "values": d.add(Array(d.int, d.int, 0))},
            "not an array of pointers",
        ),
        (
            lambda d: {"type": d.uint(12), "values": d.array(d.int), "max_entries": d.uint(1)},
            "must be the last member",
        ),
        (
            lambda d: {
                "type": d.uint(12),
                "value_size": d.uint(8),
                "values": d.array(d.struct(type=d.uint(1))),
            },
            "'values' says 4 bytes",
        ),
        (
            lambda d: {
                "type": d.uint(12),
                "values": d.array(d.struct(type=d.uint(1), pinning=d.uint(1))),
            },
            r"'example\.inner': an inner map can't be pinned",
        ),
        (
            lambda d: {
                "type": d.uint(12),
                "values": d.array(d.struct(type=d.uint(12), values=d.array(d.int))),
            },
            r"'example\.inner': an inner map can't have maps in it",
        ),
    ],
)
def test_what_is_no_declaration_is_refused_by_name(declarations, members, message):
    declarations.map(**members(declarations))
    with pytest.raises(ObjectError, match=message) as caught:
        declarations.read()
    assert "map 'example" in str(caught.value)
    assert caught.value.section == ".maps"


def test_a_map_is_a_struct(declarations):
    declarations.declare("example", declarations.add(Float("double", 8)))
    with pytest.raises(ObjectError, match="its type is double, not a struct"):
        declarations.read()


def test_a_static_map_is_refused(declarations):
    own = declarations.struct(type=declarations.uint(1))
    declarations.declare("example", own, linkage=Linkage.STATIC)
    with pytest.raises(ObjectError, match="neither static nor hidden"):
        declarations.read()


def test_a_hidden_map_is_refused(declarations):
    own = declarations.struct(type=declarations.uint(1))
    declarations.declare("example", own, visibility=SymbolVisibility.HIDDEN)
    with pytest.raises(ObjectError, match="neither static nor hidden"):
        declarations.read()


@pytest.mark.parametrize(
    ("size", "message"),
    [(16, "its struct has 32 bytes, the variable 16"), (65, "ends beyond its section of 64")],
)
def test_a_map_must_fit_its_place(declarations, size, message):
    own = declarations.struct(type=declarations.uint(1))
    declarations.declare("example", own, size=size)
    with pytest.raises(ObjectError, match=message):
        declarations.read()


# struct_ops and arenas -------------------------------------------------------------------------


def struct_ops_file(section_name: str) -> ElfFile:
    """Two variables of a struct of two functions, the second of which is set."""
    btf = BtfBuilder()
    function = btf.add(Pointer(btf.add(FunctionPrototype(0))))
    members = (Member("init", function, 0), Member("exit", function, 64))
    operations = btf.add(Struct("tcp_congestion_ops", 16, members))
    entries = tuple(
        DataSectionEntry(btf.add(Variable(name, operations, Linkage.GLOBAL)), 0, 16)
        for name in ("first", "second")
    )
    btf.add(DataSection(section_name, 0, entries))
    file = ElfFile()
    section = file.section(section_name, bytes(32))
    file.symbol("first", section, 0, 16)
    file.symbol("second", section, 16, 16)
    code = file.program("leave", "struct_ops/exit")
    for offset in (8, 24):
        file.relocate(section, offset, file.symbol("leave", code), 2)
    file.section(".BTF", btf.to_bytes("little"))
    return file


def test_struct_ops_variables_are_maps():
    spec = ObjectSpec.from_bytes(struct_ops_file(".struct_ops.link").to_bytes())
    second = spec.maps["second"]
    assert second.type is MapType.STRUCT_OPS
    assert (second.key_size, second.value_size, second.max_entries) == (4, 16, 1)
    assert second.flags == MapFlags.LINK
    assert second.initial_slots == ((8, "leave"),)
    assert second.autocreate
    assert second.contents == bytes(16)


def test_a_question_mark_leaves_the_first_struct_ops_variable_out():
    maps = ObjectSpec.from_bytes(struct_ops_file("?.struct_ops").to_bytes()).maps
    assert maps["first"].flags == MapFlags(0)
    assert [each.autocreate for each in maps.values()] == [False, True]


def test_the_arena_holds_the_variables_of_its_address_space(declarations):
    declarations.map("arena", type=declarations.uint(MapType.ARENA))
    counter = declarations.add(Variable("counter", declarations.int, Linkage.GLOBAL))
    declarations.add(DataSection(".addr_space.1", 0, (DataSectionEntry(counter, 0, 4),)))
    section = declarations.file.section(".addr_space.1", struct.pack("<I", 42))
    declarations.file.symbol("counter", section, 0, 4)
    spec = declarations.read()
    assert spec.data_map(".addr_space.1") is spec.maps["arena"]
    assert spec.variables["counter"].value == 42


def test_variables_of_an_arena_need_an_arena():
    file = ElfFile()
    file.section(".addr_space.1", bytes(4))
    with pytest.raises(ObjectError, match="no arena map"):
        ObjectSpec.from_bytes(file.to_bytes())


# What the kernel is told -----------------------------------------------------------------------


def shape(spec: MapSpec) -> KernelShape:
    return kernel_shape(spec, page_size=4096, possible_cpus=6)


@pytest.mark.parametrize(
    ("declared", "made"),
    [
        (0, 0),
        (1, 4096),
        (4096, 4096),
        (4097, 8192),
        (3 * 4096, 4 * 4096),
        (1 << 20, 1 << 20),
        ((1 << 31) + 1, (1 << 31) + 1),  # there is no larger power of two in 32 bits
    ],
)
def test_a_ring_gets_a_power_of_two_of_pages(declared, made):
    spec = MapSpec(name="events", type=MapType.RINGBUF, max_entries=declared)
    assert shape(spec).max_entries == made


def test_the_kernel_is_not_told_of_a_rings_records():
    spec = MapSpec(
        name="events", type=MapType.RINGBUF, value_size=40, value_type_id=7, max_entries=4096
    )
    assert shape(spec) == KernelShape(0, 0, 4096, 0, 0)


def test_a_perf_buffer_has_a_slot_for_each_cpu():
    spec = MapSpec(
        name="events", type=MapType.PERF_EVENT_ARRAY, key_size=4, value_size=40, value_type_id=7
    )
    assert shape(spec) == KernelShape(4, 4, 6, 0, 0)
    spec.max_entries = 128
    assert shape(spec).max_entries == 128


def test_other_maps_are_made_as_declared():
    spec = MapSpec(
        name="counts",
        type=MapType.HASH,
        key_size=4,
        value_size=8,
        max_entries=10,
        key_type_id=1,
        value_type_id=2,
    )
    assert shape(spec) == KernelShape(4, 8, 10, 1, 2)


@pytest.mark.parametrize("map_type", [MapType.QUEUE, MapType.STACK_TRACE, MapType.ARRAY_OF_MAPS])
def test_some_maps_take_no_types(map_type):
    spec = MapSpec(name="m", type=map_type, key_type_id=1, value_type_id=2)
    assert (shape(spec).key_type_id, shape(spec).value_type_id) == (0, 0)


def test_a_name_is_cut_to_what_the_kernel_takes():
    assert MapSpec(name="a_rather_long_map_name", type=1).kernel_name == "a_rather_long_m"
