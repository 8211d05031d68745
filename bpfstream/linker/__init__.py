"""Makes the programs of an object ready for one kernel: CO-RE, references, subprograms, externs.

Pure: what it needs to know of the kernel is in a `Target`.
"""

from bpfstream.linker.link import link
from bpfstream.linker.linked import (
    BtfReference,
    KfuncReference,
    LinkedObject,
    LinkedProgram,
    MapReference,
    PoisonedRelocation,
)
from bpfstream.linker.target import ModuleBtf, Target
from bpfstream.linker.targets import AttachTarget, find_attach_target

__all__ = [
    "AttachTarget",
    "BtfReference",
    "KfuncReference",
    "LinkedObject",
    "LinkedProgram",
    "MapReference",
    "ModuleBtf",
    "PoisonedRelocation",
    "Target",
    "find_attach_target",
    "link",
]
