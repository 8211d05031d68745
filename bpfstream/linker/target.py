"""What a program is linked against: everything that linking asks of the target kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from bpfstream.btf.reader import Btf


class ModuleBtf(Protocol):
    """The BTF of a kernel module: split BTF upon that of the kernel."""

    @property
    def name(self) -> str:
        """The module's name."""

    @property
    def id(self) -> int:
        """The kernel's id of this BTF, from which the loader gets a file descriptor."""

    @property
    def btf(self) -> Btf:
        """Its types; own ids begin where the kernel's end."""


def _no_modules() -> Sequence[ModuleBtf]:
    return ()


def _no_configuration() -> Mapping[str, str]:
    return {}


def _no_addresses(names: Collection[str]) -> Mapping[str, int]:
    return {}


def _no_virtual_configuration(name: str) -> int:
    return 0


class Target(msgspec.Struct, frozen=True):
    """A kernel as linking sees it. What costs something to find out is asked for when needed.

    Attributes:
        btf: The kernel's types, or None when it has no BTF.
        modules: Gives the BTF of the loaded modules in the order of their BTF ids. Asked for when
            the kernel's own BTF lacks what a program needs.
        kernel_config: Gives the kernel's build configuration: the text behind ``=`` by name, such
            as ``{"CONFIG_HZ": "250"}``.
        symbol_addresses: Gives the addresses of those of the named kernel symbols that exist.
        virtual_config: Gives the value of ``LINUX_KERNEL_VERSION`` (as ``KERNEL_VERSION()``
            encodes it), ``LINUX_HAS_BPF_COOKIE`` or ``LINUX_HAS_SYSCALL_WRAPPER`` (0 or 1).
        relocation_btf: Takes the place of `btf` and of the modules in CO-RE relocations only;
            used where the kernel has no BTF of its own, or to link for another kernel.
        searched: Where BTF was looked for; named in the error when it is missing.
    """

    btf: Btf | None = None
    modules: Callable[[], Sequence[ModuleBtf]] = _no_modules
    kernel_config: Callable[[], Mapping[str, str]] = _no_configuration
    symbol_addresses: Callable[[Collection[str]], Mapping[str, int]] = _no_addresses
    virtual_config: Callable[[str], int] = _no_virtual_configuration
    relocation_btf: Btf | None = None
    searched: tuple[str, ...] = ()
