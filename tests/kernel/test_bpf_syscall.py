"""bpf(2) and perf_event_open(2) of the running kernel, through the wrappers of bpfstream/kernel."""

import errno
import fcntl
import os
import select
import signal
import subprocess
import sys

import pytest

from bpfstream.abi.btf import Kind
from bpfstream.abi.instructions import Opcode
from bpfstream.abi.links import LinkType
from bpfstream.abi.maps import MapType, UpdateFlags
from bpfstream.abi.perf import PerfType, SampleType, SoftwareEvent
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.errors import KernelError, MissingBtfError
from bpfstream.kernel import bpf, btf, perf, tracefs
from bpfstream.kernel import probe_objects as probe
from bpfstream.kernel.cpus import online_cpus
from bpfstream.kernel.features import Feature
from bpfstream.kernel.info import map_info, program_info
from bpfstream.kernel.link_info import RawTracepointDetails, TracepointDetails, link_info
from bpfstream.kernel.memory import PAGE_SIZE, PerfBufferMapping, RingBufferMapping
from tests.support.requirements import program_path, require, require_program

KEY, VALUE = 4, 8


def key(number):
    return number.to_bytes(KEY, sys.byteorder)


def value(number):
    return number.to_bytes(VALUE, sys.byteorder)


@pytest.fixture
def hash_map():
    fd = bpf.map_create(MapType.HASH, KEY, VALUE, 100, name="counts")
    yield fd
    os.close(fd)


@pytest.fixture
def program():
    fd = bpf.program_load(
        ProgramType.RAW_TRACEPOINT, probe.RETURN_ZERO, license="GPL", name="nothing"
    )
    yield fd
    os.close(fd)


class TestElements:
    def test_what_was_written_is_read(self, hash_map):
        bpf.map_update(hash_map, key(1), value(10))
        assert bpf.map_lookup(hash_map, key(1), VALUE) == value(10)

    def test_what_is_not_there_is_none(self, hash_map):
        assert bpf.map_lookup(hash_map, key(1), VALUE) is None
        assert bpf.map_next_key(hash_map, None, KEY) is None
        with pytest.raises(FileNotFoundError):
            bpf.map_delete(hash_map, key(1))

    def test_flags_decide_about_what_is_there(self, hash_map):
        with pytest.raises(FileNotFoundError):
            bpf.map_update(hash_map, key(1), value(1), UpdateFlags.EXIST)
        bpf.map_update(hash_map, key(1), value(1), UpdateFlags.NOEXIST)
        with pytest.raises(FileExistsError):
            bpf.map_update(hash_map, key(1), value(2), UpdateFlags.NOEXIST)

    def test_a_walk_meets_every_key(self, hash_map):
        for number in range(10):
            bpf.map_update(hash_map, key(number), value(number))
        seen, current = set(), bpf.map_next_key(hash_map, None, KEY)
        while current is not None:
            seen.add(current)
            current = bpf.map_next_key(hash_map, current, KEY)
        assert seen == {key(number) for number in range(10)}

    def test_a_queue_has_no_keys(self):
        queue = bpf.map_create(MapType.QUEUE, 0, VALUE, 4)
        try:
            bpf.map_update(queue, b"", value(1))
            bpf.map_update(queue, b"", value(2))
            assert bpf.map_lookup_and_delete(queue, b"", VALUE) == value(1)
            assert bpf.map_lookup(queue, b"", VALUE) == value(2)
        finally:
            os.close(queue)

    def test_a_frozen_map_is_read_only(self):
        array = bpf.map_create(MapType.ARRAY, KEY, VALUE, 1)
        try:
            bpf.map_freeze(array)
            with pytest.raises(PermissionError):
                bpf.map_update(array, key(0), value(1))
        finally:
            os.close(array)


class TestBatches:
    def test_batches_give_every_element_once(self, hash_map):
        bpf.map_update_batch(
            hash_map,
            b"".join(map(key, range(100))),
            b"".join(value(2 * number) for number in range(100)),
            100,
        )
        elements, token, last = [], None, False
        while not last:
            batch = bpf.map_lookup_batch(hash_map, KEY, VALUE, 30, token)
            assert len(batch.keys) == KEY * batch.count
            assert len(batch.values) == VALUE * batch.count
            elements += [
                (
                    bytes(batch.keys[KEY * each : KEY * (each + 1)]),
                    bytes(batch.values[VALUE * each : VALUE * (each + 1)]),
                )
                for each in range(batch.count)
            ]
            token, last = batch.token, batch.last
        assert sorted(elements) == sorted((key(each), value(2 * each)) for each in range(100))

    def test_a_batch_can_take_elements_out(self, hash_map):
        bpf.map_update_batch(hash_map, key(1) + key(2), value(1) + value(2), 2)
        batch = bpf.map_lookup_batch(hash_map, KEY, VALUE, 100, delete=True)
        assert batch.count == 2
        assert batch.last
        assert bpf.map_next_key(hash_map, None, KEY) is None

    def test_a_batch_that_stops_tells_how_far_it_came(self, hash_map):
        bpf.map_update_batch(hash_map, key(1) + key(2), value(1) + value(2), 2)
        with pytest.raises(bpf.BatchFailed) as caught:
            bpf.map_delete_batch(hash_map, key(1) + key(9) + key(2), 3)
        assert caught.value.errno == errno.ENOENT
        assert caught.value.done == 1
        assert bpf.map_lookup(hash_map, key(2), VALUE) == value(2)

    def test_a_type_without_batches_has_done_nothing(self):
        queue = bpf.map_create(MapType.QUEUE, 0, VALUE, 4)
        try:
            with pytest.raises(bpf.BatchFailed) as caught:
                bpf.map_update_batch(queue, b"", value(1), 1)
            assert caught.value.done == 0
        finally:
            os.close(queue)


class TestPrograms:
    def test_a_refusal_carries_the_whole_log_however_long_it_is(self):
        blank = probe.instruction(0xB7, destination=1)  # r1 = 0
        code = blank * 3000 + probe.instruction(Opcode.EXIT)
        with pytest.raises(bpf.ProgramLoadFailed) as caught:
            bpf.program_load(ProgramType.SOCKET_FILTER, code, license="", log_level=2, log_size=128)
        assert caught.value.errno == errno.EACCES
        assert not caught.value.log_truncated
        assert "0: (b7) r1 = 0" in caught.value.log
        assert "2999: (b7) r1 = 0" in caught.value.log
        assert "R0 !read_ok" in caught.value.log

    def test_no_log_is_fetched_when_none_is_wanted(self):
        with pytest.raises(bpf.ProgramLoadFailed) as caught:
            bpf.program_load(
                ProgramType.SOCKET_FILTER,
                probe.instruction(Opcode.EXIT),
                license="",
                log_level=0,
            )
        assert caught.value.log == ""

    def test_what_does_not_reach_the_verifier_has_no_log(self):
        with pytest.raises(bpf.ProgramLoadFailed) as caught:
            bpf.program_load(9999, probe.RETURN_ZERO, license="")
        assert caught.value.errno == errno.EINVAL
        assert caught.value.log == ""

    def test_a_signal_does_not_fail_a_load(self):
        """The verifier answers EAGAIN to a signal; this program keeps it busy for a while."""
        counted_loop = (
            probe.instruction(0xB7, destination=1)  # r1 = 0
            + probe.instruction(0x07, destination=1, immediate=1)  # r1 += 1
            + probe.instruction(0xA5, destination=1, offset=-2, immediate=50_000)  # if r1 < N
            + probe.RETURN_ZERO
        )
        signals = []
        previous = signal.signal(signal.SIGALRM, lambda number, frame: signals.append(number))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            os.close(bpf.program_load(ProgramType.SOCKET_FILTER, counted_loop, license=""))
            while not signals:
                signal.pause()
        finally:
            signal.signal(signal.SIGALRM, previous)

    def test_a_program_tells_about_itself(self, program):
        info = program_info(program)
        assert info.name == "nothing"
        assert info.type == ProgramType.RAW_TRACEPOINT
        assert info.gpl_compatible
        assert info.created_by_uid == os.getuid()
        assert info.translated_size == len(probe.RETURN_ZERO)
        assert info.map_ids == ()

    def test_a_program_tells_its_maps(self):
        array = bpf.map_create(MapType.ARRAY, KEY, VALUE, 1)
        fd = bpf.program_load(ProgramType.SOCKET_FILTER, probe.addressing(array), license="")
        try:
            assert program_info(fd).map_ids == (map_info(array).id,)
        finally:
            os.close(fd)
            os.close(array)


class TestNames:
    def test_a_name_is_made_to_fit(self):
        fd = bpf.map_create(MapType.ARRAY, KEY, VALUE, 1, name="a name/longer than 15")
        try:
            assert map_info(fd).name == "a_name_longer_t"
        finally:
            os.close(fd)


class TestObjects:
    def test_a_map_tells_its_shape(self, hash_map):
        info = map_info(hash_map)
        assert (info.type, info.key_size, info.value_size, info.max_entries) == (
            MapType.HASH,
            KEY,
            VALUE,
            100,
        )
        assert info.name == "counts"

    def test_objects_are_listed_and_opened_by_id(self, hash_map, program):
        for kind, number in (
            (bpf.ObjectKind.MAP, map_info(hash_map).id),
            (bpf.ObjectKind.PROGRAM, program_info(program).id),
        ):
            assert number in list(bpf.ids(kind))
            os.close(bpf.fd_by_id(kind, number))

    def test_an_object_that_is_gone_is_not_found(self):
        fd = bpf.map_create(MapType.ARRAY, KEY, VALUE, 1)
        number = map_info(fd).id
        os.close(fd)
        with pytest.raises(FileNotFoundError):
            open_until_gone(bpf.ObjectKind.MAP, number)

    def test_descriptors_do_not_reach_other_programs(self, hash_map, program):
        event = open_event()
        try:
            for fd in (hash_map, program, event):
                assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        finally:
            os.close(event)

    def test_a_pin_keeps_an_object(self, tmp_path):
        script = f"""
import os
from bpfstream.kernel import bpf
from bpfstream.kernel.info import map_info
fd = bpf.map_create(2, 4, 8, 1, name="pinned")
bpf.object_pin(fd, "{tmp_path}/pin")
os.close(fd)
print(map_info(bpf.object_get("{tmp_path}/pin")).name)
"""
        unshare = require_program("unshare", package="util-linux")
        # The BPF file system is mounted in a mount namespace of the child's own.
        mount = f"mount -t bpf bpf {tmp_path} && exec {sys.executable} -"
        command = [unshare, "--mount", "sh", "-c", mount]
        run = subprocess.run(command, input=script, capture_output=True, text=True)
        assert run.stdout == "pinned\n", run.stderr

    def test_a_pin_belongs_in_a_bpf_file_system(self, hash_map, tmp_path):
        with pytest.raises(PermissionError):
            bpf.object_pin(hash_map, tmp_path / "pin")
        with pytest.raises(FileNotFoundError):
            bpf.object_get(tmp_path / "pin")


def open_until_gone(kind, number):
    """The kernel frees an object a little after its last descriptor is closed."""
    while True:
        os.close(bpf.fd_by_id(kind, number))


class TestLinks:
    def test_a_raw_tracepoint_link_tells_its_tracepoint(self, program):
        link = bpf.raw_tracepoint_open("sched_switch", program)
        try:
            info = link_info(link)
            assert info.type == LinkType.RAW_TRACEPOINT
            assert info.program_id == program_info(program).id
            assert info.details == RawTracepointDetails("sched_switch", 0)
        finally:
            os.close(link)

    def test_a_tracing_link_can_not_be_detached_by_force(self, program):
        link = bpf.raw_tracepoint_open("sched_switch", program)
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
                bpf.link_detach(link)
            assert caught.value.errno == errno.EOPNOTSUPP
        finally:
            os.close(link)

    def test_there_is_no_such_tracepoint(self, program):
        with pytest.raises(FileNotFoundError):
            bpf.raw_tracepoint_open("no_such_tracepoint", program)

    def test_only_some_links_take_a_cookie(self, program):
        with pytest.raises(ValueError, match="cookie"):
            bpf.link_create(program, 0, AttachType.XDP, cookie=1)

    def test_a_perf_link_tells_its_tracepoint(self):
        require(Feature.PERF_LINK)
        try:
            number = tracefs.event_id("sched", "sched_switch")
        except KernelError as error:
            pytest.skip(f"needs tracefs: {error}")
        attributes = perf.PerfEventAttributes(type=PerfType.TRACEPOINT, config=number)
        event = perf.perf_event_open(attributes)
        fd = bpf.program_load(ProgramType.TRACEPOINT, probe.RETURN_ZERO, license="GPL")
        link = bpf.link_create(fd, event, AttachType.PERF_EVENT)
        try:
            info = link_info(link)
            assert info.type == LinkType.PERF_EVENT
            # The kernel tells details since 6.6.
            assert info.details in (None, TracepointDetails("sched_switch", 0))
        finally:
            for each in (link, fd, event):
                os.close(each)


def open_event(cpu=0):
    return perf.perf_event_open(
        perf.PerfEventAttributes(
            type=PerfType.SOFTWARE,
            config=SoftwareEvent.BPF_OUTPUT,
            sample_type=SampleType.RAW,
            sample_period=1,
            wakeup_events=1,
        ),
        cpu=cpu,
    )


class TestPerfEvents:
    def test_a_bpf_output_event_opens_on_each_cpu_and_its_memory_maps(self):
        for cpu in online_cpus():
            fd = open_event(cpu)
            try:
                with PerfBufferMapping(fd, 4) as mapping:
                    perf.enable(fd)
                    assert len(mapping.data) == 4 * PAGE_SIZE
                    perf.disable(fd)
            finally:
                os.close(fd)

    def test_a_sampling_event_writes_to_its_memory(self):
        """An event that samples this process says so in its memory, at the bytes of data_head."""
        attributes = perf.PerfEventAttributes(
            type=PerfType.SOFTWARE,
            config=SoftwareEvent.CPU_CLOCK,
            sample_period=100_000,
            sample_type=SampleType.IP,
            wakeup_events=1,
        )
        fd = perf.perf_event_open(attributes, os.getpid(), -1)
        try:
            with PerfBufferMapping(fd, 4) as mapping:
                assert head(mapping) == 0 or head(mapping) % 8 == 0
                while head(mapping) == 0:
                    sum(range(10_000))
                assert select.select([fd], [], [], 30)[0] == [fd]
        finally:
            os.close(fd)

    def test_an_unknown_cpu_has_no_events(self):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
            open_event(cpu=100_000)
        assert caught.value.errno in (errno.ENODEV, errno.EINVAL)


def head(mapping):
    """``data_head`` of ``struct perf_event_mmap_page``, at 1024."""
    return int.from_bytes(mapping.header[1024:1032], sys.byteorder)


class TestRingBuffers:
    def test_the_memory_of_a_ring_buffer_maps(self):
        require(Feature.RINGBUF)
        size = 4 * PAGE_SIZE
        fd = bpf.map_create(MapType.RINGBUF, 0, 0, size)
        try:
            with RingBufferMapping(fd, size) as mapping:
                assert mapping.producer.readonly
                assert bytes(mapping.producer[:8]) == bytes(8)
                assert bytes(mapping.data) == bytes(2 * size)
                assert select.select([fd], [], [], 0)[0] == []
        finally:
            os.close(fd)

    def test_a_wrong_size_is_the_kernels_to_refuse(self):
        require(Feature.RINGBUF)
        fd = bpf.map_create(MapType.RINGBUF, 0, 0, PAGE_SIZE)
        try:
            with pytest.raises(OSError):  # noqa: PT011 - which errno depends on the kernel
                RingBufferMapping(fd, 16 * PAGE_SIZE)
        finally:
            os.close(fd)


class TestBtf:
    def test_the_kernels_types_are_found(self):
        kernel = kernel_btf()
        assert kernel.find("task_struct", Kind.STRUCT) is not None

    def test_each_modules_types_begin_where_the_kernels_end(self):
        require(Feature.MODULE_BTF)
        kernel = kernel_btf()
        found = btf.module_btfs()
        assert all(module.btf.first_id == kernel.end_id for module in found.modules)
        assert [module.id for module in found.modules] == sorted(
            module.id for module in found.modules
        )

    def test_an_object_file_has_types_too(self):
        own = btf.read_btf(program_path("types"))
        assert own.end_id > own.first_id

    def test_refused_btf_says_why(self):
        broken = probe.btf([probe.INT, probe.btf_type(0, Kind.PTR, 77)])
        with pytest.raises(bpf.BtfLoadFailed) as caught:
            bpf.btf_load(broken)
        assert caught.value.log != ""

    def test_where_there_is_no_btf_the_error_lists_every_path(self, tmp_path, monkeypatch):
        places = (tmp_path / "vmlinux", tmp_path / "boot")
        monkeypatch.setattr(btf, "kernel_btf_candidates", lambda: places)
        with pytest.raises(MissingBtfError) as caught:
            btf.kernel_btf.__wrapped__()
        assert caught.value.searched == tuple(map(str, places))


def kernel_btf():
    try:
        return btf.kernel_btf()
    except MissingBtfError as error:
        pytest.skip(f"needs the kernel's BTF: {error}")
