"""Load eBPF objects and stream their typed events into trio programs.

    async with bpfstream.load("exec.bpf.o") as obj:
        with obj.attach():
            async with obj.events("events") as events:
                async for event in events:
                    print(event.pid, event.comm)

Names are imported when they are first used: a program that only inspects object files pays neither
for trio nor for the doors to the kernel.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpfstream.btf import Btf
    from bpfstream.errors import (
        AmbiguousRelocationError,
        AttachError,
        BpfstreamError,
        BtfError,
        DecodeError,
        KernelError,
        LinkingError,
        MissingBtfError,
        MissingPackageError,
        NotSupportedError,
        ObjectError,
        PermissionDeniedError,
        RingCorruptedError,
        SchemaError,
        StreamBusyError,
        StreamClosedError,
        StreamError,
        VerifierError,
    )
    from bpfstream.kernel.wall_clock import WallClock
    from bpfstream.links import Link, LinkGroup
    from bpfstream.live import Object, Program, load, load_object
    from bpfstream.maps import Map
    from bpfstream.spec import MapSpec, ObjectSpec, ProgramSpec, VariableSpec
    from bpfstream.streams import (
        CpuStatistics,
        EventStream,
        FlightRecorder,
        Lost,
        Merge,
        StreamStatistics,
        Subscription,
        UserRing,
        merge,
    )

__version__ = "0.1.0"

_HOMES = {
    "bpfstream.btf": ("Btf",),
    "bpfstream.errors": (
        "AmbiguousRelocationError",
        "AttachError",
        "BpfstreamError",
        "BtfError",
        "DecodeError",
        "KernelError",
        "LinkingError",
        "MissingBtfError",
        "MissingPackageError",
        "NotSupportedError",
        "ObjectError",
        "PermissionDeniedError",
        "RingCorruptedError",
        "SchemaError",
        "StreamBusyError",
        "StreamClosedError",
        "StreamError",
        "VerifierError",
    ),
    "bpfstream.kernel.wall_clock": ("WallClock",),
    "bpfstream.links": ("Link", "LinkGroup"),
    "bpfstream.live": ("Object", "Program", "load", "load_object"),
    "bpfstream.maps": ("Map",),
    "bpfstream.spec": ("MapSpec", "ObjectSpec", "ProgramSpec", "VariableSpec"),
    "bpfstream.streams": (
        "CpuStatistics",
        "EventStream",
        "FlightRecorder",
        "Lost",
        "Merge",
        "StreamStatistics",
        "Subscription",
        "UserRing",
        "merge",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AmbiguousRelocationError",
    "AttachError",
    "BpfstreamError",
    "Btf",
    "BtfError",
    "CpuStatistics",
    "DecodeError",
    "EventStream",
    "FlightRecorder",
    "KernelError",
    "Link",
    "LinkGroup",
    "LinkingError",
    "Lost",
    "Map",
    "MapSpec",
    "Merge",
    "MissingBtfError",
    "MissingPackageError",
    "NotSupportedError",
    "Object",
    "ObjectError",
    "ObjectSpec",
    "PermissionDeniedError",
    "Program",
    "ProgramSpec",
    "RingCorruptedError",
    "SchemaError",
    "StreamBusyError",
    "StreamClosedError",
    "StreamError",
    "StreamStatistics",
    "Subscription",
    "UserRing",
    "VariableSpec",
    "VerifierError",
    "WallClock",
    "__version__",
    "include_dir",
    "load",
    "load_object",
    "merge",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def include_dir() -> Path:
    """The folder of ``bpfstream.h``, for BPF C programs: ``clang -I"$(...)"``."""
    return Path(__file__).with_name("include")
