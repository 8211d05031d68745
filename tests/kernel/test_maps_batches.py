"""Many elements of a map at once: by both twins, with batches and without."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import bpfstream
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.kernel import bpf
from bpfstream.kernel.cpus import possible_cpus
from bpfstream.maps import HashMap, PerCpuValue, create_map
from bpfstream.maps.batches import NoBatchesError, read_batches
from bpfstream.spec import MapSpec
from tests.support.c_structs import CTypes

SIZE = 3000
Maker = Callable[..., Any]


@pytest.fixture(params=["batches", "one by one"])
def make(request: pytest.FixtureRequest, native: bool) -> Iterator[Maker]:
    """Makes maps of u32 to u64: ``make(type)``; as on kernels without batches too."""
    types = CTypes()
    key, value = types.named("u32"), types.named("u64")
    pair = types.struct("pair", 16, ("first", value, 0), ("second", key, 8))
    kinds = {"u64": (value, 8), "u32": (key, 4), "pair": (pair, 16), "bytes": (0, 6)}
    btf = types.btf()
    with ExitStack() as closing:

        def make(map_type: MapType, *, value: str = "u64", size: int = SIZE, **more: Any) -> Any:
            type_id, value_size = kinds[value]
            spec = MapSpec(
                name="elements",
                type=map_type,
                key_size=4,
                value_size=value_size,
                max_entries=size,
                key_type_id=key,
                value_type_id=type_id,
                **more,
            )
            made = create_map(spec, btf=btf)
            closing.callback(made.close)
            made._native = native
            if request.param == "one by one":
                made._has_batches = False
            return made

        yield make


@pytest.mark.parametrize("flags", [MapFlags(0), MapFlags.NO_PREALLOC])
def test_a_hash_gives_each_element_once(make: Maker, flags: MapFlags) -> None:
    counts = make(MapType.HASH, flags=flags)
    expected = {number * 7: number << 33 for number in range(SIZE)}
    counts.update(expected)
    assert sorted(counts) == sorted(expected)
    assert len(counts) == len(counts.items()) == SIZE
    assert sorted(counts.items()) == sorted(expected.items())
    assert sorted(counts.values()) == sorted(expected.values())
    assert sorted(counts.keys()) == sorted(expected)
    assert (7, 1 << 33) in counts.items()
    assert 1 << 33 in counts.values()


@pytest.mark.parametrize("size", [1, 63, 64, 65])
def test_every_number_of_elements_is_read_to_the_end(make: Maker, size: int) -> None:
    for map_type in (MapType.HASH, MapType.ARRAY):
        elements = make(map_type, size=size)
        elements.update({number: number + 1 for number in range(size)})
        values = elements.values() if map_type == MapType.HASH else elements
        assert sorted(values) == list(range(1, size + 1))


def test_an_empty_hash_gives_nothing(make: Maker) -> None:
    counts = make(MapType.HASH)
    assert list(counts) == list(counts.items()) == []
    assert len(counts) == 0
    counts.clear()
    counts.update({})


def test_an_lru_hash_is_read_and_cleared_too(make: Maker) -> None:
    recent = make(MapType.LRU_HASH)
    recent.update((number, number) for number in range(100))
    assert dict(recent.items()) == {number: number for number in range(100)}
    recent.clear()
    assert len(recent) == 0


def test_update_takes_what_the_update_of_a_dict_takes(make: Maker) -> None:
    class WithKeys:
        def keys(self) -> list[int]:
            return [5, 6]

        def __getitem__(self, key: int) -> int:
            return 10 * key

    counts = make(MapType.HASH)
    counts.update({1: 10})
    counts.update([(2, 20), (2, 21)])
    counts.update(counts)
    counts.update(WithKeys())
    assert dict(counts.items()) == {1: 10, 2: 21, 5: 50, 6: 60}


def test_an_update_stops_at_the_first_element_that_is_refused(make: Maker) -> None:
    counts = make(MapType.HASH, size=10)
    with pytest.raises(bpfstream.KernelError, match=r"element 10 .*E2BIG"):
        counts.update({number: number for number in range(13)})
    assert dict(counts.items()) == {number: number for number in range(10)}


@pytest.mark.parametrize(
    ("key", "value"), [(1 << 32, 0), (-1, 0), (0, 1 << 64), ("a", 0), (0, 0.5)]
)
def test_an_element_that_does_not_fit_is_refused_before_any_is_set(
    make: Maker, key: object, value: object
) -> None:
    counts = make(MapType.HASH)
    with pytest.raises(bpfstream.SchemaError):
        counts.update([(3, 3), (key, value)])
    assert len(counts) == 0


def test_structs_and_bytes_come_in_batches_too(make: Maker) -> None:
    pairs = make(MapType.HASH, value="pair")
    pairs.update({number: {"first": number, "second": 2 * number} for number in range(200)})
    assert all((each.first, each.second) == (key, 2 * key) for key, each in pairs.items())
    raw = make(MapType.HASH, value="bytes")
    raw.update({number: bytes([number] * 6) for number in range(200)})
    assert all(each == bytes([key] * 6) for key, each in raw.items())
    with pytest.raises(bpfstream.SchemaError):
        raw.update({1: b"short"})


@pytest.mark.parametrize("value", ["u32", "u64"])
def test_per_cpu_values_come_in_batches_too(make: Maker, value: str) -> None:
    cpus = len(possible_cpus())
    expected = {number: tuple(range(number, number + cpus)) for number in range(150)}
    for map_type in (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY):
        counts = make(map_type, value=value, size=150)
        counts.update({key: PerCpuValue(values) for key, values in expected.items()})
        if map_type == MapType.PERCPU_HASH:
            assert dict(counts.items()) == expected
        else:
            assert list(counts) == list(expected.values())
        assert all(isinstance(each, PerCpuValue) for each in read_values(counts))
        counts.clear()
        assert not any(map(any, read_values(counts)))


def read_values(elements: Any) -> list[Any]:
    return list(elements.values() if isinstance(elements, HashMap) else elements)


def test_clear_empties_a_hash(make: Maker) -> None:
    counts = make(MapType.HASH)
    counts.update(dict.fromkeys(range(SIZE), 1))
    counts.clear()
    assert len(counts) == 0
    assert list(counts) == []


def test_an_array_is_read_written_and_zeroed_in_one_go(make: Maker) -> None:
    array = make(MapType.ARRAY)
    array.update({number: number + 1 for number in range(SIZE)} | {-1: 7})
    expected = [*range(1, SIZE), 7]
    assert list(array) == expected
    for part in (
        slice(5, 200),
        slice(200, 5),
        slice(None, None, 700),
        slice(-3, None),
        slice(9, 9),
    ):
        assert array[part] == expected[part]
    with pytest.raises(IndexError):
        array.update({0: 9, SIZE: 1})
    assert array[0] == 1
    array.clear()
    assert not any(array)


def test_keys_that_stay_are_given_while_others_come_and_go(make: Maker) -> None:
    counts = make(MapType.HASH, flags=MapFlags.NO_PREALLOC)
    stable = dict.fromkeys(range(0, SIZE, 10), 1)
    counts.update(stable)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(1, SIZE, 10):
                counts[number] = 2
            for number in range(1, SIZE, 10):
                del counts[number]

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            seen = list(counts.items())
            keys = [key for key, _ in seen]
            assert len(keys) == len(set(keys))
            assert {key: value for key, value in seen if value == 1} == stable
    finally:
        stop.set()
        thread.join()


def test_deleting_what_an_iteration_gives_is_fine(make: Maker) -> None:
    counts = make(MapType.HASH)
    counts.update({number: number for number in range(500)})
    for key, value in counts.items():
        assert counts.pop(key) == value
    assert len(counts) == 0


def test_a_bucket_that_holds_more_than_was_asked_for_is_read_with_more_room(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bpfstream.maps.batches.FIRST_COUNT", 1)
    monkeypatch.setattr("bpfstream.maps.batches.MOST_BYTES", 12)
    counts = make(MapType.HASH)
    counts.update({number: number for number in range(SIZE)})
    assert sorted(counts) == list(range(SIZE))


def test_a_map_without_batches_says_so_before_anything_is_read() -> None:
    queue = bpf.map_create(MapType.QUEUE, 0, 8, 4)
    with ExitStack() as closing:
        closing.callback(os.close, queue)
        with pytest.raises(NoBatchesError):
            next(read_batches(queue, 0, 8, 4))
