"""Finding the file offset of a function in programs and libraries, well-formed and not."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpfstream.errors import ObjectError
from bpfstream.links.elf_image import ElfImage
from bpfstream.links.executable import find_file, find_function, function_names
from tests.support.requirements import require_program

LIBRARY = """
int exported(int x) { return x + 1; }
__attribute__((weak)) int weak_one(int x) { return x + 2; }
__attribute__((alias("exported"))) int same_place(int x);
static int twin(int x) { return x * 3; }
int (*first_twin)(int) = twin;
int old_api(int x) { return x - 1; }
int new_api(int x) { return x - 2; }
__asm__(".symver old_api, api@V1");
__asm__(".symver new_api, api@@V2");
static int (*pick(void))(int) { return exported; }
int chosen_at_run_time(int x) __attribute__((ifunc("pick")));
extern int puts(const char *);
int call_puts(void) { return puts("x"); }
"""
TWIN = "static int twin(int x) { return x * 5; } int (*second_twin)(int) = twin;"
VERSIONS = "V1 { local: nothing; }; V2 { local: nothing_either; } V1;"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A shared library with symbols of every sort."""
    compiler = require_program("cc", package="gcc")
    folder = tmp_path_factory.mktemp("library")
    for name, text in (("a.c", LIBRARY), ("b.c", TWIN), ("versions", VERSIONS)):
        (folder / name).write_text(text)
    path = folder / "libsample.so.1"
    build = ["-shared", "-fPIC", "-O0", "-Wl,--version-script=versions", "-Wl,--build-id"]
    subprocess.run([compiler, *build, "-o", path, "a.c", "b.c"], cwd=folder, check=True)
    return path


def code_at(path, symbol, tool="nm"):
    """The address that the binutils give a symbol; for such a library it is the offset too."""
    output = subprocess.run(
        [require_program(tool, package="binutils"), path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {int(line.split()[0], 16) for line in output.splitlines() if line.endswith(f" {symbol}")}


def offset_of(path, symbol):
    with ElfImage(path) as image:
        return find_function(image, symbol)


def test_an_exported_function_is_found_where_the_linker_put_it(library):
    with ElfImage(library) as image:
        assert {find_function(image, "exported")} == {
            image.file_offset(address) for address in code_at(library, "exported")
        }


def test_a_weak_function_will_do_where_there_is_no_other(library):
    assert offset_of(library, "weak_one") is not None


def test_two_names_of_one_place_are_no_ambiguity(library):
    assert offset_of(library, "same_place") == offset_of(library, "exported")


def test_an_unknown_function_is_none(library):
    assert offset_of(library, "nothing_of_the_kind") is None
    assert offset_of(library, "") is None


def test_functions_of_one_name_at_two_places_are_ambiguous(library):
    with pytest.raises(ObjectError, match="several functions 'twin'"):
        offset_of(library, "twin")


def test_a_version_tells_functions_of_one_name_apart(library):
    with pytest.raises(ObjectError, match=r"api@V1 at .*api@V2 at|api@V2 at .*api@V1 at"):
        offset_of(library, "api")
    assert offset_of(library, "api@V1") == offset_of(library, "old_api")
    assert offset_of(library, "api@@V2") == offset_of(library, "new_api")
    assert offset_of(library, "api@V3") is None


def test_a_stripped_library_keeps_its_versions(library, tmp_path):
    stripped = tmp_path / "stripped.so"
    strip = require_program("strip", package="binutils")
    subprocess.run([strip, "-o", stripped, library], check=True)
    assert offset_of(stripped, "api@V1") == offset_of(library, "api@V1")
    assert offset_of(stripped, "twin") is None


def test_an_indirect_function_is_refused(library):
    with pytest.raises(ObjectError, match="picked at run"):
        offset_of(library, "chosen_at_run_time")


def test_an_imported_function_is_refused(library):
    with pytest.raises(ObjectError, match="only imports 'puts'"):
        offset_of(library, "puts")


@pytest.mark.parametrize("folder", [".", ".debug"])
def test_a_stripped_function_is_found_by_its_separate_debug_file(library, tmp_path, folder):
    objcopy = require_program("objcopy", package="binutils")
    (tmp_path / folder).mkdir(exist_ok=True)
    stripped, debug = tmp_path / "lib.so", tmp_path / folder / "lib.so.debug"
    subprocess.run([objcopy, "--only-keep-debug", library, debug], check=True)
    linked = f"--add-gnu-debuglink={debug}"
    subprocess.run([objcopy, "--strip-all", linked, library, stripped], check=True)
    assert offset_of(stripped, "pick") == offset_of(library, "pick") is not None


def test_the_debug_file_of_another_build_is_not_believed(library, tmp_path):
    objcopy = require_program("objcopy", package="binutils")
    stripped, debug = tmp_path / "lib.so", tmp_path / "lib.so.debug"
    shutil.copy(library, debug)
    linked = f"--add-gnu-debuglink={debug}"
    subprocess.run([objcopy, "--strip-all", linked, library, stripped], check=True)
    with ElfImage(library) as image:
        build_id = image.build_id
    other = bytes(len(build_id))
    debug.write_bytes(debug.read_bytes().replace(build_id, other))
    assert offset_of(stripped, "pick") is None


def test_names_are_those_of_functions_that_are_defined(library):
    with ElfImage(library) as image:
        names = set(function_names(image))
    assert {"exported", "weak_one", "twin"} <= names
    assert not names & {"puts", "first_twin"}


def test_a_position_dependent_program_is_searched_too(tmp_path):
    compiler = require_program("cc", package="gcc")
    source = tmp_path / "main.c"
    source.write_text("int helper(void) { return 1; } int main(void) { return helper(); }")
    subprocess.run([compiler, "-no-pie", "-o", tmp_path / "main", source], check=True)
    offset = offset_of(tmp_path / "main", "helper")
    (address,) = code_at(tmp_path / "main", "helper")
    assert offset not in (None, address)
    size = 4
    with ElfImage(tmp_path / "main") as image:
        assert image.read(offset, size, "code") == (tmp_path / "main").read_bytes()[offset:][:size]


# Files that are no good -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"#!/bin/sh\n" + bytes(64), "no ELF file"),
        (b"\x7fELF", "no ELF file"),
        (b"\x7fELF\x03\x01" + bytes(64), "no known ELF class"),
        (b"\x7fELF\x02\x01" + bytes(10), "ends beyond"),
        (b"\x7fELF\x02\x01" + bytes(64), "no program or shared library"),
    ],
)
def test_a_file_that_is_no_program_says_so(tmp_path, data, message):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ObjectError, match=message):
        ElfImage(path)


def test_an_object_file_is_no_program(tmp_path):
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
    (tmp_path / "a.o").write_bytes(header)
    with pytest.raises(ObjectError, match="no program or shared library"):
        ElfImage(tmp_path / "a.o")


def all_questions(path):
    """Everything that can be asked of a file; only ObjectError may come of it."""
    try:
        with ElfImage(path) as image:
            list(function_names(image))
            for symbol in ("exported", "api", "api@V1", "twin", "chosen_at_run_time", "none"):
                try:
                    find_function(image, symbol)
                except ObjectError:
                    continue
    except ObjectError:
        pass


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_library_gives_an_error_of_ours(library, tmp_path, data):
    content = bytearray(library.read_bytes())
    damages = st.lists(
        st.tuples(
            st.integers(0, len(content) - 8),
            st.sampled_from([b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\x01", bytes(8)]),
        ),
        max_size=8,
    )
    header_damages = st.lists(st.tuples(st.integers(16, 63), st.binary(min_size=1, max_size=2)))
    for place, value in data.draw(damages) + data.draw(header_damages):
        content[place : place + len(value)] = value
    del content[data.draw(st.integers(64, len(content))) :]
    path = tmp_path / "damaged.so"
    path.write_bytes(content)
    all_questions(path)


# Bare names -----------------------------------------------------------------------------------


def test_a_name_with_a_slash_is_a_path():
    assert find_file("/nowhere/at-all") == Path("/nowhere/at-all")
    assert find_file("./here") == Path("./here")


def test_a_program_is_looked_for_in_path(monkeypatch, tmp_path):
    program = tmp_path / "a-tool"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"/nowhere::{tmp_path}")
    assert find_file("a-tool") == program
    assert find_file("no-such-tool-anywhere") is None


def test_a_file_that_can_not_be_run_is_no_program(monkeypatch, tmp_path):
    (tmp_path / "notes").touch(mode=0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_file("notes") is None


@pytest.mark.parametrize("name", ["libsample.so", "libsample.so.1"])
def test_a_library_is_looked_for_in_the_library_path(monkeypatch, tmp_path, name):
    (tmp_path / name).touch(mode=0o644)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert find_file(name) == tmp_path / name


def test_the_system_library_is_found_without_any_setting(monkeypatch):
    if not sys.platform.startswith("linux") or find_file("libc.so.6") is None:
        pytest.skip("needs a C library libc.so.6 in a system folder")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert find_file("libc.so.6").name == "libc.so.6"
