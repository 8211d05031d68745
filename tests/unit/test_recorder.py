"""Recorders and streams over a ring buffer that overwrites its oldest records, simulated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from bpfstream.rings import EachRecord, copy_record
from bpfstream.streams import RingBufferSource, recorder, ring_buffer
from bpfstream.streams.recorder import FlightRecorder, RingBufferRecorderRings
from tests.support.simulated_rings import PAGE, SimulatedRingBuffer

BYTES = EachRecord(copy_record)


@pytest.fixture
def ring(monkeypatch) -> SimulatedRingBuffer:
    ring = SimulatedRingBuffer(PAGE, overwrite=True)
    mapping = SimpleNamespace(
        consumer=ring.consumer, producer=ring.producer, data=ring.data, close=lambda: None
    )
    for place in (recorder, ring_buffer):
        monkeypatch.setattr(place, "RingBufferMapping", lambda fd, size: mapping)
    return ring


@pytest.fixture
def map_fd() -> Iterator[int]:
    fd = os.memfd_create("ring")
    yield fd
    os.close(fd)


def test_a_recorder_keeps_the_newest(ring, map_fd):
    with FlightRecorder(RingBufferRecorderRings(map_fd, PAGE), BYTES) as flight_recorder:
        for number in range(1000):
            ring.send(b"%8d" % number)
        kept = [int(event) for event in flight_recorder.snapshot()]
        assert kept == list(range(1000 - len(kept), 1000))
        assert len(kept) == PAGE // 16 - 1
        assert flight_recorder.lost == 1000 - len(kept)
        assert flight_recorder.snapshot() == []
        ring.send(b"one more")
        assert flight_recorder.snapshot() == [b"one more"]
    assert flight_recorder.lost == 1000 - len(kept)


def test_a_stream_counts_what_was_overwritten_before_it_was_read(ring, map_fd):
    source = RingBufferSource(map_fd, PAGE, overwrite=True, count_lost=lambda: 5)
    for number in range(1000):
        ring.send(b"%8d" % number)
    drained = source.drain(BYTES, 2000)
    source.release(drained.count)
    assert source.losses.kernel == 1000 - drained.count + 5
    source.close()
