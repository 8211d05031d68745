"""The object's BTF on its way into the kernel."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from bpfstream.btf import Btf
from bpfstream.kernel import bpf

if TYPE_CHECKING:
    from bpfstream.btf.sanitizer import BtfFeature


class LoadedBtf(msgspec.Struct, frozen=True):
    """What became of an object's BTF.

    Attributes:
        fd: Its descriptor; 0 where the kernel did not take it, or there is none.
        refusal: Why the kernel did not take it. Most objects work without, so that this is an
            error only together with another one.
    """

    fd: int = 0
    refusal: OSError | None = None


def load_btf(data: bytes | None, closing: ExitStack) -> LoadedBtf:
    """Load an object's BTF, rewritten for a kernel that is older than parts of it.

    Args:
        data: What linking gave; None without BTF.
        closing: Closes the descriptor. Maps and programs keep the BTF alive by themselves.
    """
    if data is None:
        return LoadedBtf()
    try:
        fd = _load(data)
    except OSError as error:
        return LoadedBtf(refusal=error)
    closing.callback(os.close, fd)
    return LoadedBtf(fd)


def _load(data: bytes) -> int:
    try:
        return bpf.btf_load(data)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
        # Only a kernel that refuses is asked for what it lacks: most take it as it is.
        missing = _missing_features()
        if not missing:
            raise
        from bpfstream.btf.sanitizer import sanitize

        return bpf.btf_load(sanitize(Btf.from_bytes(data), missing))


def _missing_features() -> list[BtfFeature]:
    from bpfstream.btf.sanitizer import BtfFeature
    from bpfstream.kernel.features import Feature, supports

    probes = {
        BtfFeature.FUNC: Feature.BTF_FUNC,
        BtfFeature.DATASEC: Feature.BTF_DATASEC,
        BtfFeature.FUNC_GLOBAL: Feature.BTF_FUNC_GLOBAL,
        BtfFeature.FLOAT: Feature.BTF_FLOAT,
        BtfFeature.DECL_TAG: Feature.BTF_DECL_TAG,
        BtfFeature.TYPE_TAG: Feature.BTF_TYPE_TAG,
        BtfFeature.ENUM64: Feature.BTF_ENUM64,
        BtfFeature.QUESTION_MARK_DATASEC: Feature.BTF_QUESTION_MARK_DATASEC,
    }
    return [feature for feature, probe in probes.items() if not supports(probe)]
