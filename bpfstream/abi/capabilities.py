"""Capabilities that BPF has to do with (include/uapi/linux/capability.h, capabilities(7))."""

from enum import IntEnum


class Capability(IntEnum):
    """The bit of a capability in ``CapEff`` of /proc/PID/status."""

    NET_ADMIN = 12
    SYS_ADMIN = 21
    SYS_RESOURCE = 24
    SYSLOG = 34
    PERFMON = 38
    BPF = 39
