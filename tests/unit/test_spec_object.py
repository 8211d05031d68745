"""An object spec says what a compiled file says, and can be edited without a kernel."""

import pytest

from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.errors import ObjectError
from bpfstream.spec import ObjectSpec, Pinning
from tests.support.requirements import program_path


def spec_of(name: str) -> ObjectSpec:
    return ObjectSpec.from_file(program_path(name))


def test_the_file_gives_the_object_its_name_license_and_version():
    spec = spec_of("globals")
    assert spec.name == "globals"
    assert spec.path == program_path("globals")
    assert spec.byteorder == "little"
    assert spec.license == "Dual MIT/GPL"
    assert spec.version == 0x50A00
    assert spec_of("calls").version is None


def test_several_programs_share_a_section():
    spec = spec_of("calls")
    assert list(spec.programs) == ["on_enter", "on_exit", "for_each", "loop"]
    on_exit, for_each = spec.programs["on_exit"], spec.programs["for_each"]
    assert on_exit.section == for_each.section == "raw_tp/sys_exit"
    assert on_exit.section_offset + len(on_exit.instructions) == for_each.section_offset
    assert on_exit.type is ProgramType.RAW_TRACEPOINT
    assert on_exit.attach_to == "sys_exit"


def test_what_is_in_text_are_functions_not_programs():
    functions = spec_of("calls").functions
    assert {"twice", "add_three", "deep"} <= functions.keys()
    assert all(function.section == ".text" for function in functions.values())


def test_relocations_count_from_the_start_of_their_function():
    loop = spec_of("calls").programs["loop"]
    assert loop.section_offset > 0
    assert {relocation.symbol.name for relocation in loop.relocations} >= {"turns"}
    for relocation in loop.relocations:
        opcode = loop.instructions[relocation.offset]
        assert opcode in (0x18, 0x85)  # a wide load or a call


def test_a_question_mark_leaves_a_program_out_by_default():
    programs = spec_of("core").programs
    assert not programs["unguarded"].autoload
    assert programs["unguarded"].type is ProgramType.RAW_TRACEPOINT
    assert programs["observe"].autoload


def test_the_attach_type_comes_with_the_section():
    on_exit = spec_of("core").programs["on_exit"]
    assert on_exit.attach_type is AttachType.TRACE_RAW_TP
    assert on_exit.definition is not None
    assert on_exit.definition.needs_btf_target


def test_core_relocations_come_along():
    spec = spec_of("core")
    assert spec.btf is not None
    assert spec.btf_ext is not None
    assert spec.btf_ext.relocations


def test_maps_come_with_sizes_types_and_flags():
    maps = spec_of("maps").maps
    typed = maps["typed"]
    assert (typed.type, typed.key_size, typed.value_size) == (MapType.HASH, 8, 16)
    assert typed.key_type_id
    assert typed.value_type_id
    assert maps["sized"].flags == MapFlags.NO_PREALLOC
    assert maps["sized"].key_type_id == 0
    assert maps["unsized_array"].max_entries == 0
    assert maps["pinned"].pinning is Pinning.BY_NAME
    assert maps["on_node"].flags == MapFlags.NUMA_NODE


def test_maps_of_maps_say_what_is_in_them():
    maps = spec_of("maps").maps
    outer = maps["outer_array"]
    assert outer.inner is not None
    assert (outer.inner.type, outer.inner.value_size) == (MapType.ARRAY, 8)
    assert outer.inner.name == "outer_array.inner"
    assert dict(outer.initial_slots) == {0: "first_inner", 2: "second_inner"}
    assert maps["stages"].initial_slots == ((1, "second_stage"),)
    assert maps["outer_hash"].initial_slots == ()


def test_maps_are_found_by_the_place_that_a_symbol_names():
    spec = spec_of("maps")
    queue = spec.maps["queue"]
    assert spec.map_at(".maps", queue.section_offset) is queue
    assert spec.map_at(".maps", queue.section_offset + 1) is None


def test_data_sections_are_maps():
    spec = spec_of("globals")
    constants = spec.maps[".rodata"]
    assert constants.type is MapType.ARRAY
    assert (constants.key_size, constants.max_entries) == (4, 1)
    assert constants.flags == MapFlags.RDONLY_PROG | MapFlags.MMAPABLE
    assert constants.is_data
    assert constants.is_read_only
    assert constants.kernel_name == "globals.rodata"
    assert spec.maps[".rodata.tuning"].kernel_name == ".rodata.tuning"
    assert spec.data_map(".rodata") is constants
    assert not spec.maps[".data"].is_read_only


def test_zeros_are_not_stored():
    spec = spec_of("globals")
    assert spec.maps[".bss"].contents is None
    assert spec.variables["hits"].value == 0
    spec.variables["hits"].value = 7
    contents = spec.maps[".bss"].contents
    assert contents is not None
    assert len(contents) == spec.maps[".bss"].value_size


def test_legacy_maps_are_read_without_btf_for_them():
    maps = spec_of("legacy").maps
    assert maps["counts"].type is MapType.HASH
    assert maps["counts"].max_entries == 16
    assert maps["counts"].flags == MapFlags.NO_PREALLOC
    assert maps["totals"].section == "maps"


def test_edits_of_a_copy_do_not_reach_the_original():
    spec = spec_of("globals")
    copy = spec.copy()
    copy.variables["min_us"].value = 1
    copy.maps[".data"].max_entries = 99
    copy.programs["sum"].autoload = False
    del copy.maps[".bss"]
    assert spec.variables["min_us"].value == 100
    assert spec.maps[".data"].max_entries == 1
    assert spec.programs["sum"].autoload
    assert ".bss" in spec.maps
    assert copy.variables["min_us"].value == 1


def test_edits_of_an_inner_map_stay_in_their_copy():
    spec = spec_of("maps")
    inner = spec.copy().maps["outer_array"].inner
    assert inner is not None
    inner.max_entries = 99
    original = spec.maps["outer_array"].inner
    assert original is not None
    assert original.max_entries == 1


def test_a_spec_prints_as_a_summary():
    text = str(spec_of("globals"))
    assert text.startswith("object globals (little-endian, license Dual MIT/GPL)")
    assert "program sum: section raw_tp/sys_enter, RAW_TRACEPOINT" in text
    assert "map .bss: ARRAY" in text
    assert "min_us = 100 (in .rodata, constant)" in text


def test_reading_from_bytes_names_the_object():
    data = program_path("globals").read_bytes()
    spec = ObjectSpec.from_bytes(data, "a_name_longer_than_the_kernel_takes.bpf.o")
    assert spec.path is None
    assert spec.name == "a_name_longer_than_the_kernel_takes"
    assert spec.maps[".rodata"].kernel_name == "a_name_l.rodata"


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ObjectError, match=r"nothing\.bpf\.o: the file can't be read: No such"):
        ObjectSpec.from_file(tmp_path / "nothing.bpf.o")


def test_a_folder_is_no_object(tmp_path):
    with pytest.raises(ObjectError, match="Is a directory"):
        ObjectSpec.from_file(tmp_path)


def test_a_broken_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "broken.bpf.o"
    path.write_bytes(b"\x7fELF\x02\x01\x01")
    with pytest.raises(ObjectError, match="cut off") as caught:
        ObjectSpec.from_file(path)
    assert str(path) in str(caught.value)


def test_a_program_for_this_machine_is_no_bpf_object():
    with pytest.raises(ObjectError, match="not a BPF object"):
        ObjectSpec.from_file("/proc/self/exe")
