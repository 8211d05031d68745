"""The readers of rings and the writer of user rings, on memory that the kernel writes to."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import bpfstream
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.kernel import bpf, perf
from bpfstream.kernel.features import Feature
from bpfstream.kernel.memory import PAGE_SIZE, PerfBufferMapping, RingBufferMapping
from bpfstream.kernel.program_run import program_test_run
from bpfstream.rings import (
    BackwardPerfReader,
    EachRecord,
    OverwriteRingBufferReader,
    RingBufferReader,
    copy_record,
    drain,
)
from tests.support.requirements import program_path, require

COPIES = EachRecord(copy_record)
LONGEST_BURST = 256


def sequences(records: list[bytes]) -> list[int]:
    """The sequence numbers of records, each of which is checked to be whole."""
    numbers = []
    for record in records:
        sequence, producer, words = struct.unpack_from("=QII", record)
        payload = struct.unpack_from(f"={words}Q", record, 16)
        assert set(payload) == {producer << 56 ^ sequence}, "torn"
        numbers.append(sequence)
    return numbers


def require_overwriting_ring_buffers() -> None:
    """Skips the test where the kernel knows no ``BPF_F_RB_OVERWRITE``."""
    require(Feature.RINGBUF)
    try:
        os.close(bpf.map_create(MapType.RINGBUF, 0, 0, PAGE_SIZE, MapFlags.RB_OVERWRITE))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip("needs ring buffers that overwrite (since Linux 6.19)")


@contextmanager
def pinned_to_one_cpu() -> Iterator[int]:
    """The test's thread stays on one CPU."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def ring_producer() -> bpfstream.ObjectSpec:
    spec = bpfstream.ObjectSpec.from_file(program_path("ring_producer"))
    spec.programs["on_syscall"].autoload = False
    return spec


async def test_records_are_taken_in_order_and_found_by_both_scans(native: bool) -> None:
    require(Feature.RINGBUF, Feature.SYSCALL_PROGRAMS)
    async with bpfstream.load(ring_producer()) as obj:
        ring, produce = obj.maps["events"], obj.programs["produce"].fd
        with RingBufferMapping(ring.fd, 64 * 1024) as memory:
            reader = RingBufferReader(memory.consumer, memory.producer, memory.data, native=native)
            received: list[int] = []
            for _ in range(50):  # many times around the ring
                program_test_run(produce, context=struct.pack("=4I", 1, 100, 7, 0))
                received += sequences(drain(reader, COPIES, 1000).batch)
                reader.release(hold_back=True)
            assert not reader.publish()
            assert reader.backlog == 0
            assert received == [number for number in range(5000) if number % 7]
            assert reader.discarded == 5000 - len(received)
            reader.close()


async def test_the_kernel_overwrites_the_oldest_records_of_a_ring_buffer(native: bool) -> None:
    require_overwriting_ring_buffers()
    spec = ring_producer()
    spec.maps["events"].flags |= MapFlags.RB_OVERWRITE
    async with bpfstream.load(spec) as obj:
        ring, produce = obj.maps["events"], obj.programs["produce"].fd
        with RingBufferMapping(ring.fd, 64 * 1024) as memory:
            reader = OverwriteRingBufferReader(
                memory.consumer, memory.producer, memory.data, native=native
            )
            for _ in range(20):
                context = struct.pack("=4I", 1, LONGEST_BURST, 0, 0)
                program_test_run(produce, context=context)
            received = sequences(drain(reader, COPIES, 100_000).batch)
            assert received == list(range(20 * LONGEST_BURST - len(received), 20 * LONGEST_BURST))
            assert 0 < len(received) < 20 * LONGEST_BURST
            reader.release()
            assert reader.overwritten > 0
            assert reader.backlog == 0
            program_test_run(produce, context=struct.pack("=4I", 1, 1, 0, 0))
            assert sequences(drain(reader, COPIES, 10).batch) == [20 * LONGEST_BURST]
            reader.close()


async def test_an_overwritable_perf_buffer_has_the_newest_samples(native: bool) -> None:
    require(Feature.RAW_TRACEPOINT_TEST_RUN)
    spec = bpfstream.ObjectSpec.from_file(program_path("perf_producer"))
    spec.programs["on_syscall"].autoload = False
    async with bpfstream.load(spec) as obj:
        produce = obj.programs["produce"].fd
        with pinned_to_one_cpu() as cpu:
            event = perf.open_bpf_output(cpu, backward=True)
            try:
                with PerfBufferMapping(event, 4, overwrite=True) as memory:
                    reader = BackwardPerfReader(memory.header, memory.data, native=native)
                    key, value = struct.pack("=I", cpu), struct.pack("=i", event)
                    bpf.map_update(obj.maps["events"].fd, key, value)
                    perf.enable(event)
                    sent = 0
                    for bursts in (20, 1, 0, 3):
                        for _ in range(bursts):
                            context = struct.pack("=2Q", 1, LONGEST_BURST)
                            program_test_run(produce, context=context)
                            sent += LONGEST_BURST
                        perf.pause_output(event, True)
                        reader.snapshot()
                        perf.pause_output(event, False)
                        received = sequences(reader.read(COPIES))
                        assert received == list(range(sent - len(received), sent))
                        assert (len(received) > 0) == (bursts > 0)
                        assert not reader.pending
                    assert reader.overwritten > 0
                    assert reader.lost == 0
                    reader.close()
            finally:
                os.close(event)
