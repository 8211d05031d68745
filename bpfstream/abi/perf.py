"""Numbers of perf_event_open(2) (include/uapi/linux/perf_event.h)."""

from enum import IntEnum, IntFlag

from bpfstream.abi.layouts import Layout

ATTRIBUTES = Layout(
    """
    u32 type, size;
    u64 config, sample_period, sample_type, read_format, flags;
    u32 wakeup_events, bp_type;
    u64 config1, config2, branch_sample_type, sample_regs_user;
    u32 sample_stack_user;
    s32 clockid;
    u64 sample_regs_intr;
    u32 aux_watermark;
    u16 sample_max_stack, reserved_2;
    u32 aux_sample_size, reserved_3;
    u64 sig_data
    """
)
"""``struct perf_event_attr``. `sample_period` is also ``sample_freq``, `wakeup_events` is also
``wakeup_watermark``, and `config1` points to the name or path of a probe."""


class PerfType(IntEnum):
    """``enum perf_type_id``; the numbers of other PMUs stand in sysfs."""

    HARDWARE = 0
    SOFTWARE = 1
    TRACEPOINT = 2
    HW_CACHE = 3
    RAW = 4
    BREAKPOINT = 5


class HardwareEvent(IntEnum):
    """``enum perf_hw_id``, the `config` of `PerfType.HARDWARE`."""

    CPU_CYCLES = 0
    INSTRUCTIONS = 1
    CACHE_REFERENCES = 2
    CACHE_MISSES = 3
    BRANCH_INSTRUCTIONS = 4
    BRANCH_MISSES = 5
    BUS_CYCLES = 6
    STALLED_CYCLES_FRONTEND = 7
    STALLED_CYCLES_BACKEND = 8
    REF_CPU_CYCLES = 9


class SoftwareEvent(IntEnum):
    """``enum perf_sw_ids``, the `config` of `PerfType.SOFTWARE`."""

    CPU_CLOCK = 0
    TASK_CLOCK = 1
    PAGE_FAULTS = 2
    CONTEXT_SWITCHES = 3
    CPU_MIGRATIONS = 4
    PAGE_FAULTS_MIN = 5
    PAGE_FAULTS_MAJ = 6
    ALIGNMENT_FAULTS = 7
    EMULATION_FAULTS = 8
    DUMMY = 9
    BPF_OUTPUT = 10
    CGROUP_SWITCHES = 11


class SampleType(IntFlag):
    """``enum perf_event_sample_format``: what a sample has."""

    IP = 1 << 0
    TID = 1 << 1
    TIME = 1 << 2
    ADDR = 1 << 3
    CALLCHAIN = 1 << 5
    ID = 1 << 6
    CPU = 1 << 7
    PERIOD = 1 << 8
    RAW = 1 << 10


class ReadFormat(IntFlag):
    """``enum perf_event_read_format``: what read(2) gives besides the count."""

    TOTAL_TIME_ENABLED = 1 << 0
    TOTAL_TIME_RUNNING = 1 << 1


class AttributeFlags(IntFlag):
    """The one-bit fields of ``struct perf_event_attr``, by their order in the bit field."""

    DISABLED = 1 << 0
    INHERIT = 1 << 1
    PINNED = 1 << 2
    EXCLUSIVE = 1 << 3
    EXCLUDE_USER = 1 << 4
    EXCLUDE_KERNEL = 1 << 5
    EXCLUDE_HV = 1 << 6
    EXCLUDE_IDLE = 1 << 7
    FREQ = 1 << 10
    ENABLE_ON_EXEC = 1 << 12
    WATERMARK = 1 << 14
    EXCLUDE_CALLCHAIN_KERNEL = 1 << 21
    EXCLUDE_CALLCHAIN_USER = 1 << 22
    WRITE_BACKWARD = 1 << 27


class OpenFlags(IntFlag):
    """``PERF_FLAG_*``, the last argument of perf_event_open(2)."""

    FD_NO_GROUP = 1 << 0
    FD_OUTPUT = 1 << 1
    PID_CGROUP = 1 << 2
    FD_CLOEXEC = 1 << 3


IOC_TYPE = ord("$")
"""The type byte of the ioctl requests of a perf event."""


class EventIoctl(IntEnum):
    """The numbers of ``PERF_EVENT_IOC_*``, without direction and size."""

    ENABLE = 0
    DISABLE = 1
    RESET = 3
    SET_OUTPUT = 5
    SET_BPF = 8
    PAUSE_OUTPUT = 9
