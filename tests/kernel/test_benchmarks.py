"""The benchmarks measure what they say: every event that was sent is taken, and none is added."""

import pytest

from bpfstream.abi.helpers import Helper
from bpfstream.abi.programs import ProgramType
from bpfstream.kernel.features import Feature
from bpfstream.kernel.type_probes import has_helper
from tests.benchmarks.consumer import Consumer, ConsumerError, on_cpu, producer_cpu, reading
from tests.benchmarks.peers import ours
from tests.support.requirements import require

EVENTS = 3000


@pytest.fixture(autouse=True)
def producer_runs_here():
    require(Feature.RINGBUF, Feature.RAW_TRACEPOINT_TEST_RUN)
    if not has_helper(ProgramType.RAW_TRACEPOINT, Helper.LOOP):
        pytest.skip("needs the helper bpf_loop (since Linux 5.17)")
    with on_cpu(producer_cpu()):
        yield


@pytest.mark.parametrize("buffer", ["ring", "perf"])
@pytest.mark.parametrize("event_bytes", [48, 128])
def test_a_consumer_takes_a_full_buffer(buffer, event_bytes):
    consumer = Consumer("events", ours(), "events")
    with reading(consumer, buffer, event_bytes) as reader:
        for _ in range(2):
            total = reader.producer.fill(EVENTS)
            reader.begin()
            result = reader.result()
            assert result.sum == total == EVENTS * (EVENTS + 1) // 2
            assert result.cpu_ns > 0


@pytest.mark.parametrize(("way", "pure"), [("batches", False), ("events", True)])
def test_a_consumer_takes_a_stream(way, pure):
    consumer = Consumer(way, ours(pure=pure), way)
    with reading(consumer, "ring", 48) as reader:
        reader.begin()
        reader.producer.stream(rate=10_000, seconds=0.1)
        assert reader.result().sum == reader.producer.tally().sum
        assert reader.producer.tally().lost == 0


def test_each_event_has_a_latency():
    with reading(Consumer("events", ours(), "events"), "ring", 48, max_latency=0) as reader:
        reader.begin("latency")
        reader.producer.trickle(20, mean_pause=0.001, seed=1)
        latencies = reader.result().latencies
    assert len(latencies) == 20
    assert all(each > 0 for each in latencies)


def test_a_consumer_that_fails_says_why():
    consumer = Consumer("unknown", ours(), "unheard-of")
    with reading(consumer, "ring", 48) as reader:
        reader.begin()
        with pytest.raises(ConsumerError, match="KeyError: 'unheard-of'"):
            reader.result()
