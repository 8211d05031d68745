"""The BTF of the running kernel and its modules."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

import msgspec

from bpfstream.btf.reader import Btf
from bpfstream.errors import BtfError, MissingBtfError
from bpfstream.kernel import bpf
from bpfstream.kernel.memory import map_for_good

_SYSFS_BTF = Path("/sys/kernel/btf/vmlinux")
_DISK_CANDIDATES = (
    "/boot/vmlinux-{release}",
    "/lib/modules/{release}/vmlinux-{release}",
    "/lib/modules/{release}/build/vmlinux",
    "/usr/lib/modules/{release}/kernel/vmlinux",
    "/usr/lib/debug/boot/vmlinux-{release}",
    "/usr/lib/debug/boot/vmlinux-{release}.debug",
    "/usr/lib/debug/lib/modules/{release}/vmlinux",
)
"""Where distributions put the kernel's ELF image."""

_ELF_MAGIC = b"\x7fELF"


def kernel_btf_candidates() -> tuple[Path, ...]:
    """The files in which the kernel's BTF is looked for, in order."""
    release = os.uname().release
    disk = (Path(candidate.format(release=release)) for candidate in _DISK_CANDIDATES)
    return (_SYSFS_BTF, *disk)


@cache
def kernel_btf() -> Btf:
    """The types of the running kernel (Linux 5.4 with CONFIG_DEBUG_INFO_BTF).

    Raises:
        MissingBtfError: None of `kernel_btf_candidates` has it.
        BtfError: What was found is malformed.
    """
    candidates = kernel_btf_candidates()
    reasons = []
    for path in candidates:
        try:
            return _map_sysfs_btf() if path == _SYSFS_BTF else read_btf(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            reasons.append(f"{path}: {error.strerror}")
    raise MissingBtfError(
        "; ".join(["the kernel's BTF is missing", *reasons]),
        searched=[str(path) for path in candidates],
        hint="use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or give a BTF file of this kernel",
    )


def _map_sysfs_btf() -> Btf:
    """The kernel's BTF where it lies: 5 MB that this process need not copy (Linux 6.16)."""
    with _SYSFS_BTF.open("rb") as file:
        try:
            data = map_for_good(file.fileno(), os.fstat(file.fileno()).st_size)
        except OSError:
            return Btf.from_bytes(file.read())  # older kernels let it be read only
    return Btf.from_bytes(data)


def read_btf(path: Path, *, base: Btf | None = None) -> Btf:
    """Read a file of raw BTF, or the ``.BTF`` section of an ELF file.

    Raises:
        OSError: The file can't be read, or is an ELF file without BTF (ENOENT).
        BtfError: It holds no BTF that can be understood.
    """
    with path.open("rb") as file:
        is_elf = file.read(len(_ELF_MAGIC)) == _ELF_MAGIC
        data = _elf_section(file) if is_elf else path.read_bytes()
    return Btf.from_bytes(data, base=base)


def _elf_section(file: BinaryIO) -> bytes:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(file).get_section_by_name(".BTF")
        data: bytes | None = section.data() if section is not None else None
    except (ELFError, UnicodeDecodeError, ValueError) as error:
        raise BtfError(f"{file.name} is no valid ELF file: {error}") from error
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "no .BTF section", file.name)
    return data


class ModuleBtf(msgspec.Struct, frozen=True):
    """The BTF of a kernel module: split BTF upon that of the kernel.

    Attributes:
        name: The module's name.
        id: The kernel's id of this BTF, from which ``BPF_BTF_GET_FD_BY_ID`` gives a descriptor.
        btf: Its types.
    """

    name: str
    id: int
    btf: Btf


class ModuleBtfs(msgspec.Struct, frozen=True):
    """The BTF of all loaded modules.

    Attributes:
        modules: Those that can be read, by ascending id.
        skipped: Why the others were left out, a line each.
    """

    modules: tuple[ModuleBtf, ...]
    skipped: tuple[str, ...]


def module_btfs() -> ModuleBtfs:
    """Read the BTF of the modules that are loaded now (Linux 5.11; needs CAP_SYS_ADMIN).

    Raises:
        OSError: With the kernel's errno.
    """
    modules, skipped = [], []
    for object_id, name, data in _kernel_objects():
        try:
            modules.append(ModuleBtf(name, object_id, Btf.from_bytes(data, base=kernel_btf())))
        except BtfError as error:
            skipped.append(f"module {name}: {error}")
    return ModuleBtfs(tuple(modules), tuple(skipped))


def _kernel_objects() -> Iterator[tuple[int, str, bytes]]:
    from bpfstream.kernel.info import btf_data, btf_info

    for object_id in bpf.ids(bpf.ObjectKind.BTF):
        try:
            fd = bpf.fd_by_id(bpf.ObjectKind.BTF, object_id)
        except FileNotFoundError:
            continue  # gone since its id was listed
        try:
            info = btf_info(fd)
            if info.is_kernel and info.name not in ("", "vmlinux"):
                yield object_id, info.name, btf_data(fd)
        finally:
            os.close(fd)
