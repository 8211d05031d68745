"""Which struct a ring carries is told by convention, and not guessed."""

import struct
from pathlib import Path

import pytest

from bpfstream.abi.btf import Kind
from bpfstream.abi.elf import SymbolBinding, SymbolKind, SymbolVisibility
from bpfstream.abi.maps import MapType
from bpfstream.btf.types import DeclTag, Pointer, Variable
from bpfstream.records import event_type_of, loss_counter_of
from bpfstream.spec import FunctionSpec, MapSpec, ObjectSpec, Relocation, Symbol
from tests.support.c_structs import CTypes

PROGRAMS = Path("tests/programs")

PERF_EVENT_OUTPUT, RINGBUF_OUTPUT, RINGBUF_RESERVE = 25, 130, 131


class Builder:
    """An object with a ring ``events`` and a struct ``event`` of 8 bytes, to be added to."""

    def __init__(self, ring=MapType.RINGBUF):
        self.types = CTypes()
        self.event = self.struct("event")
        self.maps = {"events": MapSpec(name="events", type=ring, section=".maps")}
        self.functions = {}

    def struct(self, name, size=8):
        return self.types.struct(name, size, ("pid", self.types.named("u32"), 0))

    def pointer(self, name, target):
        return self.types.add(Variable(name, self.types.add(Pointer(target))))

    def ring(self, name):
        self.maps[name] = MapSpec(
            name=name, type=MapType.RINGBUF, section=".maps", section_offset=8 * len(self.maps)
        )

    def code(self, *instructions):
        """A function of instructions; a map's name stands for the load of its descriptor in r1."""
        code, relocations = b"", []
        for each in instructions:
            if isinstance(each, tuple):
                register, ring = each
                spec = self.maps[ring]
                symbol = Symbol(
                    ring, ".maps", 1, spec.section_offset, 8,
                    SymbolKind.OBJECT, SymbolBinding.GLOBAL, SymbolVisibility.DEFAULT,
                )  # fmt: skip
                relocations.append(Relocation(len(code), symbol, 1))
                code += instruction(0x18, register) + instruction(0)
            else:
                code += each
        name = f"function{len(self.functions)}"
        symbol = Symbol(
            name, ".text", 1, 0, len(code),
            SymbolKind.FUNC, SymbolBinding.GLOBAL, SymbolVisibility.DEFAULT,
        )  # fmt: skip
        self.functions[name] = FunctionSpec(
            name=name,
            section=".text",
            section_index=1,
            section_offset=0,
            instructions=code,
            relocations=tuple(relocations),
            symbol=symbol,
        )

    def spec(self):
        return ObjectSpec(
            name="built", path=None, byteorder="little", license="GPL", version=None,
            programs={}, functions=self.functions, maps=self.maps, variables={}, externs=(),
            data_sections={}, btf=self.types.btf(), btf_ext=None, warnings=(),
        )  # fmt: skip


def instruction(opcode, register=0, immediate=0, *, offset=0, source=0):
    return struct.pack("<BBhi", opcode, register | source << 4, offset, immediate)


def move(register, value):
    return instruction(0xB7, register, value)


def copy(register, source):
    return instruction(0xBF, register, source=source)


def call(helper):
    return instruction(0x85, 0, helper)


def jump_if_zero(register, distance):
    return instruction(0x15, register, offset=distance)


def no_kernel_struct():
    return CTypes().btf()


def carried(builder, ring="events"):
    spec = builder.spec()
    found = event_type_of(spec, ring, kernel_btf=no_kernel_struct)
    return None if found is None else spec.btf.name(found)


def test_without_a_word_about_it_nothing_is_guessed():
    assert carried(Builder()) is None


def test_without_btf_or_such_a_map_nothing_is_known():
    spec = Builder().spec()
    assert event_type_of(spec, "nowhere") is None
    spec.btf = None
    assert event_type_of(spec, "events") is None


@pytest.mark.parametrize(
    ("program", "ring", "name"),
    [
        ("types", "events", "everything"),
        ("types", "packed_events", "packed_event"),
        ("tagged", "events", "entered_event"),
    ],
)
def test_the_loss_counter_beside_a_ring_tells_its_struct(program, ring, name):
    spec = ObjectSpec.from_file(PROGRAMS / f"{program}.bpf.o")
    assert loss_counter_of(spec, ring) == f"{ring}_lost"
    assert event_type_of(spec, ring) == spec.btf.find(name, Kind.STRUCT)


def test_a_map_is_a_loss_counter_only_if_it_can_count():
    builder = Builder()
    counter = MapSpec(name="events_lost", type=MapType.PERCPU_ARRAY, value_size=8, max_entries=1)
    builder.maps["events_lost"] = counter
    assert loss_counter_of(builder.spec(), "events") == "events_lost"
    counter.value_size = 4
    assert loss_counter_of(builder.spec(), "events") is None
    counter.value_size, counter.type = 8, MapType.HASH
    assert loss_counter_of(builder.spec(), "events") is None


def test_the_value_type_of_the_map():
    builder = Builder()
    typedef = builder.types.typedef("event_t", builder.event)
    builder.maps["events"].value_type_id = typedef
    assert carried(builder) == "event"


def test_a_value_type_that_is_no_struct_says_nothing():
    builder = Builder(MapType.PERF_EVENT_ARRAY)
    builder.maps["events"].value_type_id = builder.types.named("u32")
    assert carried(builder) is None


def test_the_name_of_a_gadget_tracers_variable():
    builder = Builder()
    builder.ring("others")
    builder.pointer("gadget_tracer_open___events___event", 0)
    assert carried(builder) == "event"
    assert carried(builder, "others") is None


def test_the_tag_of_a_gadget_tracer():
    builder = Builder()
    variable = builder.pointer("__ig_tracer_open", 0)
    builder.types.add(DeclTag("ig:tracer:open___events___event", variable))
    assert carried(builder) == "event"


def test_the_unused_pointer_of_an_object_with_one_ring():
    builder = Builder()
    builder.pointer("unused_event", builder.event)
    assert carried(builder) == "event"
    builder.ring("others")
    assert carried(builder) is None


def test_two_unused_pointers_say_nothing():
    builder = Builder()
    builder.pointer("unused", builder.event)
    builder.pointer("unused2", builder.struct("other"))
    assert carried(builder) is None


@pytest.mark.parametrize(
    ("map_type", "instructions"),
    [
        (MapType.RINGBUF, [(1, "events"), move(2, 8), call(RINGBUF_RESERVE)]),
        (MapType.RINGBUF, [(1, "events"), move(3, 8), call(RINGBUF_OUTPUT)]),
        (MapType.PERF_EVENT_ARRAY, [(2, "events"), move(5, 8), call(PERF_EVENT_OUTPUT)]),
        (MapType.RINGBUF, [(6, "events"), copy(1, 6), move(2, 8), call(RINGBUF_RESERVE)]),
        (
            MapType.RINGBUF,
            [(6, "events"), call(5), copy(1, 6), move(2, 8), call(RINGBUF_RESERVE)],
        ),
    ],
)
def test_the_constant_size_at_the_helper_call(map_type, instructions):
    builder = Builder(map_type)
    builder.code(*instructions)
    assert carried(builder) == "event"


@pytest.mark.parametrize(
    "instructions",
    [
        [(1, "events"), call(RINGBUF_RESERVE)],
        [(1, "events"), move(2, 8), instruction(0x07, 2, 8), call(RINGBUF_RESERVE)],
        [move(2, 8), call(RINGBUF_RESERVE)],
        [(1, "events"), move(2, 8), call(5), call(RINGBUF_RESERVE)],
        [move(2, 8), jump_if_zero(0, 1), move(2, 16), (1, "events"), call(RINGBUF_RESERVE)],
        [
            *[(1, "events"), move(2, 8), call(RINGBUF_RESERVE)],
            *[(1, "events"), move(2, 16), call(RINGBUF_RESERVE)],
        ],
    ],
    ids=["no size", "computed", "no map", "clobbered", "two ways", "two sizes"],
)
def test_a_size_that_is_not_plain_says_nothing(instructions):
    builder = Builder()
    builder.code(*instructions)
    assert carried(builder) is None


def test_a_size_that_two_structs_have_says_nothing():
    builder = Builder()
    builder.code((1, "events"), move(2, 8), call(RINGBUF_RESERVE))
    builder.struct("other")
    assert carried(builder) is None


def test_structs_that_the_kernel_has_are_not_taken_for_events():
    builder = Builder()
    builder.code((1, "events"), move(2, 8), call(RINGBUF_RESERVE))
    builder.struct("list_head")
    kernel = CTypes()
    kernel.struct("list_head", 8)
    spec = builder.spec()
    assert event_type_of(spec, "events", kernel_btf=kernel.btf) == builder.event
    assert event_type_of(spec, "events", kernel_btf=lambda: None) is None
    assert event_type_of(spec, "events") is None
