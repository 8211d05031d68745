"""One descriptor that polls readable when any of several does."""

import os
import select

import pytest

from bpfstream.kernel.eventpoll import EventPoll


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


def test_the_set_is_readable_while_a_member_is(pipe):
    reading, writing = pipe
    with EventPoll() as events:
        events.register(reading)
        assert not readable(events.fileno())
        os.write(writing, b"x")
        assert readable(events.fileno())
        assert events.ready() == [reading]
        assert readable(events.fileno()), "a registration is level-triggered and stays"
        os.read(reading, 1)
        assert not readable(events.fileno())


def test_what_was_unregistered_wakes_nobody(pipe):
    reading, writing = pipe
    with EventPoll() as events:
        events.register(reading)
        os.write(writing, b"x")
        events.unregister(reading)
        assert not readable(events.fileno())


def test_closing_twice_is_harmless():
    events = EventPoll()
    events.close()
    events.close()
    assert events.closed
