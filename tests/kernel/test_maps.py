"""Maps in Python's own idioms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import bpfstream
from bpfstream.abi.maps import UpdateFlags
from bpfstream.kernel.cpus import possible_cpus
from bpfstream.live import load_object
from bpfstream.maps import PerCpuValue
from bpfstream.spec import ObjectSpec, Pinning
from tests.support.requirements import program_path


@pytest.fixture
def obj() -> Iterator[bpfstream.Object]:
    spec = ObjectSpec.from_file(program_path("maps"))
    spec.maps["pinned"].pinning = Pinning.NONE
    spec.maps["unsized_array"].max_entries = 8
    for program in spec.programs.values():
        program.autoload = False
    with load_object(spec) as obj:
        yield obj


def test_a_hash_is_a_mapping_with_typed_keys_and_values(obj: bpfstream.Object) -> None:
    typed = obj.maps["typed"]
    key, other = {"pid": 7, "cpu": 1}, {"pid": 8, "cpu": 0}
    typed[key] = {"calls": 2, "bytes": 3}
    typed[other] = {"calls": 4, "bytes": 5}
    assert typed[key].calls == 2
    assert typed[typed_key(typed, key)].bytes == 3
    assert len(typed) == 2
    assert {(k.pid, v.bytes) for k, v in typed.items()} == {(7, 3), (8, 5)}
    del typed[key]
    assert key not in typed
    with pytest.raises(KeyError):
        typed[key]
    with pytest.raises(KeyError):
        del typed[key]
    assert typed.pop(other).calls == 4
    assert typed.get(other) is None
    assert dict(typed) == {}


def typed_key(mapping, key: dict[str, int]):
    """The key as the map itself gives it."""
    return next(k for k in mapping if k.pid == key["pid"])


def test_flags_say_create_only_or_change_only(obj: bpfstream.Object) -> None:
    sized = obj.maps["sized"]
    key, value = bytes(4), bytes(range(8))
    with pytest.raises(bpfstream.KernelError, match="ENOENT"):
        sized.put(key, value, UpdateFlags.EXIST)
    sized.put(key, value, UpdateFlags.NOEXIST)
    with pytest.raises(bpfstream.KernelError, match="EEXIST"):
        sized.put(key, value, UpdateFlags.NOEXIST)
    assert sized[key] == value


def test_a_full_hash_says_so(obj: bpfstream.Object) -> None:
    sized = obj.maps["sized"]
    for number in range(sized.max_entries):
        sized[number.to_bytes(4, "little")] = bytes(8)
    with pytest.raises(bpfstream.KernelError, match="E2BIG"):
        sized[bytes([255] * 4)] = bytes(8)
    sized.clear()
    assert len(sized) == 0


def test_iteration_survives_deletions(obj: bpfstream.Object) -> None:
    sized = obj.maps["sized"]
    for number in range(60):
        sized[number.to_bytes(4, "little")] = bytes(8)
    seen = []
    for key in sized:
        seen.append(key)
        del sized[key]
    assert len(seen) == len(set(seen)) == 60


def test_an_array_is_a_sequence(obj: bpfstream.Object) -> None:
    array = obj.maps["unsized_array"]
    assert list(array) == [0] * 8
    array[2] = 5
    array[-1] = 6
    assert array[2] == 5
    assert array[2:4] == [5, 0]
    assert array[7] == 6
    for index in (8, -9):
        with pytest.raises(IndexError):
            array[index]
    with pytest.raises(IndexError):
        array[8] = 0


def test_a_value_that_does_not_fit_is_refused(obj: bpfstream.Object) -> None:
    with pytest.raises(bpfstream.SchemaError):
        obj.maps["unsized_array"][0] = 1 << 64
    with pytest.raises(bpfstream.SchemaError):
        obj.maps["typed"][{"pid": 1, "gpu": 2}] = {"calls": 1, "bytes": 1}


def test_per_cpu_values_have_one_entry_a_possible_cpu(obj: bpfstream.Object) -> None:
    per_cpu = obj.maps["per_cpu"]
    cpus = len(possible_cpus())
    per_cpu[3] = PerCpuValue(range(10, 10 + cpus))
    assert per_cpu[3] == tuple(range(10, 10 + cpus))
    assert per_cpu[3].sum() == sum(range(10, 10 + cpus))
    with pytest.raises(ValueError, match="possible CPUs"):
        per_cpu[4] = PerCpuValue([1] * (cpus + 1))


def test_outer_maps_hold_the_inner_maps_that_the_object_says(obj: bpfstream.Object) -> None:
    outer = obj.maps["outer_array"]
    ids = [obj.maps[name].info().id for name in ("first_inner", "second_inner")]
    assert outer.info().max_entries == 3
    assert [lookup_id(outer, slot) for slot in (0, 2)] == ids
    assert lookup_id(outer, 1) is None


def lookup_id(outer: bpfstream.Map, slot: int) -> int | None:
    from bpfstream.kernel.bpf import map_lookup

    data = map_lookup(outer.fd, slot.to_bytes(4, "little"), 4)
    return None if data is None else int.from_bytes(data, "little")
