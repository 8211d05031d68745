"""What the command writes: JSON values, and lines cut to what a pipe takes."""

import enum
import json
import os

import msgspec
import trio
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.cli.output import LineWriter, json_line, pieces


class Kind(enum.IntEnum):
    EXEC = 0


class Inner(msgspec.Struct):
    numbers: tuple[int, ...]


class Event(msgspec.Struct):
    kind: Kind
    comm: str
    data: bytes
    inner: Inner


def test_an_event_is_an_object_with_names_for_enumerators_and_hexadecimal_bytes():
    event = Event(Kind.EXEC, "bash", b"\x01\xff", Inner((1, 2)))
    assert json.loads(json_line(event)) == {
        "kind": "EXEC",
        "comm": "bash",
        "data": "01ff",
        "inner": {"numbers": [1, 2]},
    }


@given(st.text())
def test_any_text_is_a_single_line_of_json(text):
    line = json_line(
        {"comm": text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")}
    )
    assert line.count(b"\n") == 1
    json.loads(line)


def test_text_that_is_no_utf8_keeps_what_can_be_read():
    damaged = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert json.loads(json_line({"comm": damaged})) == {"comm": "caf\ufffd"}


@given(st.lists(st.binary(max_size=20).map(lambda line: line + b"\n")), st.integers(1, 30))
def test_pieces_join_to_the_lines_and_none_is_too_long(lines, size):
    cut = list(pieces(lines, size))
    assert b"".join(cut) == b"".join(lines)
    assert all(0 < len(piece) <= size for piece in cut)


@given(st.lists(st.binary(max_size=8).map(lambda line: line + b"\n")))
def test_lines_that_fit_are_never_cut(lines):
    ends = b"\n"
    assert all(piece.endswith(ends) for piece in pieces(lines, 9))


async def test_a_reader_that_is_slow_does_not_stop_the_event_loop():
    reading, writing = os.pipe()
    try:
        finished = trio.Event()

        async def write() -> None:
            await LineWriter(writing).write([b"x" * 99 + b"\n"] * 5000)
            finished.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            received = 0
            while received < 500_000:
                await trio.lowlevel.wait_readable(reading)
                received += len(os.read(reading, 4096))
            await finished.wait()
        assert received == 500_000
    finally:
        os.close(reading)
        os.close(writing)


async def test_waiting_for_a_slow_reader_can_be_cancelled():
    reading, writing = os.pipe()
    try:
        with trio.move_on_after(0.05) as scope:
            await LineWriter(writing).write([b"x" * 99 + b"\n"] * 5000)
        assert scope.cancelled_caught
    finally:
        os.close(reading)
        os.close(writing)
