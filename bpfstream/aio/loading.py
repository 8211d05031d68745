"""The asyncio face of loading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike

from bpfstream.aio.object import Object
from bpfstream.btf import Btf
from bpfstream.live.loader import load_as
from bpfstream.spec import ObjectSpec


@asynccontextmanager
async def load(
    source: str | PathLike[str] | bytes | ObjectSpec,
    *,
    btf: str | PathLike[str] | Btf | None = None,
) -> AsyncIterator[Object]:
    """Load a BPF object into the kernel for the length of an ``async with`` block.

    As `bpfstream.load`, which describes arguments and errors. It works in a thread of the event
    loop's default executor; a load that is under way when its task is cancelled is undone when it
    has ended.

    Yields:
        The live object, closed at the end of the block: links detached, descriptors given up.
    """
    loading = asyncio.ensure_future(asyncio.to_thread(load_as, Object, source, btf))
    try:
        obj = await asyncio.shield(loading)
    except asyncio.CancelledError:
        loading.add_done_callback(_undo)
        await asyncio.wait([loading])
        raise
    with obj:
        yield obj


def _undo(loading: asyncio.Future[Object]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()
