"""What an object file says, inert: programs, maps and variables that can be inspected and edited.

Nothing here needs a kernel or a privilege.
"""

from bpfstream.spec.data_sections import DataSectionSpec
from bpfstream.spec.externs import ExternSpec
from bpfstream.spec.functions import FunctionSpec, ProgramSpec, Relocation, Symbol
from bpfstream.spec.maps import KernelShape, MapSpec, Pinning, kernel_shape
from bpfstream.spec.object import ObjectSpec
from bpfstream.spec.variables import VariableSpec

__all__ = [
    "DataSectionSpec",
    "ExternSpec",
    "FunctionSpec",
    "KernelShape",
    "MapSpec",
    "ObjectSpec",
    "Pinning",
    "ProgramSpec",
    "Relocation",
    "Symbol",
    "VariableSpec",
    "kernel_shape",
]
