"""The running kernel, as the linker sees it."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping, Sequence

from bpfstream.btf import Btf
from bpfstream.errors import MissingBtfError
from bpfstream.kernel.btf import kernel_btf, module_btfs
from bpfstream.kernel.config import kernel_config, kernel_version
from bpfstream.kernel.privileges import explain
from bpfstream.linker import ModuleBtf, Target


def running_kernel(relocation_btf: Btf | None = None) -> Target:
    """What linking needs to know of the running kernel; found out when it is asked for.

    Args:
        relocation_btf: Types to relocate against instead of the kernel's own.
    """
    btf: Btf | None = None
    searched: tuple[str, ...] = ()
    try:
        btf = kernel_btf()
    except MissingBtfError as error:
        searched = error.searched
    return Target(
        btf=btf,
        modules=_modules,
        kernel_config=kernel_config,
        symbol_addresses=_symbol_addresses,
        virtual_config=_virtual_config,
        relocation_btf=relocation_btf,
        searched=searched,
    )


def btf_of_running_kernel() -> Btf | None:
    """The kernel's types, or None when it has none for us."""
    try:
        return kernel_btf()
    except MissingBtfError:
        return None


def _modules() -> Sequence[ModuleBtf]:
    try:
        return module_btfs().modules
    except OSError as error:
        # Listing BTF needs CAP_SYS_ADMIN and Linux 5.11. Without it the kernel itself is all there
        # is, and what is only in a module is reported as missing.
        if error.errno in (errno.EPERM, errno.EINVAL):
            return ()
        raise explain("read the BTF of the kernel's modules", error) from error


def _symbol_addresses(names: Collection[str]) -> Mapping[str, int]:
    from bpfstream.kernel.symbols import symbol_addresses

    return symbol_addresses(names)


def _virtual_config(name: str) -> int:
    from bpfstream.kernel.features import Feature, supports

    match name:
        case "LINUX_KERNEL_VERSION":
            return kernel_version()
        case "LINUX_HAS_BPF_COOKIE":
            return int(supports(Feature.ATTACH_COOKIE))
        case "LINUX_HAS_SYSCALL_WRAPPER":
            return int(supports(Feature.SYSCALL_WRAPPER))
    raise KeyError(name)
