"""The way from an object's spec to programs ready for a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfstream.linker.linked import LinkedObject
from bpfstream.linker.target import Target

if TYPE_CHECKING:
    from bpfstream.spec import ObjectSpec


def link(spec: ObjectSpec, target: Target) -> LinkedObject:
    """Make every program of `spec` that is to be loaded ready for `target`. `spec` stays as it is.

    Raises:
        LinkingError: A program can't be made ready: names program, instruction and cause.
        AmbiguousRelocationError: Matching types of the target disagree on a CO-RE relocation.
        MissingBtfError: A program needs the kernel's BTF and the target has none.
        ObjectError: What the object says of itself does not fit together.
    """
    raise NotImplementedError
