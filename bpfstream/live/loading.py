"""The async face of loading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike

from bpfstream.btf import Btf
from bpfstream.live.loader import load_object
from bpfstream.live.object import Object
from bpfstream.spec import ObjectSpec


@asynccontextmanager
async def load(
    source: str | PathLike[str] | bytes | ObjectSpec,
    *,
    btf: str | PathLike[str] | Btf | None = None,
) -> AsyncIterator[Object]:
    """Load a BPF object into the kernel for the length of an ``async with`` block.

    Reading, linking and above all verifying can take seconds, so they happen in a worker thread.
    A load that is under way is not interrupted by a cancellation; it is undone when it has ended.

    Args:
        source: The object file's path, its bytes, or a spec, perhaps edited.
        btf: Types to relocate against instead of the kernel's own: a file of raw BTF, or an ELF
            file with a ``.BTF`` section.

    Yields:
        The live object, closed at the end of the block: links detached, descriptors given up.

    Raises:
        OSError: The file can't be read.
        ObjectError: It is no BPF object, or a damaged one.
        LinkingError: A program does not fit this kernel.
        VerifierError: The verifier refused a program.
        PermissionDeniedError: The process may not do this.
        NotSupportedError: The kernel lacks something that the object needs.
        KernelError: A system call failed for another reason.
    """
    import trio

    obj = await trio.to_thread.run_sync(_load, source, btf)
    try:
        yield obj
    finally:
        obj.close()
        await trio.lowlevel.checkpoint()


def _load(
    source: str | PathLike[str] | bytes | ObjectSpec, btf: str | PathLike[str] | Btf | None
) -> Object:
    return load_object(source, btf=btf)
