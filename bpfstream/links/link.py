"""`Link`: one live attachment of a program, and how it is undone."""

from __future__ import annotations

import errno
import os
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from bpfstream.abi.programs import AttachType, ProgramType
from bpfstream.abi.sections import SectionDefinition
from bpfstream.errors import KernelError, NotSupportedError, closed
from bpfstream.kernel import bpf, privileges

if TYPE_CHECKING:
    from bpfstream.abi.links import LinkType
    from bpfstream.kernel.link_info import LinkDetails

_PIN_REASONS = {
    errno.EPERM: "the path is not in a BPF file system, or its last part has a dot",
    errno.EEXIST: "the path is taken",
    errno.ENOENT: "the path's folder doesn't exist",
}


class AttachableProgram(Protocol):
    """What attaching needs of a loaded program; `bpfstream.live.Program` is one."""

    @property
    def name(self) -> str:
        """The program's name in its object."""
        ...

    @property
    def fd(self) -> int:
        """The loaded program's file descriptor; it stays the program's own."""
        ...

    @property
    def type(self) -> ProgramType:
        """The type that it was loaded as."""
        ...

    @property
    def attach_type(self) -> AttachType:
        """The hook that it was loaded for (``expected_attach_type``)."""
        ...

    @property
    def attach_to(self) -> str:
        """What its section says behind the prefix: ``"sched/sched_process_exec"``."""
        ...

    @property
    def definition(self) -> SectionDefinition | None:
        """The section table's row that its section matched, if any."""
        ...


class LinkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an attachment.

    Attributes:
        program: The program's name.
        target: What it is attached to, in words.
        type: The kernel's link type; None for a perf event of a kernel before 5.15, which has
            no link object.
        id: The kernel's link id; None where `type` is None.
        program_id: The kernel's id of the attached program; None where `type` is None.
        details: What the kernel tells of this link type's target and cookie; None when nothing.
    """

    program: str
    target: str
    type: LinkType | None = None
    id: int | None = None
    program_id: int | None = None
    details: LinkDetails | None = None


class Link:
    """One attachment; a context manager that detaches on its way out.

    Links are made by `attach` and the ``attach_*`` functions. A link that is dropped without having
    been detached is detached with a `ResourceWarning`. After `detach`, every use but another
    `detach` raises `trio.ClosedResourceError`.
    """

    def __init__(
        self, program: str, target: str, fd: int, undo: ExitStack, *, is_kernel_link: bool = True
    ) -> None:
        """Take over an attachment; only this room calls it.

        Args:
            program: The attached program's name.
            target: What it is attached to, in words.
            fd: The file descriptor that holds the attachment; `undo` closes it.
            undo: What detaching does, run last in, first out. All of it runs even if a part fails.
            is_kernel_link: Whether `fd` is a bpf_link, rather than a perf event that the program
                was set on by ioctl (kernels before 5.15).
        """
        self._program = program
        self._target = target
        self._fd = fd
        self._undo: ExitStack | None = undo
        self._is_kernel_link = is_kernel_link

    @property
    def program(self) -> str:
        """The attached program's name."""
        return self._program

    @property
    def target(self) -> str:
        """What the program is attached to: ``"tracepoint sched/sched_process_exec"``."""
        return self._target

    @property
    def fd(self) -> int:
        """The file descriptor that holds the attachment; it stays the link's own."""
        self._check_open()
        return self._fd

    @property
    def is_detached(self) -> bool:
        """Whether `detach` was called."""
        return self._undo is None

    def detach(self) -> None:
        """Take the program off its target and free all that the attachment took. Idempotent.

        A pinned link stays attached until its pin is removed too.

        Raises:
            KernelError: A part could not be undone. Every other part was.
        """
        undo, self._undo = self._undo, None
        if undo is None:
            return
        try:
            undo.close()
        except OSError as error:
            raise KernelError(
                f"detach {self._program!r} from {self._target}", error.errno or 0
            ) from error

    def info(self) -> LinkInfo:
        """What the kernel says of this attachment.

        Raises:
            KernelError: The kernel refused to tell.
            trio.ClosedResourceError: The link was detached.
        """
        from bpfstream.abi.links import LinkType
        from bpfstream.kernel.link_info import link_info

        self._check_open()
        if not self._is_kernel_link:
            return LinkInfo(program=self._program, target=self._target)
        try:
            kernel = link_info(self._fd)
        except OSError as error:
            raise privileges.explain(f"ask for {self._describe()}", error) from error
        return LinkInfo(
            program=self._program,
            target=self._target,
            type=LinkType(kernel.type),
            id=kernel.id,
            program_id=kernel.program_id,
            details=kernel.details,
        )

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the attachment a name in a BPF file system; it then outlives this process.

        Args:
            path: A new name inside a mounted bpffs, without a dot in its last part.

        Raises:
            NotSupportedError: The kernel has no link object for it (perf events before 5.15).
            KernelError: The path is taken, or is not inside a BPF file system.
            trio.ClosedResourceError: The link was detached.
        """
        self._check_open()
        operation = f"pin {self._describe()} at {os.fspath(path)}"
        if not self._is_kernel_link:
            raise NotSupportedError(
                operation, errno.EOPNOTSUPP, feature="perf event links", since="5.15"
            )
        try:
            bpf.object_pin(self._fd, Path(path))
        except OSError as error:
            code = error.errno or 0
            raise KernelError(operation, code, reason=_PIN_REASONS.get(code, "")) from error

    def _describe(self) -> str:
        return f"link of {self._program!r} to {self._target}"

    def _check_open(self) -> None:
        if self._undo is None:
            raise closed(self._describe())

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()

    def __del__(self) -> None:
        if self._undo is not None:
            message = f"{self._describe()} was never detached"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
            self.detach()

    def __repr__(self) -> str:
        state = " (detached)" if self.is_detached else ""
        return f"<Link {self._program} -> {self._target}{state}>"
