"""Figures of the benchmarks: as JSON, as tables, and what is claimed of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.claims import CLAIMS, Claim, report
from tests.benchmarks.figures import Figure, find, json_line, percentile, tables
from tests.benchmarks.maps import parse_operations
from tests.benchmarks.startup import parse_start


def drained(consumer: str, value: float, buffer: str = "ring", event_bytes: int = 48) -> Figure:
    return Figure(
        bench="drain",
        consumer=consumer,
        buffer=buffer,
        event_bytes=event_bytes,
        value=value,
        unit="ns/event",
    )


def test_a_figure_is_one_json_object_on_a_line():
    line = json_line(drained("bpfstream-events", 171.04321))
    assert line == (
        '{"bench": "drain", "consumer": "bpfstream-events", "buffer": "ring", "event_bytes": 48, '
        '"value": 171.0, "unit": "ns/event"}'
    )


def test_json_says_a_latency_of_zero_and_leaves_out_what_does_not_apply():
    figure = Figure(bench="latency", consumer="libbpf", max_latency=0.0, value=40.25, unit="us")
    assert json.loads(json_line(figure)) == {
        "bench": "latency",
        "consumer": "libbpf",
        "max_latency": 0.0,
        "value": 40.2,
        "unit": "us",
    }


def test_a_figure_is_found_by_its_facts():
    figures = [drained("libbpf", 4.0), drained("libbpf", 5.0, buffer="perf")]
    assert find(figures, consumer="libbpf", buffer="perf") == 5.0
    assert find(figures, consumer="bcc") is None


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values, percent):
    found = percentile(values, percent)

    def share(limit):
        return sum(each <= limit for each in values) * 100

    assert found in values
    assert share(found) >= percent * len(values)
    assert all(share(each) < percent * len(values) for each in values if each < found)


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_table_has_a_row_for_each_consumer_and_a_column_for_each_buffer():
    figures = [
        drained("libbpf", 4.25),
        drained("bcc", 1860.4),
        drained("libbpf", 5.0, buffer="perf"),
    ]
    assert tables(figures).splitlines() == [
        "drain   ring 48 ns/event  perf 48 ns/event",
        "libbpf              4.25                 5",
        "bcc                1,860                 -",
    ]


def test_a_buffer_that_all_figures_share_is_in_the_title():
    figures = [
        Figure(
            bench="stream",
            consumer="libbpf",
            buffer="ring",
            event_bytes=48,
            rate=10_000,
            value=value,
            unit=unit,
        )
        for value, unit in ((10_000, "events/s"), (13.21, "% CPU"))
    ]
    assert tables(figures).splitlines() == [
        "stream ring 48      events/s  % CPU",
        "libbpf at 10,000/s    10,000   13.2",
    ]


def test_each_bench_has_its_table():
    figures = [drained("libbpf", 4), Figure(bench="maps", consumer="libbpf", value=9, unit="ns")]
    assert len(tables(figures).split("\n\n")) == 2


@pytest.mark.parametrize(
    ("at_least", "holds"), [(False, [True, True, False]), (True, [False, True, True])]
)
def test_a_bound_is_the_last_value_allowed(at_least, holds):
    claim = Claim(text="", of={}, bound=2, at_least=at_least)
    assert [claim.holds(value) for value in (1, 2, 3)] == holds


def test_nothing_is_claimed_of_what_was_not_measured():
    figures = [drained("bpfstream-events", 150.0)]
    assert report(figures) == ""
    assert "bpfstream-events / cilium-decode" in report([*figures, drained("cilium-decode", 200.0)])


def test_a_ratio_to_nothing_is_not_claimed():
    claim = Claim(text="", of={"consumer": "a"}, to={"consumer": "b"}, bound=1)
    assert claim.measured([drained("a", 1.0), drained("b", 0.0)]) is None


def test_the_report_says_whether_a_claim_holds():
    def last_word(events: float) -> str:
        figures = [drained("bpfstream-events", events), drained("cilium-decode", 200.0)]
        return report(figures).splitlines()[-1].split()[-1]

    assert last_word(150.0) == "yes"
    assert last_word(151.0) == "NO"


def test_every_claim_is_a_line_of_its_own():
    assert len({claim.text for claim in CLAIMS}) == len(CLAIMS)


def test_a_start_is_counted_from_the_start_of_the_process():
    start = parse_start("7000000 2500000\nVmHWM:\t   10000 kB\n", begun=4_000_000)
    assert (start.ms, start.cpu_ms, start.megabytes) == (3.0, 2.5, 10.24)


def test_operations_have_names_of_several_words():
    assert parse_operations("lookup 1264.5\nbatch lookup 270\n") == {
        "lookup": 1264.5,
        "batch lookup": 270.0,
    }
