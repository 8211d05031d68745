"""Calls of everything in the compiled module, right ones and wrong ones, to be repeated.

What a call raises is swallowed: whoever repeats them looks at something else, such as the memory
that they leave behind. See `tests.unit.test_native_memory`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any

import msgspec

from bpfstream._native import hot
from bpfstream.records.converters import EnumTable
from tests.support.simulated_rings import SimulatedPerfBuffer, SimulatedRingBuffer


class Colour(IntEnum):
    RED = 1


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int


class Event(msgspec.Struct, frozen=True):
    pid: int
    colour: Any
    ok: bool
    ratio: float
    comm: str
    raw: bytes
    row: tuple[int, ...]
    point: Point


class Positive(msgspec.Struct):
    value: int

    def __post_init__(self) -> None:
        if self.value == 0:
            raise ValueError("zero")


def number(offset: int, size: int, *, members: object = None, signed: bool = False) -> Any:
    return "number", offset, size, (signed, 0, 8 * size, members)


POINT = ("struct", 40, 8, (Point, ("x", "y"), 2, True, (number(0, 4), number(4, 4, signed=True))))
FIELDS = (
    number(0, 4),
    number(4, 4, members=EnumTable(Colour)),
    ("boolean", 8, 1, (0, 8)),
    ("float", 12, 4, None),
    ("text", 16, 8, None),
    ("bytes", 24, 4, None),
    ("array", 28, 12, (3, number(0, 4))),
    POINT,
)
EVENT = (("struct", 0, 48, (Event, Event.__struct_fields__, 8, True, FIELDS)), 48, (0,) * 8)
POSITIVE = (("struct", 0, 4, (Positive, ("value",), 1, False, (number(0, 4),))), 4, (0,))
RECORD = struct.pack("=IIBxxxf8s4s3IIi", 7, 1, 1, 0.5, b"bash", b"\1\2\3\4", 1, 2, 3, 4, -5)


def decode(layouts: tuple[Any, ...], data: bytes, *runs: tuple[int, ...], tag: Any = None) -> None:
    tags = tuple(range(len(layouts))) if tag else ()
    hot.Plan(layouts, False, tag, tags).decode(data, list(runs), [], 0, 0)  # type: ignore[arg-type]


def _rings() -> tuple[memoryview, memoryview]:
    ring, buffer = SimulatedRingBuffer(4096), SimulatedPerfBuffer(1024)
    for size in (8, 8, 8, 24, 4):
        ring.send(bytes(size))
        buffer.send(bytes(size))
    ring.send(b"gone", discard=True)
    return memoryview(bytes(ring.data)), memoryview(bytes(buffer.data))


def _deliver() -> None:
    async def refill() -> int:
        return 3

    delivery = hot.Delivery(refill, 2, 0.0)
    delivery.fill([1, 2, 3, 4])
    delivery.take()
    for _ in range(3):  # at the end of a slice the clock is looked at, and then refill awaited
        with suppress(StopIteration):
            next(delivery.__anext__().__await__())
    assert delivery.left + delivery.handed_over == 4
    delivery.rest()
    delivery.take()  # IndexError


RING, PERF = _rings()
WORDS = array("I", [1, 2, 3, 0, 1, 0x01000000, 4, 0x20])
TRAILERS = array("I", [0, 0] * 128)
STRINGS = b"\0task___one\0task\0__\0"

CALLS: dict[str, list[Callable[[], object]]] = {
    "locate_types": [
        lambda: hot.locate_types(WORDS, TRAILERS),
        lambda: hot.locate_types(WORDS, array("I", [0xFFFFFFFF] * 256)),
        lambda: hot.locate_types(WORDS, b""),
    ],
    "pick_words": [
        lambda: hot.pick_words(WORDS, array("I", [0, 3])),
        lambda: hot.pick_words(WORDS, array("I", [0, 8])),
    ],
    "find_words": [
        lambda: hot.find_words(array("I", range(1000)), array("I", [5, 600, 900])),
        lambda: hot.find_words(b"abc", WORDS),
    ],
    "any_inside": [
        lambda: hot.any_inside(STRINGS, 0, len(STRINGS), 0, array("I", [1, 5])),
        lambda: hot.any_inside(STRINGS, 0, 1000, 0, array("I", [1, 5])),
    ],
    "find_flavours": [
        lambda: hot.find_flavours(STRINGS, 0, len(STRINGS)),
        lambda: hot.find_flavours(STRINGS, 3, 1000),
    ],
    "scan_ring_buffer": [
        lambda: hot.scan_ring_buffer(RING, 0, 200, 100),
        lambda: hot.scan_ring_buffer(RING, 0, 0xFFF8, 100),
        lambda: hot.scan_ring_buffer(RING, 0, -1, 100),
    ],
    "load_position": [lambda: hot.load_position(bytearray(8)), lambda: hot.load_position(b"")],
    "store_position": [
        lambda: hot.store_position(bytearray(8), 1 << 63),
        lambda: hot.store_position(bytearray(8), -1),
    ],
    "fence": [hot.fence] if hot is not None else [],
    "scan_perf_buffer": [
        lambda: hot.scan_perf_buffer(PERF, 0, 200, 100),
        lambda: hot.scan_perf_buffer(PERF, 0, 200, 1 << 64),
    ],
    "Plan": [
        lambda: decode((EVENT,), RECORD * 3, (0, 48, 48, 2), (96, 48, 48, 1)),
        lambda: decode((EVENT,), RECORD, (0, 47, 48, 1)),
        lambda: decode((EVENT,), RECORD, (0, 48, 48, 2)),
        lambda: decode((POSITIVE,), bytes([1, 0, 0, 0, 0, 0, 0, 0]), (0, 4, 4, 2)),
        lambda: decode((EVENT, POSITIVE, None), RECORD, (0, 48, 4, 1), tag=number(4, 4)),
        lambda: decode((EVENT,), RECORD, (0, 48)),
        lambda: hot.Plan((POSITIVE,), False, ("text", 0, 4, None), (1,)),
        lambda: hot.Plan(((POINT, 8, (0,)), (("struct", 0, 4, ()), 4, ())), True, None, ()),
    ],
    "gather": [
        lambda: hot.gather([(PERF, [(0, 8, 16, 4)])], 2, 8, 4, bytearray(64), 16),
        lambda: hot.gather([(PERF, [(0, 8, 16, 4)])], 2, 8, 4, bytearray(63), 16),
        lambda: hot.gather([(PERF, [(0, 8, 16, 4000)])], 2, 8, 4, bytearray(64), 16),
        lambda: hot.gather([(PERF, [(0, 8)])], 2, 8, 4, bytearray(64), 16),  # type: ignore[list-item]
    ],
    "start_timer": [
        lambda: hot.start_timer(-1, 1),
        lambda: hot.start_timer(1 << 40, 1 << 62),
        lambda: hot.start_timer(0, None),  # type: ignore[arg-type]
    ],
    "Delivery": [
        _deliver,
        lambda: hot.Delivery(lambda: 0, 0, 0.0),  # type: ignore[arg-type,return-value]
        lambda: hot.Delivery(_deliver, 1, 0.0).fill(()),  # type: ignore[arg-type]
    ],
    "split_integers": [
        lambda: hot.split_integers(RING, 4, 8, 100, True),
        lambda: hot.split_integers(RING, 3, 8, 100, True),
        lambda: hot.split_integers(RING, 4, 8, 1 << 40, True),
    ],
    "split_bytes": [
        lambda: hot.split_bytes(RING, 5, 8, 100),
        lambda: hot.split_bytes(RING, 5, 8, 1 << 40),
    ],
    "join_integers": [
        lambda: hot.join_integers((1, 1 << 30, 3), 4, 8, False),
        lambda: hot.join_integers((1, -1, 1 << 70), 4, 8, False),
        lambda: hot.join_integers((1, "2"), 4, 8, False),
    ],
    "join_bytes": [
        lambda: hot.join_bytes((b"1234", b"5678"), 4, 8),
        lambda: hot.join_bytes((b"1234", 5), 4, 8),
    ],
}
"""The calls for each name in the module."""


def repeat(name: str, times: int) -> None:
    """Makes all calls for a name so often."""
    wrong = (ArithmeticError, BufferError, IndexError, OSError, TypeError, ValueError)
    for _ in range(times):
        for call in CALLS[name]:
            with suppress(*wrong):
                call()
