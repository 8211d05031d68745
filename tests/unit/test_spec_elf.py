"""ELF files as compilers of all times write them, and as none should."""

import struct

import pytest

from bpfstream.abi.elf import SymbolBinding, SymbolKind, SymbolVisibility
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.abi.programs import ProgramType
from bpfstream.errors import ObjectError
from bpfstream.spec import ObjectSpec
from tests.support.elf_files import CODE, DATA, EXIT, NOBITS, ElfFile


def read(file: ElfFile) -> ObjectSpec:
    return ObjectSpec.from_bytes(file.to_bytes())


def legacy_map(order: str, *numbers: int) -> bytes:
    return struct.pack(f"{order}{len(numbers)}I", *numbers)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_both_byte_orders_are_read(byteorder):
    file = ElfFile(byteorder)
    file.program("main", "xdp")
    maps = file.section("maps", legacy_map(file.order, 1, 4, 8, 100, 1))
    file.symbol("counts", maps, 0, 20)
    file.section("version", struct.pack(f"{file.order}I", 0x60100))
    spec = read(file)
    assert spec.byteorder == byteorder
    assert spec.programs["main"].instructions == EXIT
    assert spec.maps["counts"].max_entries == 100
    assert spec.version == 0x60100


def test_a_machine_of_0_is_bpf_too():
    file = ElfFile()
    file.machine = 0
    file.program("main", "xdp")
    assert list(read(file).programs) == ["main"]


def test_an_unknown_section_is_kept_for_its_type_to_be_set():
    file = ElfFile()
    file.program("main", "xdp_filter")
    program = read(file).programs["main"]
    assert program.type is ProgramType.UNSPEC
    assert program.definition is None


# Functions -------------------------------------------------------------------------------------


def test_functions_without_type_and_size_reach_to_the_next_one():
    file = ElfFile()
    code = file.section("kprobe/x", EXIT * 3, flags=CODE)
    file.symbol("second", code, len(EXIT), kind=SymbolKind.NOTYPE)
    file.symbol("first", code, 0, kind=SymbolKind.NOTYPE)
    file.symbol("LBB0_1", code, 8, kind=SymbolKind.NOTYPE, binding=SymbolBinding.LOCAL)
    programs = read(file).programs
    assert list(programs) == ["first", "second"]
    assert programs["first"].instructions == EXIT
    assert programs["second"].instructions == EXIT * 2


def test_a_section_without_symbols_is_one_program():
    file = ElfFile()
    file.section("socket", EXIT, flags=CODE)
    assert read(file).programs["socket"].instructions == EXIT


def test_two_names_of_one_function_are_two_programs():
    file = ElfFile()
    code = file.program("name", "xdp")
    file.symbol("alias", code, 0, len(EXIT), kind=SymbolKind.FUNC)
    programs = read(file).programs
    assert list(programs) == ["name", "alias"]
    assert programs["name"].instructions == programs["alias"].instructions


def test_static_functions_of_one_name_are_both_there():
    file = ElfFile()
    code = file.section(".text", EXIT * 2, flags=CODE)
    for offset in (0, len(EXIT)):
        local = {"kind": SymbolKind.FUNC, "binding": SymbolBinding.LOCAL}
        file.symbol("helper", code, offset, len(EXIT), **local)
    functions = read(file).functions
    assert [function.section_offset for function in functions.values()] == [0, len(EXIT)]
    assert list(functions) == ["helper", "helper+0x10"]


def test_a_static_function_among_programs_is_refused():
    file = ElfFile()
    code = file.section("xdp", EXIT, flags=CODE)
    file.symbol("main", code, 0, 16, kind=SymbolKind.FUNC, binding=SymbolBinding.LOCAL)
    with pytest.raises(ObjectError, match="static function 'main'"):
        read(file)


@pytest.mark.parametrize(
    ("value", "size", "message"),
    [
        (0, 0, "has 0 bytes"),
        (0, 12, "has 12 bytes"),
        (4, 8, "not a number of 8-byte"),
        (8, 16, "ends beyond its section"),
        (1 << 63, 8, "ends beyond its section"),
        (0, (1 << 64) - 8, "ends beyond its section"),
    ],
)
def test_a_function_must_lie_in_its_section(value, size, message):
    file = ElfFile()
    code = file.section("xdp", EXIT, flags=CODE)
    file.symbol("main", code, value, size, kind=SymbolKind.FUNC)
    with pytest.raises(ObjectError, match=message) as caught:
        read(file)
    assert caught.value.section == "xdp"
    assert caught.value.offset == value


def test_functions_must_not_overlap():
    file = ElfFile()
    code = file.section("xdp", EXIT * 2, flags=CODE)
    file.symbol("first", code, 0, 24, kind=SymbolKind.FUNC)
    file.symbol("second", code, 16, 16, kind=SymbolKind.FUNC)
    with pytest.raises(ObjectError, match="'second' overlaps"):
        read(file)


def test_relocations_go_to_the_function_that_holds_them():
    file = ElfFile()
    code = file.section("xdp", EXIT * 2, flags=CODE)
    file.symbol("first", code, 0, 16, kind=SymbolKind.FUNC)
    file.symbol("second", code, 16, 16, kind=SymbolKind.FUNC)
    data = file.section(".data", bytes(8))
    hidden = file.symbol("number", data, 4, 4, visibility=SymbolVisibility.HIDDEN)
    file.relocate(code, 24, hidden)
    file.relocate(code, 8, hidden)
    programs = read(file).programs
    (relocation,) = programs["second"].relocations
    assert relocation.offset == 8
    assert (relocation.symbol.name, relocation.symbol.section) == ("number", ".data")
    assert relocation.symbol.is_hidden
    assert [each.offset for each in programs["first"].relocations] == [8]


@pytest.mark.parametrize("offset", [4, 16, 1 << 40])
def test_a_relocation_must_be_of_an_instruction(offset):
    file = ElfFile()
    code = file.program("main", "xdp")
    file.relocate(code, offset, 1)
    with pytest.raises(ObjectError, match="outside of any instruction"):
        read(file)


def test_a_relocation_must_name_a_symbol_that_exists():
    file = ElfFile()
    code = file.program("main", "xdp")
    file.relocate(code, 0, 77)
    with pytest.raises(ObjectError, match="symbol 77 of 2"):
        read(file)


@pytest.mark.parametrize("section", [0xFFF1, 0xFFF2, 40])
def test_a_relocation_to_no_section_is_refused(section):
    file = ElfFile()
    code = file.program("main", "xdp")
    file.relocate(code, 0, file.symbol("absolute", section))
    with pytest.raises(ObjectError, match="'absolute', which lies in no section"):
        read(file)


# Maps and data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [16, 20, 28, 36, 48])
def test_legacy_maps_have_the_size_that_their_symbols_tell(stride):
    file = ElfFile()
    maps = [(1, 4, 8, 100, 1), (2, 4, 16, 1, 0), (27, 0, 0, 4096, 0)]
    data = b"".join(legacy_map("<", *each)[:stride].ljust(stride, b"\xee") for each in maps)
    index = file.section("maps", data)
    for number in (2, 0, 1):
        file.symbol(f"map{number}", index, number * stride, stride)
    spec = read(file)
    assert list(spec.maps) == ["map0", "map1", "map2"]
    assert spec.maps["map2"].type is MapType.RINGBUF
    assert spec.maps["map1"].section_offset == stride
    assert spec.maps["map0"].flags == (MapFlags.NO_PREALLOC if stride >= 20 else MapFlags(0))
    assert spec.map_at("maps", 2 * stride) is spec.maps["map2"]


@pytest.mark.parametrize(
    ("size", "offsets", "message"),
    [
        (20, [], "no symbol names the maps"),
        (30, [0, 15], "can't hold 2 maps"),
        (41, [0, 20], "can't hold 2 maps"),
        (40, [0, 8], "doesn't begin at a multiple of 20"),
        (40, [0, 40], "doesn't begin at"),
    ],
)
def test_symbols_must_divide_the_legacy_maps(size, offsets, message):
    file = ElfFile()
    index = file.section("maps", bytes(size))
    for offset in offsets:
        file.symbol(f"at{offset}", index, offset)
    with pytest.raises(ObjectError, match=message):
        read(file)


def test_data_without_btf_has_contents_and_no_variables():
    file = ElfFile()
    file.section(".rodata.str1.1", b"text\0", flags=0)
    file.section(".data", bytes(4))
    file.section(".bss", type=NOBITS, size=64)
    file.section(".bss.empty", type=NOBITS, size=0)
    file.section(".database", bytes(4))
    spec = read(file)
    assert list(spec.maps) == [".rodata.str1.1", ".data", ".bss"]
    assert spec.variables == {}
    assert spec.maps[".rodata.str1.1"].contents == b"text\0"
    assert spec.maps[".rodata.str1.1"].flags == MapFlags.RDONLY_PROG
    assert spec.maps[".rodata.str1.1"].value_type_id == 0
    assert spec.maps[".bss"].contents is None
    assert spec.maps[".bss"].flags == MapFlags(0)


@pytest.mark.parametrize(
    ("file_name", "section", "kernel_name"),
    [
        ("execsnoop.bpf.o", ".rodata", "execsnoo.rodata"),
        ("execsnoop.bpf.o", ".bss", "execsnoo.bss"),
        ("a.o", ".data", "a.data"),
        ("two-words.o", ".bss", "two_word.bss"),
        ("a.o", ".rodata.filters_of_all", ".rodata.filters"),
        ("été.o", ".data", "__t__.data"),
    ],
)
def test_data_maps_are_called_in_the_kernel_as_libbpf_calls_them(file_name, section, kernel_name):
    file = ElfFile()
    kind = {"type": NOBITS, "size": 8} if section == ".bss" else {"data": bytes(8)}
    file.section(section, **kind)
    assert (
        ObjectSpec.from_bytes(file.to_bytes(), file_name).maps[section].kernel_name == kernel_name
    )


def test_a_section_larger_than_any_map_is_refused():
    file = ElfFile()
    file.section(".bss", type=NOBITS, size=1 << 31)
    with pytest.raises(ObjectError, match="a map holds 2147483647 at most"):
        read(file)


def test_gigabytes_of_zeros_take_no_memory():
    file = ElfFile()
    file.section(".bss", type=NOBITS, size=(1 << 31) - 1)
    spec = read(file)
    assert spec.maps[".bss"].value_size == (1 << 31) - 1
    assert spec.maps[".bss"].contents is None


def test_two_maps_of_one_name_are_refused():
    file = ElfFile()
    file.section(".data", bytes(4))
    file.section(".data", bytes(4))
    with pytest.raises(ObjectError, match="two maps have one name"):
        read(file)


def test_maps_need_btf():
    file = ElfFile()
    file.section(".maps", bytes(32))
    with pytest.raises(ObjectError, match=r"no BTF, which section \.maps needs") as caught:
        read(file)
    assert caught.value.hint == "compile with clang -g"


def test_an_undefined_symbol_needs_btf():
    file = ElfFile()
    file.symbol("jiffies", 0, kind=SymbolKind.NOTYPE)
    with pytest.raises(ObjectError, match="'jiffies' is not defined"):
        read(file)


def test_broken_btf_that_nothing_needs_is_left_out_with_a_warning():
    file = ElfFile()
    file.section(".BTF", b"nonsense")
    file.program("main", "xdp")
    spec = read(file)
    assert spec.btf is None
    assert len(spec.warnings) == 1
    assert "BTF left out" in spec.warnings[0]
    assert "warning: BTF left out" in str(spec)


# The container ---------------------------------------------------------------------------------


def header_with(offset: int, layout: str, value: int) -> bytes:
    file = ElfFile()
    file.program("main", "xdp")
    data = bytearray(file.to_bytes())
    struct.pack_into(f"<{layout}", data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (0, "I", 0, "not an ELF file"),
        (4, "B", 1, "not a 64-bit"),
        (5, "B", 3, "unknown byte order 3"),
        (16, "H", 3, "not a BPF object file"),
        (18, "H", 62, "machine EM_X86_64"),
        (40, "Q", (1 << 64) - 1, "beyond the end of the file"),
        (40, "Q", 1 << 40, "beyond the end of the file"),
        (58, "H", 40, "unknown layout"),
        (60, "H", 0, "section table is missing"),
        (60, "H", 0xFFFF, "beyond the end of the file"),
        (62, "H", 0xFFF0, "section 65520, of section names"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(offset, layout, value, message):
    with pytest.raises(ObjectError, match=message):
        ObjectSpec.from_bytes(header_with(offset, layout, value))


def test_sections_must_lie_in_the_file():
    file = ElfFile()
    file.section(".data", bytes(8), size=1 << 40)
    with pytest.raises(ObjectError, match="beyond the end of the file: 1099511627776 bytes"):
        read(file)


def test_sections_must_not_share_their_bytes():
    file = ElfFile()
    file.section(".data", bytes(4096))
    data = bytearray(file.to_bytes())
    table = struct.unpack_from("<Q", data, 40)[0]
    header = data[table + 64 : table + 128]
    data += header * 100
    struct.pack_into("<Q", data, 40, len(data))
    data += data[table : table + 4 * 64] + header * 100
    struct.pack_into("<H", data, 60, 104)
    with pytest.raises(ObjectError, match="sections overlap"):
        ObjectSpec.from_bytes(bytes(data))


def test_names_must_lie_in_their_string_table():
    file = ElfFile()
    file.program("main", "xdp")
    data = bytearray(file.to_bytes())
    table = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<I", data, table + 64, 1 << 20)
    with pytest.raises(ObjectError, match="name of section 1 lies outside"):
        ObjectSpec.from_bytes(bytes(data))


def test_there_must_be_a_symbol_table():
    file = ElfFile()
    data = bytearray(file.to_bytes())
    table = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<I", data, table + 64 + 4, 1)  # the type of .symtab
    with pytest.raises(ObjectError, match="0 symbol tables"):
        ObjectSpec.from_bytes(bytes(data))


def test_very_long_names_are_names():
    file = ElfFile()
    file.program("f" * 5000, "kprobe/" + "x" * 5000)
    (program,) = read(file).programs.values()
    assert len(program.name) == 5000
    assert program.attach_to == "x" * 5000


def test_a_license_ends_with_its_nul():
    file = ElfFile()
    file.section("license", b"GPL\0rest", flags=DATA)
    assert read(file).license == "GPL"


def test_a_version_has_4_bytes():
    file = ElfFile()
    file.section("version", bytes(8))
    with pytest.raises(ObjectError, match="a version has 4 bytes"):
        read(file)
