"""Lists of CPU numbers, as sysfs writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import BpfstreamError, KernelError
from bpfstream.kernel.cpus import online_cpus, parse_cpu_list, possible_cpus


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-1\n", (0, 1)),
        ("0\n", (0,)),
        ("0-2,4,6-7\n", (0, 1, 2, 4, 6, 7)),
        ("5,3", (3, 5)),
        ("\n", ()),
    ],
)
def test_a_list_is_numbers_and_ranges(text, numbers):
    assert parse_cpu_list(text) == numbers


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "0-", "1--2", "0-99999999999", "0x2", "0;1"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(KernelError, match="CPU list"):
        parse_cpu_list(text)


@given(st.text())
def test_any_text_is_a_list_or_an_error_of_ours(text):
    try:
        numbers = parse_cpu_list(text)
    except BpfstreamError:
        return
    assert list(numbers) == sorted(set(numbers))


@given(st.sets(st.integers(0, 8191), max_size=64))
def test_every_set_of_cpus_can_be_written_as_a_list(cpus):
    assert parse_cpu_list(",".join(map(str, cpus))) == tuple(sorted(cpus))


def test_cpus_that_are_online_are_possible():
    assert set(online_cpus()) <= set(possible_cpus())
    assert online_cpus()
