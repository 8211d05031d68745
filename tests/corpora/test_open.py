"""Objects that nobody here wrote open, and say the same to us as to libbpf."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from bpfstream.abi.maps import MapType
from bpfstream.spec import MapSpec, ObjectSpec, Pinning
from tests.corpora.extract import OTHER_PACKAGES, package_objects
from tests.corpora.libbpf import LibBpf, OpenedMap

TESTS = Path(__file__).parents[1]
OWN_OBJECTS = sorted(TESTS.glob("programs/*.bpf.o"))


@cache
def libbpf_tools() -> dict[str, bytes]:
    objects = dict(package_objects("libbpf-tools"))
    if not objects:
        pytest.skip("needs the Debian package libbpf-tools")
    return objects


@cache
def libbpf() -> LibBpf:
    library = LibBpf.find()
    if library is None:
        pytest.skip("needs libbpf 1.0 or newer (Debian package libbpf-dev)")
    return library


def all_objects() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in OWN_OBJECTS} | libbpf_tools()


def assert_same_map(ours: MapSpec, theirs: OpenedMap, where: str) -> None:
    # libbpf knows a .rodata by the name that the kernel gets, and a .rodata.x by its section's.
    assert theirs.name in (ours.name, ours.kernel_name), where
    assert ours.type == theirs.type, where
    assert ours.max_entries == theirs.max_entries, where
    assert ours.flags == theirs.flags, where
    assert ours.numa_node == theirs.numa_node, where
    assert ours.map_extra == theirs.map_extra, where
    assert ours.key_size == theirs.key_size, where
    assert ours.value_size == theirs.value_size, where
    assert ours.key_type_id == theirs.key_type_id, where
    assert ours.value_type_id == theirs.value_type_id, where
    assert (ours.pinning is not Pinning.NONE) == theirs.is_pinned, where
    inner = ours.inner
    assert theirs.inner == (
        inner and (inner.type, inner.key_size, inner.value_size, inner.max_entries)
    ), where
    if ours.is_data:
        assert (ours.contents or bytes(ours.value_size)) == theirs.contents, where


def test_every_object_of_libbpf_tools_opens():
    specs = {name: ObjectSpec.from_bytes(data, name) for name, data in libbpf_tools().items()}
    programs = [program for spec in specs.values() for program in spec.programs.values()]
    assert len(specs) >= 52
    assert len(programs) >= 240
    assert all(program.definition for program in programs)
    assert not any(spec.warnings for spec in specs.values())
    assert all(str(spec) for spec in specs.values())


def test_programs_are_those_that_libbpf_sees():
    oracle = libbpf()
    for name, data in all_objects().items():
        theirs = oracle.open(data, name.partition(".")[0])
        if theirs is None:  # legacy maps, which libbpf 1.0 dropped
            continue
        ours = ObjectSpec.from_bytes(data, name)
        assert [
            (
                program.name,
                program.section.removeprefix("?"),
                program.type,
                program.attach_type,
                program.autoload,
                program.instructions,
            )
            for program in ours.programs.values()
        ] == [tuple(program) for program in theirs.programs], name


def test_maps_are_those_that_libbpf_sees():
    oracle = libbpf()
    kinds: Counter[MapType | int] = Counter()
    for name, data in all_objects().items():
        theirs = oracle.open(data, name.partition(".")[0])
        if theirs is None:
            continue
        ours = list(ObjectSpec.from_bytes(data, name).maps.values())
        # .kconfig is the linker's: how large it is depends on the externs' layout.
        declared = [each for each in theirs.maps if not each.name.endswith(".kconfig")]
        assert len(ours) == len(declared), name
        for each, opened in zip(ours, declared, strict=True):
            assert_same_map(each, opened, f"{name}: {each.name}")
            kinds[each.type] += 1
    assert {MapType.HASH, MapType.ARRAY, MapType.RINGBUF, MapType.PERF_EVENT_ARRAY} <= kinds.keys()


def test_objects_of_other_packages_open():
    objects = [each for package in OTHER_PACKAGES for each in package_objects(package)]
    if not objects:
        pytest.skip(f"needs one of the Debian packages {', '.join(OTHER_PACKAGES)}")
    for name, data in objects:
        spec = ObjectSpec.from_bytes(data, name)
        assert spec.programs or spec.maps, name
