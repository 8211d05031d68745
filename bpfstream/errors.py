"""Every exception that bpfstream raises of its own.

The tree follows the way of an object: it is read (`ObjectError`), linked against a kernel
(`LinkingError`), loaded and attached (`KernelError`), and its events are read (`StreamError`).
Each error says what failed, where and why, and keeps the facts as attributes, so that a program
can act on them without parsing a message. Where something can be done about it, `hint` says what.

What is used after it was closed raises `trio.ClosedResourceError`, as every trio resource does: see
`closed`. Only the streams of asyncio programs have an exception of their own for that.
"""

from __future__ import annotations

import errno as errno_codes
import os
from collections.abc import Sequence

ENOTSUPP = 524
"""An errno that the kernel lets through though user space lacks it (include/linux/errno.h)."""


def errno_name(code: int) -> str:
    """The symbolic name of an errno, such as ``"EACCES"``."""
    if code == ENOTSUPP:
        return "ENOTSUPP"
    return errno_codes.errorcode.get(code, f"errno {code}")


def closed(what: str) -> Exception:
    """The exception for the use of something closed.

    trio is imported here and not above: rooms that raise this know nothing else of trio, and a
    program that closes nothing twice need not pay for the import.
    """
    import trio

    return trio.ClosedResourceError(f"{what} is closed")


class BpfstreamError(Exception):
    """Base of all errors of bpfstream.

    Attributes:
        hint: What the user can do about it; empty when nothing is known.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class MissingPackageError(BpfstreamError):
    """A package that only some uses of bpfstream need is not installed.

    Attributes:
        package: Its name.
        extra: The extra of bpfstream that brings it.
    """

    def __init__(self, what: str, package: str, *, extra: str) -> None:
        super().__init__(
            f"{what} need the package {package}", hint=f"pip install 'bpfstream[{extra}]'"
        )
        self.package = package
        self.extra = extra


# Reading files ---------------------------------------------------------------------------------


class ObjectError(BpfstreamError):
    """A BPF object file can't be understood.

    Attributes:
        section: The ELF section at fault, when there is one.
        offset: The byte offset in that section (or in the file), when it is known.
        path: The file, once it is known: what reads a file adds it on the way out.
    """

    def __init__(
        self, message: str, *, section: str | None = None, offset: int | None = None, hint: str = ""
    ) -> None:
        place = [f"section {section!r}"] if section is not None else []
        place += [f"offset {offset:#x}"] if offset is not None else []
        super().__init__(f"{message} [{', '.join(place)}]" if place else message, hint=hint)
        self.section = section
        self.offset = offset
        self.path: str | None = None

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.path}: {message}" if self.path is not None else message


class BtfError(ObjectError):
    """BTF data is malformed, or lacks a type that was asked for."""


# Linking ---------------------------------------------------------------------------------------


class LinkingError(BpfstreamError):
    """A program can't be made ready for the target kernel.

    Attributes:
        program: The function whose instruction is at fault, when there is one.
        instruction: Its instruction's index in that function, when there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        program: str | None = None,
        instruction: int | None = None,
        hint: str = "",
    ) -> None:
        place = f"{program}" if program is not None else ""
        if instruction is not None:
            place += f" instruction {instruction}"
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.program = program
        self.instruction = instruction


class AmbiguousRelocationError(LinkingError):
    """Several types of the target match a CO-RE relocation and disagree on its value.

    Attributes:
        candidates: The matching types of the target, each as readable text.
    """

    def __init__(
        self,
        message: str,
        *,
        candidates: Sequence[str],
        program: str | None = None,
        instruction: int | None = None,
    ) -> None:
        super().__init__(
            f"{message}: {'; '.join(candidates)}", program=program, instruction=instruction
        )
        self.candidates = tuple(candidates)


class MissingBtfError(LinkingError):
    """The object needs the kernel's BTF and there is none.

    Attributes:
        searched: Every path that was looked at.
    """

    def __init__(self, message: str, *, searched: Sequence[str] = (), hint: str = "") -> None:
        looked = f"; searched {', '.join(searched)}" if searched else ""
        super().__init__(message + looked, hint=hint)
        self.searched = tuple(searched)


# Talking to the kernel -------------------------------------------------------------------------


class KernelError(BpfstreamError):
    """A system call failed.

    Attributes:
        operation: What was tried, in words: ``"create map 'events'"``.
        errno: The kernel's error number.
    """

    def __init__(self, operation: str, errno: int, *, reason: str = "", hint: str = "") -> None:
        text = reason or os.strerror(errno)
        super().__init__(f"{operation}: {text} [{errno_name(errno)}]", hint=hint)
        self.operation = operation
        self.errno = errno
        self.reason = reason


class PermissionDeniedError(KernelError):
    """The process may not do this: `reason` says which rule forbids it."""


class NotSupportedError(KernelError):
    """The running kernel lacks a feature.

    Attributes:
        feature: What is missing: ``"map type RINGBUF"``.
        since: The kernel version that brought it, or empty: ``"5.8"``.
    """

    def __init__(
        self, operation: str, errno: int, *, feature: str, since: str = "", kernel: str = ""
    ) -> None:
        came = f", which Linux {since} brought" if since else ""
        here = f" (this is Linux {kernel})" if kernel else ""
        super().__init__(operation, errno, reason=f"this kernel lacks {feature}{came}{here}")
        self.feature = feature
        self.since = since


class VerifierError(KernelError):
    """The verifier refused a program.

    Attributes:
        program: The program's name.
        summary: The reason in one line.
        source: The C source line that the failing instruction came from, or empty.
        log: The verifier's whole log.
    """

    def __init__(
        self, program: str, errno: int, *, summary: str, source: str = "", log: str = ""
    ) -> None:
        where = f" at {source}" if source else ""
        super().__init__(f"load program {program!r}", errno, reason=f"{summary}{where}")
        self.program = program
        self.summary = summary
        self.source = source
        self.log = log


class AttachError(KernelError):
    """A program can't be attached to its target.

    Attributes:
        target: What it was to be attached to: ``"tracepoint sched/sched_process_exec"``.
    """

    def __init__(
        self, program: str, target: str, errno: int, *, reason: str = "", hint: str = ""
    ) -> None:
        super().__init__(f"attach {program!r} to {target}", errno, reason=reason, hint=hint)
        self.program = program
        self.target = target


# Reading events --------------------------------------------------------------------------------


class StreamError(BpfstreamError):
    """Events can't be read."""


class StreamClosedError(StreamError):
    """An asyncio program uses an event stream that is closed; trio has its own exception."""


class StreamBusyError(StreamError):
    """Two tasks of an asyncio program want one event stream; trio has its own exception."""


class RingCorruptedError(StreamError):
    """A ring holds something that no kernel writes; the reader can't go on.

    Attributes:
        position: The ring position (a running byte count) of the bad record.
    """

    def __init__(self, message: str, *, position: int) -> None:
        super().__init__(f"{message} at ring position {position}")
        self.position = position


class DecodeError(StreamError):
    """A record can't be decoded as its type. Nothing is lost: `record` has its bytes.

    Attributes:
        reason: What is wrong with the record.
        type_name: The type that it should have been.
        record: The record's bytes.
        position: The ring position of the record; None outside of a ring.
    """

    def __init__(
        self, reason: str, *, type_name: str, record: bytes, position: int | None = None
    ) -> None:
        where = f" at ring position {position}" if position is not None else ""
        super().__init__(f"{type_name}: {reason} (record of {len(record)} bytes{where})")
        self.reason = reason
        self.type_name = type_name
        self.record = record
        self.position = position


class SchemaError(StreamError):
    """A user's Struct class, or a value, does not fit the C type that it stands for.

    Attributes:
        field: The first field that differs, or empty when it is the whole.
    """

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field
