"""What waits for a subscriber: bounded, in order, and honest about what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.errors import DecodeError
from bpfstream.streams.inbox import Inbox
from bpfstream.streams.lost import Lost


def missing(count):
    return Lost(count, "subscriber")


def bad_record():
    return DecodeError("too short", type_name="event", record=b"")


def test_gives_what_was_put_in():
    inbox = Inbox(4, "block")
    inbox.put([1, 2, 3])
    assert inbox.take() == 1
    assert inbox.take_all() == [2, 3]
    assert not inbox
    assert (inbox.received, inbox.dropped) == (3, 0)


def test_drops_the_newest_and_shows_it_behind_what_it_kept():
    inbox = Inbox(3, "drop_newest")
    inbox.put([1, 2])
    inbox.put([3, 4, 5])
    inbox.put([6])
    assert inbox.take() == 1
    inbox.put([7])
    assert inbox.take_all() == [2, 3, missing(3), 7]
    assert inbox.dropped == 3


def test_drops_the_oldest_and_shows_it_before_what_it_kept():
    inbox = Inbox(3, "drop_oldest")
    inbox.put([1, 2, 3])
    assert inbox.take() == 1
    inbox.put([4, 5])
    inbox.put([6])
    assert inbox.take_all() == [missing(2), 4, 5, 6]
    inbox.put([7])
    inbox.put([8, 9, 10, 11, 12])
    assert inbox.take_all() == [missing(3), 10, 11, 12]


def test_what_was_lost_before_is_shown_even_when_its_place_is_dropped():
    inbox = Inbox(2, "drop_oldest")
    inbox.mark(Lost(5, "kernel"))
    inbox.put([1])
    inbox.mark(Lost(1, "kernel"))
    inbox.put([2, 3, 4])
    assert inbox.take_all() == [Lost(6, "kernel"), missing(2), 3, 4]


def test_losses_of_one_stage_next_to_each_other_are_one():
    inbox = Inbox(1, "drop_newest")
    for _ in range(1000):
        inbox.put([1, 2])
        inbox.mark(Lost(1, "kernel"))
        inbox.mark(Lost(2, "perf"))
    assert inbox.take_all() == [1, missing(1999), Lost(1000, "kernel"), Lost(2000, "perf")]


def test_a_bad_record_takes_the_place_of_its_event():
    inbox = Inbox(4, "block")
    error = bad_record()
    inbox.put([1, 2])
    inbox.put([error])
    inbox.put([3])
    assert inbox.take_all() == [1, 2]
    with pytest.raises(DecodeError):
        inbox.take_all()
    inbox.put([error])
    assert inbox.take() == 3
    with pytest.raises(DecodeError):
        inbox.take()
    assert not inbox


@pytest.mark.parametrize(("capacity", "overflow"), [(0, "block"), (-1, "block"), (8, "explode")])
def test_refuses_what_makes_no_sense(capacity, overflow):
    with pytest.raises(ValueError, match=r"capacity|overflow"):
        Inbox(capacity, overflow)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 9)),
        st.tuples(st.just("put_bad"), st.just(1)),
        st.tuples(st.just("mark"), st.sampled_from(["kernel", "perf"])),
        st.tuples(st.just("take"), st.integers(1, 9)),
        st.tuples(st.just("take_all"), st.none()),
    ),
    max_size=60,
)


@given(
    steps=STEPS,
    capacity=st.integers(1, 6),
    overflow=st.sampled_from(["drop_oldest", "drop_newest"]),
)
def test_nothing_is_missing_uncounted(steps, capacity, overflow):
    """Events are numbers in sequence: where some are missing, a Lost of just as many stands."""
    inbox, sent, lost_in_kernel, taken = Inbox(capacity, overflow), 0, 0, []

    def take(what):
        try:
            got = what()
        except DecodeError as error:
            taken.append(int(error.record))
        else:
            taken.extend(got if isinstance(got, list) else [got])

    for step, argument in steps:
        match step:
            case "put":
                inbox.put(range(sent, sent + argument))
                sent += argument
            case "put_bad":
                inbox.put([DecodeError("bad", type_name="event", record=b"%d" % sent)])
                sent += 1
            case "mark":
                inbox.mark(Lost(1, argument))
                lost_in_kernel += 1
            case "take":
                for _ in range(argument):
                    if inbox:
                        take(inbox.take)
            case "take_all":
                take(inbox.take_all)
        assert 0 <= inbox.waiting <= capacity
        assert inbox.room == capacity - inbox.waiting
    while inbox:
        take(inbox.take_all)

    expected = 0
    for item in taken:
        if isinstance(item, Lost):
            expected += item.count if item.stage == "subscriber" else 0
            lost_in_kernel -= item.count if item.stage != "subscriber" else 0
        else:
            assert item == expected
            expected += 1
    assert expected == sent
    assert lost_in_kernel == 0
