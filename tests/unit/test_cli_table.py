"""The table of events stays readable: narrow terminals, long text, many fields, hostile text."""

import enum
import io

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from bpfstream.cli.table import EventTable, flatten, shown


class Kind(enum.IntEnum):
    EXEC = 0
    FINISHED = 1


class Place(msgspec.Struct):
    line: int
    column: int


class Event(msgspec.Struct):
    kind: Kind
    pid: int
    comm: str
    filename: str


class Nested(msgspec.Struct):
    name: str
    place: Place


def printed(events: list[object], *, width: int = 80, terminal: bool = True) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=terminal, color_system=None)
    table = EventTable(console)
    for event in events:
        table.print_event(event)
    return output.getvalue().splitlines()


def test_rows_stand_under_their_headings():
    heading, row = printed([Event(Kind.EXEC, 42, "bash", "/bin/bash")])
    assert heading.split() == ["kind", "pid", "comm", "filename"]
    assert row.split() == ["EXEC", "42", "bash", "/bin/bash"]
    assert heading.index("filename") == row.index("/bin/bash")


def test_numbers_are_aligned_to_the_right():
    _, *rows = printed([Event(Kind.EXEC, pid, "sh", "/bin/sh") for pid in (100, 7)])
    assert rows[0].index("100") + 2 == rows[1].index("7")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    events = [Event(Kind.EXEC, 1, "a" * 15, "/long" * 60), Event(Kind.FINISHED, 9, "b", "")]
    lines = printed(events, width=width)
    assert all(cell_len(line) <= width for line in lines)
    assert any("…" in line for line in lines)


def test_wide_characters_count_as_two():
    lines = printed([Event(Kind.EXEC, 1, "日本語", "/" + "語" * 60)], width=40)
    assert all(cell_len(line) <= 40 for line in lines)


def test_many_fields_become_a_block():
    wide = msgspec.defstruct("Wide", [(f"number_{n}", int) for n in range(30)])
    lines = printed([wide(*range(30))], width=50)
    assert "number_29=29" in " ".join(lines)
    assert all(cell_len(line) <= 50 for line in lines)


def test_without_a_terminal_nothing_is_cut():
    path = "/long" * 60
    _, row = printed([Event(Kind.EXEC, 1, "sh", path)], width=40, terminal=False)
    assert row.endswith(path)


def test_nested_structs_have_dotted_headings():
    heading, row = printed([Nested("main", Place(12, 4))])
    assert heading.split() == ["name", "place.line", "place.column"]
    assert row.split() == ["main", "12", "4"]


def test_raw_bytes_are_hexadecimal():
    _, row = printed([b"\x01\xff"])
    assert row == "01 ff"


def test_another_type_gets_a_heading_of_its_own():
    lines = printed([Event(Kind.EXEC, 1, "sh", "/bin/sh"), Nested("x", Place(1, 2))])
    assert [line.split()[0] for line in lines] == ["kind", "EXEC", "name", "x"]


def test_a_name_cannot_talk_to_the_terminal():
    text = shown("\x1b[2Jevil\r\n")
    assert text == r"\x1b[2Jevil\r\n"


def test_flattening_keeps_the_order_of_fields():
    assert list(flatten(Nested("x", Place(1, 2)))) == [
        ("name", "x"),
        ("place.line", 1),
        ("place.column", 2),
    ]
