"""Loading objects: what becomes of maps and programs, and of failures half-way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

import bpfstream
from bpfstream.abi.btf import Kind
from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import ProgramType
from bpfstream.errors import LinkingError, ObjectError, VerifierError, errno_name
from bpfstream.kernel.btf import kernel_btf
from bpfstream.kernel.features import Feature
from bpfstream.live import load_object
from bpfstream.records import codec
from bpfstream.spec import ObjectSpec, Pinning
from tests.support.requirements import program_path, require


def spec_of(name: str, *programs: str) -> ObjectSpec:
    """A test program's spec, with only these of its programs to be loaded."""
    spec = ObjectSpec.from_file(program_path(name))
    for program in spec.programs.values():
        program.autoload = program.name in programs
    return spec


async def test_from_a_path_from_bytes_and_from_a_spec() -> None:
    path = program_path("globals")
    for source in (path, str(path), path.read_bytes(), ObjectSpec.from_file(path)):
        async with bpfstream.load(source) as obj:
            assert list(obj.programs) == ["sum"]
            assert obj.programs["sum"].info().name == "sum"


async def test_the_program_sees_edited_variables() -> None:
    spec = spec_of("globals", "sum")
    spec.variables["min_us"].value = 999
    spec.variables["counter"].value = 41
    async with bpfstream.load(spec) as obj:
        contents = obj.maps[".rodata"][0]
        variable = spec.variables["min_us"]
        assert contents[variable.offset : variable.offset + 4] == (999).to_bytes(4, "little")
        with obj.attach():
            os.getpid()
            os.sched_yield()
        data = obj.maps[".data"][0]
        counter = spec.variables["counter"]
        assert int.from_bytes(data[counter.offset : counter.offset + 8], "little") > 41


async def test_constants_are_frozen() -> None:
    async with bpfstream.load(spec_of("globals", "sum")) as obj:
        with pytest.raises(bpfstream.KernelError) as caught:
            obj.maps[".rodata"][0] = obj.maps[".rodata"][0]
        assert "EPERM" in str(caught.value)


async def test_programs_can_be_left_out() -> None:
    async with bpfstream.load(spec_of("rejected", "accepted")) as obj:
        assert list(obj.programs) == ["accepted"]


def test_a_refusal_is_one_line_with_the_log_at_hand() -> None:
    with pytest.raises(VerifierError) as caught:
        load_object(spec_of("rejected", "unchecked_pointer"))
    error = caught.value
    assert error.program == "unchecked_pointer"
    assert errno_name(error.errno) == "EACCES"
    assert "map_value_or_null" in error.summary
    assert error.source.startswith("rejected.bpf.c:21: total += *value")
    assert "\n" not in str(error)
    assert "processed" in error.log
    assert error.summary in error.log


def test_a_failed_load_leaves_nothing_behind() -> None:
    """The maps of the object, and the programs before the refused one, are gone (see conftest)."""
    with pytest.raises(VerifierError):
        load_object(spec_of("rejected", "accepted", "outside_the_value"))


def test_an_unknown_section_asks_for_a_type() -> None:
    spec = spec_of("globals", "sum")
    spec.programs["sum"].type = ProgramType.UNSPEC
    with pytest.raises(ObjectError, match="autoload = False"):
        load_object(spec)


def test_pinning_is_refused_by_name_and_can_be_declined() -> None:
    spec = spec_of("maps")
    with pytest.raises(ObjectError, match="'pinned' asks to be pinned"):
        load_object(spec)
    spec.maps["pinned"].pinning = Pinning.NONE
    spec.maps["unsized_array"].max_entries = 8
    with load_object(spec) as obj:
        assert len(obj.maps["unsized_array"]) == 8


def test_a_map_that_the_kernel_refuses_is_named() -> None:
    spec = spec_of("maps")
    spec.maps["pinned"].pinning = Pinning.NONE
    with pytest.raises(bpfstream.KernelError, match="create map 'unsized_array'"):
        load_object(spec)


def test_a_target_that_the_kernel_lacks_is_named() -> None:
    spec = ObjectSpec.from_file(program_path("../../examples/exec/exec"))
    for program in spec.programs.values():
        program.attach_to = "no_such_tracepoint"
    with pytest.raises(LinkingError, match="no_such_tracepoint"):
        load_object(spec)


async def test_closing_is_idempotent_and_ends_all_that_is_live() -> None:
    require(Feature.RINGBUF)
    async with bpfstream.load(spec_of("ring_producer", "on_syscall")) as obj:
        links = obj.attach()
        events = obj.events("events")
        program, ring = obj.programs["on_syscall"], obj.maps["events"]
        (link,) = links
    obj.close()
    assert link.is_detached
    assert events.is_closed
    for use in (
        lambda: obj.attach(),
        lambda: obj.events("events"),
        lambda: program.fd,
        lambda: program.attach(),
        lambda: ring.info(),
        lambda: link.info(),
    ):
        with pytest.raises(trio.ClosedResourceError):
            use()


async def test_a_cancelled_load_is_undone() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with bpfstream.load(program_path("globals")):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_the_kernel_learns_functions_and_source_lines() -> None:
    """So that bpftool and others show them."""
    require(Feature.BTF_FUNC)
    async with bpfstream.load(spec_of("calls", "on_enter", "on_exit")) as obj:
        infos = [program.info() for program in obj.programs.values()]
        assert all(info.btf_id and info.line_info_count for info in infos)
        assert max(info.function_info_count for info in infos) > 1


async def test_co_re_finds_the_running_kernels_fields() -> None:
    spec = spec_of("core", "observe")
    spec.variables["target_pid"].value = os.getpid()
    async with bpfstream.load(spec) as obj:
        with obj.attach():
            os.sched_yield()
        seen = codec(spec.btf, spec.variables["seen"].type_id).decode(
            variable_bytes(spec, obj, "seen")
        )
    assert seen.pid in (os.getpid(), threading.get_native_id())
    assert seen.parent == os.getppid()
    assert seen.comm == thread_name()
    assert seen.comm_size == 16
    assert seen.has_state
    assert seen.has_task_struct
    assert not seen.has_imaginary_field
    assert not seen.has_imaginary_type
    assert seen.has_hash_type
    assert seen.hash_type == MapType.HASH
    assert not seen.has_missing_value
    assert seen.task_size == kernel_btf().size_of(kernel_btf().find("task_struct", Kind.STRUCT))


def test_a_field_that_the_kernel_lacks_is_named_where_the_verifier_reaches_it() -> None:
    unguarded = "unguarded"
    with pytest.raises(VerifierError) as caught:
        load_object(spec_of("core", unguarded))
    assert "a_field_that_no_kernel_has" in caught.value.summary
    assert caught.value.source.startswith("core.bpf.c:")


def variable_bytes(spec: ObjectSpec, obj: bpfstream.Object, name: str) -> bytes:
    variable = spec.variables[name]
    section: bytes = obj.maps[variable.map][0]
    return section[variable.offset : variable.offset + variable.size]


def thread_name() -> str:
    return Path("/proc/self/comm").read_text().strip()


async def test_attaching_all_leaves_out_what_has_no_hook() -> None:
    require(Feature.SYSCALL_PROGRAMS)
    async with bpfstream.load(spec_of("ring_producer", "produce", "on_syscall")) as obj:
        with obj.attach() as links:
            assert [link.program for link in links] == ["on_syscall"]
