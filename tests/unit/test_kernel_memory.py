"""Mapped ring memory: its pieces, and that it can be closed whoever still looks at it."""

import os

import pytest

from bpfstream.kernel.memory import (
    PAGE_SIZE,
    PerfBufferMapping,
    RingBufferMapping,
    UserRingBufferMapping,
)

SIZE = 2 * PAGE_SIZE


@pytest.fixture
def ring():
    """A file as long as a ring buffer's memory; its pages bear their number."""
    fd = os.memfd_create("ring")
    for number in range(2 + 2 * SIZE // PAGE_SIZE):
        os.write(fd, bytes([number]) * PAGE_SIZE)
    yield fd
    os.close(fd)


def test_a_ring_buffer_is_two_pages_and_its_data_twice(ring):
    with RingBufferMapping(ring, SIZE) as mapping:
        assert [len(mapping.consumer), len(mapping.producer), len(mapping.data)] == [
            PAGE_SIZE,
            PAGE_SIZE,
            2 * SIZE,
        ]
        assert [mapping.consumer[0], mapping.producer[0], mapping.data[0]] == [0, 1, 2]


def test_only_the_consumer_position_can_be_written(ring):
    with RingBufferMapping(ring, SIZE) as mapping:
        mapping.consumer[0] = 7
        assert mapping.producer.readonly
        assert mapping.data.readonly
    assert os.pread(ring, 1, 0) == b"\7"


def test_of_a_user_ring_buffer_all_but_the_consumer_position_can_be_written(ring):
    with UserRingBufferMapping(ring, SIZE) as mapping:
        assert mapping.consumer.readonly
        mapping.producer[0], mapping.data[0], mapping.data[SIZE] = 7, 8, 9
        assert mapping.consumer[0] == 0
        assert len(mapping.data) == 2 * SIZE
    places = (PAGE_SIZE, 2 * PAGE_SIZE, 2 * PAGE_SIZE + SIZE)
    assert [os.pread(ring, 1, place) for place in places] == [b"\7", b"\10", b"\11"]


def test_an_overwritten_perf_buffer_can_only_be_read(ring):
    with PerfBufferMapping(ring, 1, overwrite=True) as mapping:
        assert mapping.header.readonly
        assert mapping.data.readonly


def test_a_perf_buffer_is_a_page_and_its_data(ring):
    with PerfBufferMapping(ring, 4) as mapping:
        assert len(mapping.header) == PAGE_SIZE
        assert len(mapping.data) == 4 * PAGE_SIZE
        assert not mapping.header.readonly


def test_after_closing_the_memory_is_out_of_reach(ring):
    mapping = RingBufferMapping(ring, SIZE)
    mapping.close()
    mapping.close()
    assert mapping.closed
    with pytest.raises(ValueError, match="released"):
        mapping.data[0]


def test_a_view_that_was_kept_outlives_the_mapping(ring):
    mapping = RingBufferMapping(ring, SIZE)
    kept = mapping.data[PAGE_SIZE : PAGE_SIZE + 4]
    exported = memoryview(mapping.consumer).cast("Q")
    mapping.close()
    assert bytes(kept) == b"\3\3\3\3"
    assert exported[0] == 0


def test_a_mapping_that_fails_half_way_leaves_nothing_behind(ring):
    with pytest.raises(ValueError, match="greater than file size"):
        RingBufferMapping(ring, 1 << 60)
