"""What instructions refer to by name: maps, variables, subprograms, things of the kernel."""

from __future__ import annotations

import struct

import pytest

from bpfstream.abi.btf import Linkage
from bpfstream.abi.elf import SymbolBinding, SymbolKind, SymbolVisibility
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.asm import Code
from bpfstream.btf import Btf
from bpfstream.btf.ext import InfoSection
from bpfstream.btf.types import (
    Array,
    DeclTag,
    Enum,
    Function,
    FunctionPrototype,
    Int,
    Parameter,
    Variable,
)
from bpfstream.errors import LinkingError, MissingBtfError
from bpfstream.linker import (
    BtfReference,
    KfuncReference,
    LinkedProgram,
    MapReference,
    PoisonedRelocation,
    Target,
    link,
)
from bpfstream.spec import ExternSpec, MapSpec, ObjectSpec
from tests.support.linking import (
    EXIT,
    INT,
    SECTION,
    U64,
    Types,
    call,
    core,
    extern_symbol,
    load,
    move,
    object_of,
    program,
    refer,
    subprogram,
    symbol,
    wide,
)


def linked(spec: ObjectSpec, target: Target | None = None) -> LinkedProgram:
    return link(spec, target or Target()).programs["probe"]


def section_symbol(section: str) -> object:
    return symbol(section, section, kind=SymbolKind.SECTION, binding=SymbolBinding.LOCAL)


# Maps and variables ------------------------------------------------------------------------------


def events(**changes) -> MapSpec:
    return MapSpec(
        name="events", type=MapType.RINGBUF, section=".maps", section_offset=32, **changes
    )


def rodata() -> MapSpec:
    return MapSpec(
        name=".rodata", type=MapType.ARRAY, value_size=16, section=".rodata", contents=bytes(16)
    )


def test_a_map():
    to_map = symbol("events", ".maps", 32, kind=SymbolKind.OBJECT)
    spec = object_of(program(move(0) + wide(0) + EXIT, refer(1, to_map)), maps=[events()])
    result = linked(spec)
    assert result.map_references == (MapReference(1, "events", is_value=False),)
    assert bytes(result.code) == move(0) + wide(0, source=1) + EXIT


@pytest.mark.parametrize(
    ("to", "addend"),
    [
        (symbol("limit", ".rodata", 12, kind=SymbolKind.OBJECT), 0),
        (section_symbol(".rodata"), 12),
    ],
    ids=["global: offset in the symbol", "static: offset in the instruction"],
)
def test_a_variable(to, addend):
    spec = object_of(program(wide(addend) + EXIT, refer(0, to)), maps=[events(), rodata()])
    result = linked(spec)
    assert result.map_references == (MapReference(0, ".rodata", is_value=True),)
    assert bytes(result.code) == wide(12 << 32, source=2) + EXIT


def test_a_map_that_is_not_created_poisons_what_refers_to_it():
    to_map = symbol("events", ".maps", 32, kind=SymbolKind.OBJECT)
    maps = [rodata(), events(autocreate=False)]
    result = linked(object_of(program(wide(0) + EXIT, refer(0, to_map)), maps=maps))
    assert result.map_references == ()
    assert bytes(result.code) == call(2001000001, source=0) * 2 + EXIT
    assert result.poisoned == (
        PoisonedRelocation(0, 'map "events" is not created (autocreate is off)'),
    )


@pytest.mark.parametrize(
    ("code", "to", "message"),
    [
        (wide(0), symbol("x", ".maps", 8), "no function, no map and no variable"),
        (wide(0), symbol("x", "elsewhere"), "no function, no map and no variable"),
        (wide(0), extern_symbol("x"), "declares it nowhere"),
        (call(-1), extern_symbol("x"), "declares it nowhere"),
        (move(0), symbol("x", ".maps", 32), "only calls and wide loads"),
        (wide(0)[:8], symbol("x", ".maps", 32), "only calls and wide loads"),
        (call(5, source=0), symbol("f", ".text"), "helper"),
        (call(-1), symbol("f", SECTION), "only functions in .text"),
        (call(-1), symbol("f", ".text", 800), "no function at instruction 100"),
        (wide(4), symbol("f", ".text"), "not at an instruction"),
    ],
)
def test_references_that_lead_nowhere(code, to, message):
    spec = object_of(
        program(code, refer(0, to)), maps=[events()], functions=[subprogram("f", 0, EXIT)]
    )
    with pytest.raises(LinkingError, match=message) as caught:
        linked(spec)
    assert (caught.value.program, caught.value.instruction) == ("probe", 0)
    assert to.name in str(caught.value)


@pytest.mark.parametrize("slot", [2, 100])
def test_a_reference_from_outside_of_the_code(slot):
    to_map = symbol("events", ".maps", 32)
    with pytest.raises(LinkingError, match="not at an instruction"):
        linked(object_of(program(move(0) + EXIT, refer(slot, to_map)), maps=[events()]))


# Subprograms -------------------------------------------------------------------------------------


def to(name: str, slot: int) -> object:
    return symbol(name, ".text", 8 * slot)


def test_a_called_function_is_appended():
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 3))),
        functions=[subprogram("unused", 0, move(7) + move(8) + EXIT), subprogram("f", 3, EXIT)],
    )
    # from slot 0, the next one being 1, to slot 2
    assert bytes(linked(spec).code) == call(1) + EXIT + EXIT


def test_a_static_function_is_called_by_its_distance_in_its_section():
    spec = object_of(
        program(call(2) + EXIT, refer(0, section_symbol(".text"))),
        functions=[subprogram("unused", 0, move(7) + move(8) + EXIT), subprogram("f", 3, EXIT)],
    )
    assert bytes(linked(spec).code) == call(1) + EXIT + EXIT


def test_functions_are_appended_depth_first_and_once():
    spec = object_of(
        program(call(-1) + call(-1) + EXIT, refer(0, to("f", 0)), refer(1, to("g", 2))),
        functions=[
            subprogram("f", 0, call(2) + EXIT),  # calls h, at slot 3, without a relocation
            subprogram("g", 2, EXIT),
            subprogram("h", 3, call(-2) + call(-5) + EXIT),  # calls g, then f
        ],
    )
    f, h, g = 3, 5, 8
    expected = call(f - 1) + call(g - 2) + EXIT
    expected += call(h - f - 1) + EXIT
    expected += call(g - h - 1) + call(f - (h + 1) - 1) + EXIT
    expected += EXIT
    assert bytes(linked(spec).code) == expected


def test_the_address_of_a_function():
    spec = object_of(
        program(wide(0) + EXIT, refer(0, to("f", 0))), functions=[subprogram("f", 0, EXIT)]
    )
    assert bytes(linked(spec).code) == wide(2, source=4) + EXIT + EXIT


def test_what_a_subprogram_refers_to_moves_with_it():
    to_map = symbol("events", ".maps", 32, kind=SymbolKind.OBJECT)
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 0))),
        functions=[subprogram("f", 0, move(1) + wide(0) + EXIT, refer(1, to_map))],
        maps=[events()],
    )
    assert linked(spec).map_references == (MapReference(3, "events", is_value=False),)


def test_a_subprogram_is_relocated_once_for_all_programs():
    local, target = Types(), Types()
    task = local.struct("task", ("pid", local.add(INT), 4))
    target.struct("task", ("tgid", target.add(INT), 4))
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 0))),
        program(move(0) + call(-1) + EXIT, refer(1, to("f", 0)), name="other", section="xdp"),
        functions=[subprogram("f", 0, load(4, 4) + EXIT)],
        btf=local.btf(),
        relocations=[core(task, "0:0", 0, section=".text")],
    )
    programs = link(spec, Target(btf=target.btf())).programs
    assert [each.slot for each in programs["probe"].poisoned] == [2]
    assert [each.slot for each in programs["other"].poisoned] == [3]


def test_functions_that_call_themselves_end():
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 0))),
        functions=[subprogram("f", 0, call(-1) + EXIT)],
    )
    assert bytes(linked(spec).code) == call(1) + EXIT + call(-1) + EXIT


def test_calls_may_go_very_deep():
    depth = 5000
    chain = [subprogram(f"f{i}", 2 * i, call(1) + EXIT) for i in range(depth)]
    chain.append(subprogram("end", 2 * depth, EXIT))
    spec = object_of(program(call(-1) + EXIT, refer(0, to("f0", 0))), functions=chain)
    assert len(linked(spec).code) == 2 + 2 * depth + 1


def test_a_program_that_becomes_too_large_is_refused():
    large = EXIT * 600_000
    spec = object_of(
        program(call(-1) + call(-1) + EXIT, refer(0, to("f", 0)), refer(1, to("g", 600_000))),
        functions=[subprogram("f", 0, large), subprogram("g", 600_000, large)],
    )
    with pytest.raises(LinkingError, match="more than 1000000 instructions"):
        linked(spec)


def test_calls_without_a_target():
    with pytest.raises(LinkingError, match=r"instruction 6 of \.text") as caught:
        linked(object_of(program(call(5) + EXIT)))
    assert (caught.value.program, caught.value.instruction) == ("probe", 0)


def test_an_exception_callback_comes_last():
    types = Types()
    prototype = types.add(FunctionPrototype(0))
    probe = types.add(Function("probe", prototype, Linkage.GLOBAL))
    types.add(DeclTag("exception_callback:on_exception", probe))
    functions = [subprogram("on_exception", 0, move(1) + EXIT), subprogram("f", 2, EXIT)]
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 2))), functions=functions, btf=types.btf()
    )
    assert bytes(linked(spec).code) == call(1) + EXIT + EXIT + move(1) + EXIT


# Function and line information -------------------------------------------------------------------


def info(section: str, *records: tuple[int, int], size: int = 8) -> InfoSection:
    data = b"".join(struct.pack("<II", 8 * slot, x) + bytes(size - 8) for slot, x in records)
    return InfoSection(section, size, data)


def test_information_follows_the_functions():
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 3)), offset=16),
        functions=[subprogram("unused", 0, move(7) + move(8) + EXIT), subprogram("f", 3, EXIT)],
        function_info=[info(SECTION, (0, 9), (2, 10)), info(".text", (0, 11), (3, 12))],
        line_info=[
            info(SECTION, (0, 1), (2, 2), (3, 3), size=16),
            info(".text", (0, 4), (3, 5), size=16),
        ],
    )
    result = linked(spec)
    assert result.function_info_size == 8
    assert list(struct.iter_unpack("<II", result.function_info)) == [(0, 10), (2, 12)]
    assert result.line_info_size == 16
    assert [each[:2] for each in struct.iter_unpack("<IIII", result.line_info)] == [
        (0, 2),
        (1, 3),
        (2, 5),
    ]


def test_a_program_without_information_gets_none():
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 0))),
        functions=[subprogram("f", 0, EXIT)],
        function_info=[info(".text", (0, 12))],
    )
    assert linked(spec).function_info == b""


def test_a_subprogram_without_information_is_an_error():
    spec = object_of(
        program(call(-1) + EXIT, refer(0, to("f", 0))),
        functions=[subprogram("f", 0, EXIT)],
        function_info=[info(SECTION, (0, 12))],
    )
    with pytest.raises(LinkingError, match="information") as caught:
        linked(spec)
    assert caught.value.program == "f"


# What the kernel provides ------------------------------------------------------------------------


def ksym(name: str, type_id: int, *, weak: bool = False, function: bool = False) -> ExternSpec:
    return ExternSpec(name, ".ksyms", type_id, weak, function)


class Module:
    def __init__(self, name: str, btf: Btf) -> None:
        self.name, self.btf, self.id = name, btf, 7


@pytest.fixture
def kernel() -> Types:
    types = Types()
    integer = types.add(INT)
    types.add(Variable("jiffies", types.add(U64), Linkage.GLOBAL))
    prototype = types.add(FunctionPrototype(0, (Parameter("p", integer),)))
    types.add(Function("bpf_frob", prototype, Linkage.GLOBAL))
    return types


def loading(extern: ExternSpec, btf: Types) -> ObjectSpec:
    to_extern = extern_symbol(extern.name, weak=extern.weak)
    return object_of(program(wide(0) + EXIT, refer(0, to_extern)), externs=[extern], btf=btf.btf())


def calling(extern: ExternSpec, btf: Types) -> ObjectSpec:
    to_extern = extern_symbol(extern.name, weak=extern.weak)
    return object_of(program(call(-1) + EXIT, refer(0, to_extern)), externs=[extern], btf=btf.btf())


def prototype_of(types: Types, parameter: Int) -> int:
    return types.add(FunctionPrototype(0, (Parameter("p", types.add(parameter)),)))


def test_a_variable_of_the_kernel(kernel):
    local = Types()
    result = linked(loading(ksym("jiffies", local.add(INT)), local), Target(btf=kernel.btf()))
    assert result.btf_references == (BtfReference(0, None),)
    type_id = kernel.add(Variable("jiffies", kernel.add(U64), Linkage.GLOBAL))
    assert bytes(result.code) == wide(type_id, source=3) + EXIT


def test_a_variable_of_another_type_is_an_error_even_if_weak(kernel):
    local = Types()
    spec = loading(ksym("jiffies", local.struct("seqlock"), weak=True), local)
    with pytest.raises(LinkingError, match="unsigned long, the object declares struct seqlock"):
        linked(spec, Target(btf=kernel.btf()))


def test_a_variable_that_the_kernel_lacks(kernel):
    local = Types()
    target = Target(btf=kernel.btf())
    with pytest.raises(LinkingError, match="neither the kernel nor its modules"):
        linked(loading(ksym("gone", local.add(INT)), local), target)
    result = linked(loading(ksym("gone", local.add(INT), weak=True), local), target)
    assert bytes(result.code) == wide(0) + EXIT


def test_the_address_of_a_symbol():
    asked = []

    def addresses(names):
        asked.append(sorted(names))
        return {"init_task": 0xFFFF_FFFF_8100_0000}

    spec = loading(ksym("init_task", 0), Types())
    result = linked(spec, Target(symbol_addresses=addresses))
    assert bytes(result.code) == wide(0xFFFF_FFFF_8100_0000) + EXIT
    assert asked == [["init_task"]]
    with pytest.raises(LinkingError, match="no such symbol"):
        linked(spec, Target())
    assert bytes(linked(loading(ksym("init_task", 0, weak=True), Types())).code) == wide(0) + EXIT


def test_a_function_of_the_kernel(kernel):
    local = Types()
    extern = ksym("bpf_frob___v2", prototype_of(local, INT), function=True)
    result = linked(calling(extern, local), Target(btf=kernel.btf()))
    assert result.kfunc_references == (KfuncReference(0, None),)
    type_id = kernel.btf().find("bpf_frob", 12)
    assert bytes(result.code) == call(type_id, source=2) + EXIT


def test_a_function_of_a_module(kernel):
    types = Types(base=kernel.btf())
    type_id = types.add(Function("bpf_ct", types.add(FunctionPrototype(0)), Linkage.GLOBAL))
    module = Module("nf_conntrack", types.btf(base=kernel.btf()))
    local = Types()
    extern = ksym("bpf_ct", local.add(FunctionPrototype(0)), function=True)
    result = linked(calling(extern, local), Target(btf=kernel.btf(), modules=lambda: [module]))
    assert result.kfunc_references == (KfuncReference(0, module),)
    assert bytes(result.code) == call(type_id, source=2) + EXIT


@pytest.mark.parametrize("name", ["gone", "bpf_frob"], ids=["absent", "of another prototype"])
def test_a_weak_function_that_does_not_fit_is_poisoned(kernel, name):
    local = Types()
    prototype = local.add(FunctionPrototype(0))
    target = Target(btf=kernel.btf())
    weak = ksym(name, prototype, weak=True, function=True)
    result = linked(calling(weak, local), target)
    assert bytes(result.code) == call(2002000000, source=0) + EXIT
    (poisoned,) = result.poisoned
    assert poisoned.slot == 0
    assert name in poisoned.reason
    with pytest.raises(LinkingError, match="__weak"):
        linked(calling(ksym(name, prototype, function=True), local), target)


def test_externs_with_a_type_need_btf():
    local = Types()
    with pytest.raises(MissingBtfError, match="jiffies"):
        linked(loading(ksym("jiffies", local.add(INT)), local))


# The kernel's configuration ----------------------------------------------------------------------


def configured(local: Types, type_id: int, text: str | None, *, weak: bool = False) -> bytes:
    """The contents of ``.kconfig`` with one value, the kernel's configuration having `text`."""
    extern = ExternSpec("CONFIG_X", ".kconfig", type_id, weak, is_function=False)
    config = {} if text is None else {"CONFIG_X": text}
    spec = loading(extern, local)
    result = link(spec, Target(kernel_config=lambda: config))
    program = result.programs["probe"]
    assert program.map_references == (MapReference(0, ".kconfig", is_value=True),)
    kconfig = result.maps[".kconfig"]
    assert (kconfig.type, kconfig.max_entries) == (MapType.ARRAY, 1)
    assert MapFlags.RDONLY_PROG in kconfig.flags
    assert kconfig.value_size == len(kconfig.contents)
    return kconfig.contents


BOOL = Int("_Bool", 1, 8, boolean=True)
CHAR = Int("char", 1, 8, signed=True)
TRISTATE = Enum("libbpf_tristate", 4)


@pytest.mark.parametrize(
    ("type_", "text", "contents"),
    [
        (BOOL, "y", b"\1"),
        (BOOL, "n", b"\0"),
        (TRISTATE, "m", b"\2\0\0\0"),
        (TRISTATE, "y", b"\1\0\0\0"),
        (CHAR, "m", b"m"),
        (CHAR, "-3", b"\xfd"),
        (INT, "250", struct.pack("<i", 250)),
        (INT, "-1", struct.pack("<i", -1)),
        (INT, "0x10", struct.pack("<i", 16)),
        (U64, "0xffffffff00000000", struct.pack("<Q", 0xFFFFFFFF00000000)),
    ],
)
def test_configuration_values(type_, text, contents):
    local = Types()
    assert configured(local, local.add(type_), text) == contents


def test_configuration_strings_are_cut_to_their_arrays():
    local = Types()
    array = local.add(Array(local.add(CHAR), local.add(INT), 4))
    assert configured(local, array, '"ab"') == b"ab\0\0"
    assert configured(local, array, '"abcdef"') == b"abc\0"


@pytest.mark.parametrize(
    ("type_", "text"),
    [(BOOL, "m"), (BOOL, "1"), (INT, "y"), (INT, '"a"'), (CHAR, "256"), (INT, "2147483648"),
     (INT, "12x"), (TRISTATE, "3"), (INT, "")],
)  # fmt: skip
def test_configuration_values_of_another_type(type_, text):
    local = Types()
    with pytest.raises(LinkingError, match="CONFIG_X"):
        configured(local, local.add(type_), text)


def test_configuration_that_is_not_set():
    local = Types()
    with pytest.raises(LinkingError, match="does not set CONFIG_X"):
        configured(local, local.add(INT), None)
    assert configured(local, local.add(INT), None, weak=True) == bytes(4)


def test_configuration_can_not_be_a_struct():
    local = Types()
    with pytest.raises(LinkingError, match="declared as struct s"):
        configured(local, local.struct("s"), "1")


def test_values_lie_in_order_and_aligned():
    local = Types()
    u64, integer, boolean = local.add(U64), local.add(INT), local.add(BOOL)
    externs = [
        ExternSpec("CONFIG_B", ".kconfig", u64, weak=False, is_function=False),
        ExternSpec("LINUX_KERNEL_VERSION", ".kconfig", integer, weak=False, is_function=False),
        ExternSpec("CONFIG_A", ".kconfig", boolean, weak=False, is_function=False),
        ExternSpec("LINUX_UNHEARD_OF", ".kconfig", boolean, weak=True, is_function=False),
    ]
    code = b"".join(wide(0) for _ in externs) + EXIT
    references = [refer(2 * i, extern_symbol(each.name)) for i, each in enumerate(externs)]
    spec = object_of(program(code, *references), externs=externs, btf=local.btf())
    target = Target(
        kernel_config=lambda: {"CONFIG_A": "y", "CONFIG_B": "7"},
        virtual_config={"LINUX_KERNEL_VERSION": 0x060C00}.__getitem__,
    )
    result = link(spec, target)
    assert result.maps[".kconfig"].contents == struct.pack("<QI??", 7, 0x060C00, True, False)
    code = result.programs["probe"].code
    assert [code.immediate(2 * i + 1) for i in range(4)] == [0, 8, 12, 13]


def test_hidden_functions_are_no_callbacks():
    types = Types()
    probe = types.add(Function("probe", types.add(FunctionPrototype(0)), Linkage.GLOBAL))
    types.add(DeclTag("exception_callback:handler", probe))
    handler = subprogram("handler", 0, EXIT, visibility=SymbolVisibility.HIDDEN)
    with pytest.raises(LinkingError, match="handler is no global function"):
        linked(object_of(program(EXIT), functions=[handler], btf=types.btf()))


def test_code_of_either_byte_order_is_linked():
    spec = object_of(program(bytes.fromhex("8501000000000001") + bytes.fromhex("95" + "00" * 7)))
    spec.byteorder = "big"
    spec.functions["f"] = subprogram("f", 2, bytes.fromhex("95" + "00" * 7))
    code = linked(spec).code
    assert code.byteorder == "big"
    assert Code(bytes(code), "big").immediate(0) == 1
