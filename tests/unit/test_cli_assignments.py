"""Options of the form NAME=VALUE: values by the variable's type, sizes with units."""

import click
import pytest

from bpfstream import ObjectSpec
from bpfstream.cli.assignments import parse_size, resize_maps, set_variables
from tests.support.requirements import program_path


@pytest.fixture
def spec() -> ObjectSpec:
    return ObjectSpec.from_file(program_path("globals"))


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("enabled=false", False),
        ("tiny=0x10", 16),
        ("small=-3", -3),
        ("mask=18446744073709551615", 2**64 - 1),
        ("mode=QUIET", 0),
        ("prefix=a=b", "a=b"),
        ("ports=[1, 2, 3, 4]", (1, 2, 3, 4)),
        ('limits={"low": 9, "high": -9, "name": "x"}', {"low": 9, "high": -9, "name": "x"}),
    ],
)
def test_text_becomes_a_value_of_the_variables_type(spec, assignment, value):
    set_variables(spec, [assignment])
    assert spec.variables[assignment.partition("=")[0]].value == value


@pytest.mark.parametrize(
    "assignment", ["enabled=maybe", "tiny=1.5", "ports=[1,", "missing=1", "tiny", "=1"]
)
def test_what_makes_no_sense_is_refused(spec, assignment):
    with pytest.raises(click.ClickException):
        set_variables(spec, [assignment])


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("4096", 4096), ("0x10", 16), ("256K", 1 << 18), ("1m", 1 << 20)]
)
def test_sizes_may_have_a_unit(text, size):
    assert parse_size("events", text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5M", "4G", "many"])
def test_sizes_that_are_none(text):
    with pytest.raises(click.ClickException):
        parse_size("events", text)


def test_a_map_is_resized():
    spec = ObjectSpec.from_file(program_path("ring_producer"))
    resize_maps(spec, ["events=1M"])
    assert spec.maps["events"].max_entries == 1 << 20
