"""A loaded program, and the ways to attach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpfstream import links
from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.abi.sections import SectionDefinition
from bpfstream.kernel.descriptors import OwnedDescriptor
from bpfstream.kernel.privileges import explain
from bpfstream.spec import ProgramSpec

if TYPE_CHECKING:
    from bpfstream.kernel.info import ProgramInfo


class _ImportedMethod:
    """A function of `bpfstream.links` as a method; imported when it is first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        function = getattr(links, self._name)
        setattr(owner, self._name, function)
        return getattr(owner if instance is None else instance, self._name)


class Program(OwnedDescriptor):
    """A program in the kernel.

    `attach` attaches it to what its section names, the other ``attach_*`` methods to what the call
    names: they are the functions of `bpfstream.links`, which describe them. Each gives a
    `bpfstream.Link`, which is a context manager.

    Attributes:
        spec: What it was loaded from.
    """

    attach = links.attach
    if TYPE_CHECKING:
        attach_kprobe = links.attach_kprobe
        attach_ksyscall = links.attach_ksyscall
        attach_perf_event = links.attach_perf_event
        attach_perf_event_on_each_cpu = links.attach_perf_event_on_each_cpu
        attach_raw_tracepoint = links.attach_raw_tracepoint
        attach_tracepoint = links.attach_tracepoint
        attach_tracing = links.attach_tracing
        attach_uprobe = links.attach_uprobe
        attach_xdp = links.attach_xdp
    else:
        attach_kprobe = _ImportedMethod()
        attach_ksyscall = _ImportedMethod()
        attach_perf_event = _ImportedMethod()
        attach_perf_event_on_each_cpu = _ImportedMethod()
        attach_raw_tracepoint = _ImportedMethod()
        attach_tracepoint = _ImportedMethod()
        attach_tracing = _ImportedMethod()
        attach_uprobe = _ImportedMethod()
        attach_xdp = _ImportedMethod()

    def __init__(self, spec: ProgramSpec, fd: int) -> None:
        """Take over `fd`."""
        super().__init__(fd, f"program {spec.name!r}")
        self.spec = spec

    @property
    def name(self) -> str:
        """The program's name: that of its C function."""
        return self.spec.name

    @property
    def type(self) -> ProgramType:
        """The program's type."""
        return self.spec.type

    @property
    def attach_type(self) -> AttachType:
        """The hook that it was loaded for."""
        return self.spec.attach_type

    @property
    def attach_to(self) -> str:
        """The target that its section names; empty when it names none."""
        return self.spec.attach_to

    @property
    def definition(self) -> SectionDefinition | None:
        """What its section's name means."""
        return self.spec.definition

    def info(self) -> ProgramInfo:
        """What the kernel says of the program (Linux 4.13)."""
        from bpfstream.kernel.info import program_info

        try:
            return program_info(self.fd)
        except OSError as error:
            raise explain(f"query program {self.name!r}", error) from error
