"""One source over the perf rings of all CPUs: which there are, who is woken, what is not lost."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator

import pytest

from bpfstream.errors import DecodeError, KernelError, RingCorruptedError
from bpfstream.rings import EachRecord, copy_record
from bpfstream.streams.perf_buffer import PerfBufferSource
from bpfstream.streams.perf_options import PerfOptions
from bpfstream.streams.statistics import CpuStatistics
from tests.support.simulated_cpus import SimulatedCpus

BYTES = EachRecord(copy_record)
ONE_PAGE = PerfOptions(pages=1)


@pytest.fixture
def cpus(monkeypatch) -> SimulatedCpus:
    cpus = SimulatedCpus(0, 1)
    cpus.install(monkeypatch)
    return cpus


@pytest.fixture
def array_fd() -> Iterator[int]:
    fd = os.memfd_create("array")
    yield fd
    os.close(fd)


@pytest.fixture
def source(cpus: SimulatedCpus, array_fd: int) -> Iterator[PerfBufferSource]:
    source = PerfBufferSource(array_fd, options=ONE_PAGE)
    yield source
    source.close()


def received(source: PerfBufferSource, *, limit: int = 100) -> list[bytes]:
    """What one drain gives, without what a perf buffer pads it with."""
    drained = source.drain(BYTES, limit)
    source.release(drained.count)
    return [record[:4] for record in drained.batch]


# Which CPUs -------------------------------------------------------------------------------------


def test_each_cpu_has_its_event_under_its_own_number(cpus, array_fd):
    cpus.online = {0, 3, 8}
    source = PerfBufferSource(array_fd, options=ONE_PAGE)
    assert {key: event.cpu for key, event in cpus.array.items()} == {0: 0, 3: 3, 8: 8}
    cpus.send(8, b"from")
    assert received(source) == [b"from"]
    source.close()
    assert cpus.array == {}


def test_a_cpu_that_goes_while_its_event_is_opened_is_left_out(cpus, array_fd):
    cpus.vanishing = {0}
    with_one = PerfBufferSource(array_fd, options=ONE_PAGE)
    assert list(cpus.array) == [1]
    with_one.close()


def test_a_failure_half_way_undoes_everything(cpus, array_fd):
    for cpus.fail_at in itertools.count():
        cpus.calls = 0
        try:
            source = PerfBufferSource(array_fd, options=ONE_PAGE)
        except OSError as error:
            assert error.errno == errno.ENOMEM  # noqa: PT017
            assert (cpus.array, cpus.mapped) == ({}, 0)
        else:
            break  # so many calls there are not
    assert cpus.fail_at == 2 * len(["event", "memory", "quiet event", "its output", "entry"])
    source.close()
    assert (cpus.array, cpus.mapped) == ({}, 0)


def test_closing_is_idempotent(cpus, source):
    source.close()
    source.close()
    assert (cpus.array, cpus.mapped) == ({}, 0)


# CPUs that come and go --------------------------------------------------------------------------


def test_a_cpu_that_comes_has_a_ring_from_then_on(cpus, source):
    cpus.come(5)
    source.sweep()
    cpus.send(5, b"new!")
    assert received(source) == [b"new!"]
    assert [each.cpu for each in source.cpus] == [0, 1, 5]


def test_what_a_cpu_left_unread_is_read_and_then_its_ring_goes(cpus, source):
    cpus.send(1, b"last")
    cpus.go(1)
    source.sweep()
    assert list(cpus.array) == [0]
    assert cpus.mapped == 2
    source.sweep()
    assert received(source) == [b"last"]
    source.sweep()
    assert cpus.mapped == 1
    assert source.cpus[1] == CpuStatistics(cpu=1, received=1, lost=0, backlog=0, capacity=0)


def test_records_in_hand_keep_a_gone_cpus_ring(cpus, source):
    cpus.send(1, b"last")
    cpus.go(1)
    source.sweep()
    assert source.drain(BYTES, 10).count == 1
    source.sweep()
    source.release(0)  # they were not handed over after all
    assert received(source) == [b"last"]


def test_a_cpu_that_went_and_came_back_unseen_has_a_new_ring_behind_the_old_one(cpus, source):
    cpus.send(1, b"old1")
    cpus.go(1)
    cpus.come(1)
    with pytest.raises(OSError, match="dead"):
        cpus.send(1, b"none")
    source.sweep()
    cpus.send(1, b"new1")
    cpus.send(0, b"zero")
    in_order = [record for _ in range(3) for record in received(source, limit=1)]
    assert in_order[0] == b"old1"
    assert set(in_order) == {b"old1", b"new1", b"zero"}
    source.sweep()
    assert [(each.cpu, each.received) for each in source.cpus] == [(0, 1), (1, 2)]


def test_a_ring_that_can_not_be_opened_is_an_error_and_tried_again(cpus, source):
    cpus.come(5)
    cpus.fail_at = cpus.calls
    with pytest.raises(KernelError, match="CPU 5"):
        source.sweep()
    cpus.send(0, b"goes")
    assert received(source) == [b"goes"]
    source.sweep()
    cpus.send(5, b"new!")
    assert received(source) == [b"new!"]


# Pause and resume -------------------------------------------------------------------------------


def test_a_pause_refuses_what_is_sent_and_keeps_what_was(cpus, array_fd):
    cpus.online = {0, 3}
    source = PerfBufferSource(array_fd, options=ONE_PAGE)
    cpus.send(3, b"kept")
    source.pause()
    source.pause()
    with pytest.raises(OSError, match="no event"):
        cpus.send(3, b"gone")
    assert received(source) == [b"kept"]
    source.resume()
    source.resume()
    assert {key: event.cpu for key, event in cpus.array.items()} == {0: 0, 3: 3}
    cpus.send(3, b"more")
    assert received(source) == [b"more"]
    source.close()


def test_a_cpu_that_comes_during_a_pause_waits_for_its_end(cpus, source):
    source.pause()
    cpus.come(5)
    source.sweep()
    assert cpus.array == {}
    source.publish()
    assert cpus.array == {}
    source.resume()
    assert sorted(cpus.array) == [0, 1, 5]


# Who is woken -----------------------------------------------------------------------------------


def hold_back(source: PerfBufferSource, cpus: SimulatedCpus, times: int) -> None:
    for _ in range(times):
        cpus.send(0, b"many")
        source.release(source.drain(BYTES, 10).count, hold_back=True)


def test_events_wake_the_reader_one_by_one_at_first(cpus, source):
    assert cpus.array[0].wakeup_events == 1
    hold_back(source, cpus, 1)
    assert cpus.array[0].wakeup_events == 1


def test_a_cpu_is_hushed_when_the_reader_looks_by_itself_again_and_again(cpus, source):
    hold_back(source, cpus, 10)
    assert cpus.array[0].wakeup_events == 0
    assert cpus.array[0].wakeup_watermark == 2048  # half the ring
    assert cpus.array[1].wakeup_events == 1, "it sends nothing that would cost"
    cpus.send(0, b"same")
    assert received(source) == [b"same"]


def test_publishing_in_between_hushes_nobody(cpus, source):
    for _ in range(20):
        hold_back(source, cpus, 1)
        source.publish()
    assert cpus.array[0].wakeup_events == 1


def test_publishing_rouses_and_asks_for_one_more_look(cpus, source):
    """A program may have seen the quiet event before the change, and send after the look."""
    hold_back(source, cpus, 10)
    assert source.publish()
    assert cpus.array[0].wakeup_events == 1
    assert not source.publish()


def test_a_hushed_ring_survives_pause_and_departure(cpus, source):
    hold_back(source, cpus, 10)
    source.pause()
    source.publish()
    assert cpus.array == {}
    source.resume()
    assert cpus.array[0].wakeup_events == 1
    hold_back(source, cpus, 10)
    cpus.go(0)
    source.sweep()
    source.publish()
    assert list(cpus.array) == [1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [(PerfOptions(1, watermark=100), (0, 100)), (PerfOptions(1, wakeup_events=7), (7, 0))],
)
def test_marks_that_the_user_set_stay(cpus, array_fd, options, expected):
    source = PerfBufferSource(array_fd, options=options)
    hold_back(source, cpus, 10)
    assert (cpus.array[0].wakeup_events, cpus.array[0].wakeup_watermark) == expected
    source.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pages": 3}, "power of two"),
        ({"pages": 0}, "power of two"),
        ({"pages": 1, "watermark": 4096}, "from 1 to 4095"),
        ({"pages": 1, "watermark": 0}, "from 1 to 4095"),
        ({"wakeup_events": 0}, "positive"),
        ({"watermark": 1, "wakeup_events": 1}, "exclude"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        PerfOptions(**options)


# What is not lost -------------------------------------------------------------------------------


def test_all_cpus_are_swept_in_turns(cpus, source):
    for number in range(6):
        cpus.send(number % 2, b"%4d" % number)
    firsts = [received(source, limit=1)[0] for _ in range(6)]
    assert {int(first) % 2 for first in firsts[:2]} == {0, 1}, "they take turns"
    assert [first for first in firsts if int(first) % 2] == [b"   1", b"   3", b"   5"]
    assert not source.pending


def test_losses_are_counted_by_cpu_and_summed(cpus, source):
    for cpu in (0, 1):
        while cpus.send(cpu, bytes(500)):
            pass
        cpus.send(cpu, bytes(500))
    received(source)
    for cpu in (0, 1):
        cpus.send(cpu, b"next")
    received(source)
    assert [each.lost for each in source.cpus] == [2, 2]
    assert source.losses.perf == 4
    cpus.go(1)
    source.sweep()
    source.sweep()
    assert source.losses.perf == 4


class Fussy:
    """A decoder of records that begin with an "e", for error, and others."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __call__(self, buffer, offset, length) -> bytes:
        record = copy_record(buffer, offset, length)
        if record.startswith(b"e"):
            if self._error is DecodeError:
                raise DecodeError("it is bad", type_name="event", record=record)
            raise self._error
        return record[:4]


def everything(source: PerfBufferSource, decoder: EachRecord[bytes]) -> tuple[set[bytes], int]:
    """All that comes in ten drains, and how many errors of ours."""
    records: set[bytes] = set()
    errors = 0
    for _ in range(10):
        try:
            drained = source.drain(decoder, 10)
        except (DecodeError, RingCorruptedError):
            errors += 1
            continue
        assert records.isdisjoint(drained.batch), "doubled"
        records.update(drained.batch)
        source.release(drained.count)
    return records, errors


def test_a_bad_record_on_one_cpu_costs_the_others_nothing(cpus, source):
    for cpu, record in [(0, b"a 00"), (0, b"a 01"), (1, b"err!"), (1, b"a 11")]:
        cpus.send(cpu, record)
    records, errors = everything(source, EachRecord(Fussy(DecodeError)))
    assert (records, errors) == ({b"a 00", b"a 01", b"a 11"}, 1)


def test_a_corrupted_ring_costs_the_others_nothing(cpus, source):
    for record in (b"a 00", b"a 01"):
        cpus.send(0, record)
    cpus.ring_of(1).head = 12  # no multiple of 8
    records, errors = everything(source, EachRecord(copy_record))
    assert {record[:4] for record in records} == {b"a 00", b"a 01"}
    assert errors > 0


def test_any_other_exception_leaves_everything_unread(cpus, source):
    cpus.send(0, b"a 00")
    cpus.send(1, b"err!")
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            source.drain(EachRecord(Fussy(KeyboardInterrupt)), 10)
    assert sorted(received(source)) == [b"a 00", b"err!"]
