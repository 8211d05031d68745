"""Global variables get and take Python values, as their types say."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.abi.btf import Linkage
from bpfstream.abi.elf import SymbolBinding
from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    Array,
    DataSection,
    DataSectionEntry,
    Enum64,
    Enumerator,
    Float,
    FunctionPrototype,
    Int,
    Member,
    Pointer,
    Struct,
    Type,
    Union,
    Variable,
)
from bpfstream.errors import ObjectError
from bpfstream.spec import MapSpec, ObjectSpec, VariableSpec
from tests.support.elf_files import ElfFile
from tests.support.requirements import program_path


@pytest.fixture
def variables() -> dict[str, VariableSpec]:
    return ObjectSpec.from_file(program_path("globals")).variables


def variable_of(
    *types: Type, data: bytes | None = None, byteorder: str = "little", size: int | None = None
) -> VariableSpec:
    """A variable `x` of the last of the types, which have the ids 1, 2, 3..."""
    builder = BtfBuilder()
    for each in types:
        builder.add(each)
    btf = Btf.from_bytes(builder.to_bytes(byteorder))  # type: ignore[arg-type]
    if size is None:
        size = btf.size_of(len(types)) if data is None else len(data)
    section = MapSpec(name=".data", type=2, value_size=size, contents=data, section=".data")
    return VariableSpec("x", section, 0, size, len(types), btf)


CHAR = Int("char", 1, 8, signed=True)
BYTE = Int("unsigned char", 1, 8)
U32 = Int("unsigned int", 4, 32)
S16 = Int("short", 2, 16, signed=True)


def test_compiled_values_are_read(variables):
    assert variables["enabled"].value is True
    assert variables["tiny"].value == 1
    assert variables["small"].value == -2
    assert variables["large"].value == -4_000_000_000
    assert variables["mask"].value == 0xFEDCBA9876543210
    assert variables["mode"].value == 7
    assert variables["prefix"].value == "hello"
    assert variables["ports"].value == (22, 80, 443, 0)
    assert variables["limits"].value == {"low": 5, "high": -6, "name": "limit"}


def test_constants_can_be_told_from_variables(variables):
    assert variables["min_us"].is_read_only
    assert not variables["counter"].is_read_only
    assert variables["private_hits"].is_static
    assert not variables["hits"].is_static


def test_a_variable_names_its_map_and_its_type(variables):
    assert variables["threshold"].map == ".rodata.tuning"
    assert "enum mode mode" in repr(variables["mode"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", False),
        ("tiny", 255),
        ("small", -32768),
        ("min_us", 500),
        ("large", 1 << 40),
        ("mask", (1 << 64) - 1),
        ("mode", 0),
        ("prefix", "a different one"),
        ("ports", (1, 2, 3, 4)),
        ("limits", {"low": 1, "high": -1, "name": "other"}),
        ("hits", 77),
        ("table", (9, 8, 7)),
        ("label", ""),
    ],
)
def test_what_is_set_is_read_again_and_nothing_else_changes(variables, name, value):
    before = {key: each.value for key, each in variables.items()}
    variables[name].value = value
    assert {key: each.value for key, each in variables.items()} == before | {name: value}


def test_a_list_is_taken_for_an_array(variables):
    variables["ports"].value = [4, 3, 2, 1]
    assert variables["ports"].value == (4, 3, 2, 1)


def test_members_left_out_stay_the_same(variables):
    variables["limits"].value = {"high": 100}
    assert variables["limits"].value == {"low": 5, "high": 100, "name": "limit"}


def test_an_enumerator_is_taken_by_name(variables):
    variables["mode"].value = "LOUD"
    assert variables["mode"].value == 7


def test_a_negative_enumerator_is_taken_from_compilers_that_called_all_enums_unsigned(variables):
    variables["mode"].value = -1
    assert variables["mode"].raw == b"\xff" * 4


def test_raw_bytes_take_exactly_the_size(variables):
    variables["min_us"].raw = b"\x01\x00\x00\x00"
    assert variables["min_us"].value == 1
    with pytest.raises(ObjectError, match="'min_us' has 4 bytes, not 3"):
        variables["min_us"].raw = b"abc"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tiny", 256, r"variable 'tiny': 256 doesn't fit .*__u8.*: it takes 0 to 255"),
        ("tiny", -1, "it takes 0 to 255"),
        ("small", 32768, "it takes -32768 to 32767"),
        ("min_us", 1 << 32, "it takes 0 to 4294967295"),
        ("min_us", "5", "takes an int, not str"),
        ("min_us", 5.0, "takes an int, not float"),
        ("min_us", None, "takes an int, not NoneType"),
        ("enabled", 2, "it takes 0 to 1"),
        ("mode", "SHRILL", "one of QUIET, LOUD, NEGATIVE"),
        ("prefix", "sixteen letters!", "at most 15 bytes"),
        ("prefix", b"seventeen letters", "at most 16 bytes"),
        ("prefix", "nul\0inside", "without NUL"),
        ("prefix", 5, "takes a str, not int"),
        ("ports", (1, 2, 3), "it takes 4 elements, not 3"),
        ("ports", 5, "takes a tuple or list, not int"),
        ("ports", (1, 2, 3, -1), r"'ports'\[3\]: -1 doesn't fit"),
        ("limits", 5, "takes a dict by member name"),
        ("limits", {"middle": 1}, r"no member 'middle' \(it has low, high, name\)"),
        ("limits", {"high": 1 << 63}, r"'limits'\.high: 9223372036854775808 doesn't fit"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(variables, name, value, message):
    before = variables[name].raw
    with pytest.raises(ObjectError, match=message):
        variables[name].value = value
    assert variables[name].raw == before


@pytest.mark.parametrize(
    ("types", "data", "value"),
    [
        ((Float("double", 8),), struct.pack("<d", 1.5), 1.5),
        ((Float("float", 4),), struct.pack("<f", -0.25), -0.25),
        ((U32, Pointer(1)), struct.pack("<Q", 0xFFFF888000000000), 0xFFFF888000000000),
        ((Int("__int128", 16, 128, signed=True),), b"\xff" * 16, -1),
        ((Enum64("big", 8, True, (Enumerator("MINUS", -1),)),), b"\xff" * 8, -1),
        ((BYTE, Array(1, 1, 4)), b"\1\2\3\4", (1, 2, 3, 4)),
        ((CHAR, Array(1, 1, 4)), b"full", "full"),
        ((CHAR, Array(1, 1, 4)), b"a\0bc", "a"),
        ((CHAR, Array(1, 1, 2), Array(2, 1, 2)), b"a\0bc", ("a", "bc")),
        ((S16, Array(1, 1, 0)), b"", ()),
        ((Struct("empty", 0), Array(1, 1, 1 << 31)), b"", ()),
    ],
)
def test_every_kind_of_value_is_read(types, data, value):
    assert variable_of(*types, data=data).value == value


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_members_of_anonymous_members_and_bitfields_are_members(byteorder):
    # struct { u32 a; union { u32 b; s16 c; }; u32 d:3, :5, e:17; s16 f:4; }
    types = (
        U32,
        S16,
        Union("", 4, (Member("b", 1, 0), Member("c", 2, 0))),
        Struct(
            "",
            16,
            (
                Member("a", 1, 0),
                Member("", 3, 32),
                Member("d", 1, 64, 3),
                Member("", 1, 67, 5),
                Member("e", 1, 72, 17),
                Member("f", 2, 96, 4),
            ),
        ),
    )
    variable = variable_of(*types, byteorder=byteorder)
    variable.value = {"a": 1, "b": 0x10002, "d": 5, "e": 0x1ABCD, "f": -8}
    low = 2 if byteorder == "little" else 1
    assert variable.value == {"a": 1, "b": 0x10002, "c": low, "d": 5, "e": 0x1ABCD, "f": -8}
    if byteorder == "little":
        assert int.from_bytes(variable.raw[8:12], "little") == 5 | 0x1ABCD << 8
    else:
        assert int.from_bytes(variable.raw[8:12], "big") == 5 << 29 | 0x1ABCD << 7
    with pytest.raises(ObjectError, match=r"'x'\.f: 8 doesn't fit short: it takes -8 to 7"):
        variable.value = {"f": 8}


def test_a_function_has_no_value():
    variable = variable_of(FunctionPrototype(0), Array(1, 1, 1), size=4)
    with pytest.raises(ObjectError):
        _ = variable.value


def test_a_type_larger_than_its_variable_is_refused():
    variable = variable_of(U32, Array(1, 1, 1 << 30), data=bytes(16))
    with pytest.raises(ObjectError, match="has 16 bytes, too few for its type"):
        _ = variable.value


def test_a_variable_outside_of_its_section_is_refused():
    variable = variable_of(U32, data=b"ab", size=4)
    with pytest.raises(ObjectError, match="lies outside of its section"):
        _ = variable.value


def test_a_huge_value_is_for_raw_access_only():
    variable = variable_of(BYTE, Array(1, 1, 1 << 30))
    with pytest.raises(ObjectError, match="too large to be taken apart") as caught:
        _ = variable.value
    assert caught.value.hint == "use its raw bytes"


def test_unions_of_unions_do_not_explode():
    types: list[Type] = [BYTE]
    for depth in range(1, 12):
        members = tuple(Member(f"m{i}", depth, 0) for i in range(40))
        types.append(Union(f"u{depth}", 1, members))
    with pytest.raises(ObjectError, match="too large to be taken apart"):
        _ = variable_of(*types, data=b"\1").value


def test_static_variables_of_one_name_are_told_apart_by_their_section():
    builder = BtfBuilder()
    builder.add(U32)
    file = ElfFile()
    for section, linkage in ((".data", Linkage.STATIC), (".bss.x", Linkage.GLOBAL)):
        entry = DataSectionEntry(builder.add(Variable("count", 1, linkage)), 0, 4)
        builder.add(DataSection(section, 4, (entry,)))
    data = file.section(".data", bytes(4))
    file.symbol("count", data, 0, 4, binding=SymbolBinding.LOCAL)
    zeros = file.section(".bss.x", type=8, size=4)
    file.symbol("count", zeros, 0, 4)
    file.section(".BTF", builder.to_bytes("little"))
    variables = ObjectSpec.from_bytes(file.to_bytes()).variables
    assert variables["count"].map == ".bss.x"
    assert variables[".data/count"].map == ".data"


SCALARS: list[tuple[Int | Float, Any]] = [
    (
        Int(f"s{bits}", bits // 8, bits, signed=True),
        st.integers(-(1 << bits - 1), (1 << bits - 1) - 1),
    )
    for bits in (8, 16, 32, 64)
]
SCALARS += [
    (Int(f"u{bits}", bits // 8, bits), st.integers(0, (1 << bits) - 1)) for bits in (8, 16, 32, 64)
]
SCALARS += [
    (Int("_Bool", 1, 8, boolean=True), st.booleans()),
    (Float("double", 8), st.floats(allow_nan=False)),
    (Float("float", 4), st.floats(width=32, allow_nan=False)),
]


@given(st.data(), st.sampled_from(["little", "big"]))
def test_any_value_that_fits_comes_back(data, byteorder):
    chosen = data.draw(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=6))
    members = []
    offset = 0
    for number, (scalar, _) in enumerate(chosen):
        members.append(Member(f"m{number}", number + 1, offset * 8))
        offset += scalar.size
    whole = Struct("whole", offset, tuple(members))
    variable = variable_of(*(scalar for scalar, _ in chosen), whole, byteorder=byteorder)
    value = {f"m{number}": data.draw(values) for number, (_, values) in enumerate(chosen)}
    variable.value = value
    assert variable.value == value
