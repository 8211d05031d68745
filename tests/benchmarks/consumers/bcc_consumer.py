"""The benchmarks' consumer with BCC.

    python bcc_consumer.py read MAP_FD (ring|perf) EVENT_BYTES PAGES
    python bcc_consumer.py startup
    python bcc_consumer.py maps MAP_FD ENTRIES

BCC can't open a map that it has not compiled itself. Only its constructors compile, so these are
replaced; opening, reading and looking up are BCC's own. Start-up compiles, as it has to.
"""

import ctypes
import os
import sys
import time
from pathlib import Path

from bcc import BPF
from bcc.table import HashTable, PerfEventArray, RingBuf

STARTUP = """
#include <linux/sched.h>

struct event { u32 pid; u32 ppid; char comm[16]; };

BPF_RINGBUF_OUTPUT(events, 64);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    struct task_struct *next = (struct task_struct *)ctx->args[2];
    struct event event = {};

    event.pid = next->tgid;
    event.ppid = next->real_parent->tgid;
    bpf_probe_read_kernel(event.comm, sizeof(event.comm), next->comm);
    events.ringbuf_output(&event, sizeof(event), 0);
    return 0;
}
"""


class Event48(ctypes.Structure):
    _fields_ = [
        ("timestamp", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("tid", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
        ("comm", ctypes.c_char * 16),
    ]


class Event128(ctypes.Structure):
    _fields_ = [
        *Event48._fields_,
        ("ppid", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("duration", ctypes.c_uint64),
        ("filename", ctypes.c_char * 64),
    ]


class Opened(BPF):
    """A BPF that compiles nothing."""

    def __init__(self):
        self.module = None
        self.tables = {}
        self.perf_buffers = {}
        self._ringbuf_manager = None


class OpenedRing(RingBuf):
    def __init__(self, bpf, map_fd, event_class):
        self.bpf, self.map_fd, self._cbs = bpf, map_fd, {}
        self._event_class = event_class


class OpenedPerf(PerfEventArray):
    Key = Leaf = ctypes.c_int

    def __init__(self, bpf, map_fd, event_class):
        self.bpf, self.map_fd, self._cbs = bpf, map_fd, {}
        self.max_entries = os.cpu_count()
        self._open_key_fds = {}
        self._event_class = event_class


class OpenedTable(HashTable):
    Key, Leaf = ctypes.c_uint32, ctypes.c_uint64

    def __init__(self, map_fd, max_entries):
        self.map_fd, self.max_entries = map_fd, max_entries


def read_events(map_fd, buffer, event_bytes, pages):
    bpf = Opened()
    event_class = {48: Event48, 128: Event128}[event_bytes]
    total = 0
    ended = False
    latencies = None

    def on_event(_, data, size):
        nonlocal total, ended
        event = bpf["events"].event(data)  # as BCC's documentation has it
        value = event.value
        if not value:
            ended = True
        total += value
        if latencies is not None:
            latencies.append(time.monotonic_ns() - event.timestamp)
        return 0

    if buffer == "ring":
        bpf["events"] = OpenedRing(bpf, map_fd, event_class)
        bpf["events"].open_ring_buffer(on_event)
        poll = bpf.ring_buffer_poll
    else:
        bpf["events"] = OpenedPerf(bpf, map_fd, event_class)
        bpf["events"].open_perf_buffer(on_event, page_cnt=pages)
        poll = bpf.perf_buffer_poll
    print("ready", flush=True)

    for command in sys.stdin:
        total, ended = 0, False
        latencies = [] if command == "latency\n" else None
        start = time.process_time_ns()
        while not ended:
            poll()
        print(time.process_time_ns() - start, total, *(latencies or ())[:-1], flush=True)


def start_up():
    started = False

    def on_event(_, data, size):
        nonlocal started
        started = True
        return 0

    headers = (f"/lib/modules/{os.uname().release}/build", "/sys/kernel/kheaders.tar.xz")
    if not any(map(os.path.exists, headers)):
        sys.exit("BCC compiles its programs, and this kernel's headers are not installed")
    bpf = BPF(text=STARTUP)
    bpf["events"].open_ring_buffer(on_event)
    while not started:
        bpf.ring_buffer_poll()
    print(time.monotonic_ns(), time.process_time_ns())
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM:")))


def maps(map_fd, entries):
    table = OpenedTable(map_fd, entries)
    expected = entries * (entries - 1) // 2

    def timed(name, work):
        start = time.process_time_ns()
        total = work()
        print(name, (time.process_time_ns() - start) / entries)
        assert total in (None, expected), name

    def update():
        for key in range(entries):
            table[ctypes.c_uint32(key)] = ctypes.c_uint64(key)

    def update_batch():
        keys = (ctypes.c_uint32 * entries)(*range(entries))
        table.items_update_batch(keys, (ctypes.c_uint64 * entries)(*range(entries)))

    timed("update", update)
    timed("lookup", lambda: sum(table[ctypes.c_uint32(key)].value for key in range(entries)))
    timed("iterate", lambda: sum(value.value for _, value in table.items()))
    timed("batch lookup", lambda: sum(value for _, value in table.items_lookup_batch()))
    timed("batch update", update_batch)


def main(command, *arguments):
    if command == "read":
        map_fd, buffer, event_bytes, pages = arguments
        read_events(int(map_fd), buffer, int(event_bytes), int(pages))
    elif command == "startup":
        start_up()
    else:
        maps(*map(int, arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
