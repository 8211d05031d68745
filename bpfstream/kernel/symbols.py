"""The kernel's symbols, /proc/kallsyms.

The file has some hundred thousand lines, of which a program needs a few. So it is read in pieces
and searched for the wanted names, and never made into objects as a whole.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from bpfstream.errors import AmbiguousRelocationError, KernelError, PermissionDeniedError

KALLSYMS = Path("/proc/kallsyms")

_PIECE = 1 << 20
_LLVM_SUFFIX = b".llvm."


class Symbol(msgspec.Struct, frozen=True):
    """A line of /proc/kallsyms (kernel/kallsyms.c, s_show).

    Attributes:
        name: The symbol's name.
        address: Where it is; 0 when this process may not know.
        kind: As of nm(1): ``T`` and ``t`` are text, ``D``, ``d``, ``B`` and ``b`` are data.
        module: The module that it is in; empty for the kernel itself.
    """

    name: str
    address: int
    kind: str
    module: str


def _parse_line(line: bytes, name: str) -> Symbol | None:
    """Read ``ADDRESS KIND NAME[<tab>[MODULE]]`` if it is the line of `name`."""
    try:
        address, kind, rest = line.decode().split(" ", 2)
        found, _, module = rest.partition("\t")
        # The static data of a kernel built with link-time optimisation have a hash behind the name.
        if found != name and not (kind == "d" and found.partition(".llvm.")[0] == name):
            return None
        return Symbol(name, int(address, 16), kind, module.strip("[]"))
    except ValueError:
        return None


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces of whole lines."""
    rest = b""
    while piece := file.read(_PIECE):
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        yield whole + newline
    yield rest


def _lines_with(piece: bytes, needle: bytes) -> Iterator[bytes]:
    position = piece.find(needle)
    while position >= 0:
        begin = piece.rfind(b"\n", 0, position) + 1
        end = piece.find(b"\n", position)
        end = len(piece) if end < 0 else end
        following = piece[position + len(needle) : position + len(needle) + len(_LLVM_SUFFIX)]
        if following[:1] in (b"", b"\n", b"\t") or following == _LLVM_SUFFIX:
            yield piece[begin:end]
        position = piece.find(needle, end)


def search(file: BinaryIO, names: Collection[str]) -> dict[str, tuple[Symbol, ...]]:
    """All symbols of these names in a file like /proc/kallsyms; a name without any is left out."""
    found: dict[str, list[Symbol]] = {}
    needles = {name: b" " + name.encode() for name in names}
    for piece in _pieces(file):
        for name, needle in needles.items():
            for line in _lines_with(piece, needle):
                if (symbol := _parse_line(line, name)) is not None:
                    found.setdefault(name, []).append(symbol)
    return {name: tuple(symbols) for name, symbols in found.items()}


def find_symbols(names: Collection[str]) -> dict[str, tuple[Symbol, ...]]:
    """All kernel symbols of these names; a name without any is left out.

    Several functions may have one name. Addresses are 0 when this process may not know them.

    Raises:
        KernelError: /proc/kallsyms can't be read.
    """
    if not names:
        return {}
    try:
        with KALLSYMS.open("rb") as file:
            return search(file, names)
    except OSError as error:
        raise KernelError(
            f"read {KALLSYMS}",
            error.errno or errno.EIO,
            hint="the kernel must be built with CONFIG_KALLSYMS=y and /proc be mounted",
        ) from error


def symbol_addresses(names: Collection[str]) -> Mapping[str, int]:
    """The addresses of those of the named kernel symbols that exist.

    Raises:
        AmbiguousRelocationError: A name stands for several addresses.
        PermissionDeniedError: The kernel shows this process no addresses.
        KernelError: /proc/kallsyms can't be read.
    """
    addresses = {}
    for name, symbols in find_symbols(names).items():
        distinct = {symbol.address: symbol for symbol in symbols}
        if set(distinct) == {0}:
            raise PermissionDeniedError(
                f"find the address of kernel symbol {name!r}",
                errno.EPERM,
                reason="the kernel hides addresses from this process",
                hint="give it CAP_SYSLOG, or set kernel.kptr_restrict to 0 or 1",
            )
        if len(distinct) > 1:
            raise AmbiguousRelocationError(
                f"kernel symbol {name!r} stands for several addresses",
                candidates=[
                    f"{symbol.address:#x} in {symbol.module or 'the kernel'}"
                    for symbol in distinct.values()
                ],
            )
        addresses[name] = symbols[0].address
    return addresses


def function_names(prefix: str) -> Iterator[str]:
    """The names of the kernel's functions that begin with `prefix`; none without /proc/kallsyms."""
    line = re.compile(rb"^[0-9a-f]+ [tTwW] (" + re.escape(prefix.encode()) + rb"\S*)", re.MULTILINE)
    try:
        with KALLSYMS.open("rb") as file:
            for piece in _pieces(file):
                yield from (match[1].decode(errors="replace") for match in line.finditer(piece))
    except OSError:
        return
