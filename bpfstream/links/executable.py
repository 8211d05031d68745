"""Where the code of a function lies in a program or library: the file offset for a uprobe.

A uprobe is placed by file and file offset, never by virtual address: the kernel finds every mapping
of that part of the file (kernel/events/uprobes.c: uprobe_register). A symbol's value, which is a
virtual address, is translated with the segment that loads it.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bpfstream.abi.elf import SymbolBinding, SymbolKind
from bpfstream.errors import ObjectError
from bpfstream.links.elf_image import (
    SHT_DYNSYM,
    SHT_GNU_VERDEF,
    SHT_GNU_VERSYM,
    SHT_SYMTAB,
    ElfImage,
    Section,
    text_at,
)

_INDIRECT_FUNCTION = 10
"""``STT_GNU_IFUNC``: the symbol's code picks, when it is bound, which code to run."""

_VERSION_INDEX = 0x7FFF
"""The rest of a version's index; bit 15 marks what is not the default version (LSB 11.7.2)."""

_DEBUG_ROOT: Final = Path("/usr/lib/debug")
_MAX_LISTED = 4
"""How many places an ambiguity error names."""


class _Function(NamedTuple):
    """A symbol that bears the wanted name."""

    name: str
    kind: int
    binding: int
    section: int
    address: int

    @property
    def is_indirect(self) -> bool:
        """Whether it is defined here, and its code picks the code to run."""
        return self.section != 0 and self.kind == _INDIRECT_FUNCTION


def find_function(image: ElfImage, symbol: str) -> int | None:
    """The file offset of a function's first instruction; None when there is no such function.

    The dynamic symbols are searched first, then the full table, then that of a separate debug
    file, which is found by build id or by ``.gnu_debuglink``. Symbols of one name and one address
    are one; a strong symbol beats weak ones.

    Args:
        image: The program or library.
        symbol: The function's name; a version may follow, as in ``"pthread_cond_wait@GLIBC_2.3.2"``
            (with one ``@`` or two).

    Raises:
        ObjectError: The name stands for several functions, or for one that the file only imports or
            that is picked at run time; or the file is malformed.
    """
    is_imported = False
    for table in (SHT_DYNSYM, SHT_SYMTAB):
        found = list(_functions_named(image, table, symbol))
        if any(function.is_indirect for function in found):
            # One of the same name that is no such function is an old version that nobody calls, as
            # memcpy@GLIBC_2.2.5 is in glibc.
            raise ObjectError(
                f"{symbol!r} in {image.path} is an indirect function: its code is picked at run "
                "time",
                hint="attach to the code that is picked, which has a name of its own",
            )
        defined = [function for function in found if function.section]
        if defined:
            return image.file_offset(_the_one(image, symbol, defined).address)
        is_imported = is_imported or bool(found)
    separate = _find_in_debug_files(image, symbol)
    if separate is not None:
        return image.file_offset(separate.address)
    if is_imported:
        raise ObjectError(
            f"{image.path} only imports {symbol!r}", hint="attach to the library that defines it"
        )
    return None


def function_names(image: ElfImage) -> Iterator[str]:
    """The names of the functions that the file's own tables define; some come twice."""
    for table in (SHT_DYNSYM, SHT_SYMTAB):
        for section in image.sections(table):
            strings = image.strings_of(section)
            for symbol in image.symbols(section):
                if symbol.kind == SymbolKind.FUNC and symbol.section:
                    yield text_at(strings, symbol.name_offset)


# Symbols --------------------------------------------------------------------------------------


def _functions_named(image: ElfImage, table: int, symbol: str) -> Iterator[_Function]:
    """The functions of a table that bear a name, imported and indirect ones too.

    A dynamic symbol's version is found in tables of its own; in the full table it is a part of the
    name.
    """
    base, at, version = symbol.partition("@")
    version = version.removeprefix("@")
    is_dynamic = table == SHT_DYNSYM
    if is_dynamic:
        wanted = [f"{base}\0"]
    elif at:
        wanted = [f"{base}@{version}\0", f"{base}@@{version}\0"]
    else:
        wanted = [f"{base}\0", f"{base}@"]
    for section in image.sections(table) if base else ():
        strings = image.strings_of(section)
        # The names are looked for among the strings first, so that no symbol's name is compared.
        places = {place for text in wanted for place in _occurrences(strings, text.encode())}
        if not places:
            continue
        versions = _symbol_versions(image) if is_dynamic else {}
        for number, entry in enumerate(image.symbols(section)):
            if entry.name_offset not in places:
                continue
            if entry.kind not in (SymbolKind.FUNC, _INDIRECT_FUNCTION):
                continue
            own_version = versions.get(number, "")
            if is_dynamic and at and own_version != version:
                continue
            name = text_at(strings, entry.name_offset)
            if own_version:
                name += f"@{own_version}"
            yield _Function(name, entry.kind, entry.binding, entry.section, entry.value)


def _occurrences(data: bytes, wanted: bytes) -> Iterator[int]:
    place = data.find(wanted)
    while place >= 0:
        yield place
        place = data.find(wanted, place + 1)


def _symbol_versions(image: ElfImage) -> dict[int, str]:
    """The versions of the dynamic symbols that the file defines, by the symbol's index."""
    definitions = next(image.sections(SHT_GNU_VERDEF), None)
    indices = next(image.sections(SHT_GNU_VERSYM), None)
    if definitions is None or indices is None:
        return {}
    names = _version_names(image, definitions)
    data = image.contents(indices)
    numbers = struct.iter_unpack(f"{image.byteorder}H", data[: len(data) & ~1])
    return {
        symbol: names[index & _VERSION_INDEX]
        for symbol, (index,) in enumerate(numbers)
        if index & _VERSION_INDEX in names
    }


def _version_names(image: ElfImage, definitions: Section) -> dict[int, str]:
    """Names by version index: a chain of Verdef entries, each with its name in a Verdaux."""
    strings = image.strings_of(definitions)
    names: dict[int, str] = {}
    offset = definitions.offset
    for _ in range(definitions.info):
        _, flags, index, _, _, name_at, next_at = image.unpack("4H3I", offset, "version definition")
        (name_offset,) = image.unpack("I", offset + name_at, "version name")
        if not flags & 1:  # VER_FLG_BASE: the file's own name
            names[index] = text_at(strings, name_offset)
        if not next_at:
            break
        offset += next_at
    return names


def _the_one(image: ElfImage, symbol: str, functions: list[_Function]) -> _Function:
    """The one that the functions of a name stand for."""
    strong = [function for function in functions if function.binding != SymbolBinding.WEAK]
    if not strong:
        return functions[0]
    places = {function.address: function for function in strong}
    if len(places) > 1:
        listed = [f"{one.name} at {one.address:#x}" for one in places.values()]
        if len(listed) > _MAX_LISTED:
            listed[_MAX_LISTED:] = [f"{len(listed) - _MAX_LISTED} more"]
        raise ObjectError(
            f"{image.path} has several functions {symbol!r}: {', '.join(listed)}",
            hint="name one as FUNCTION@VERSION, or give an offset in the file",
        )
    return strong[0]


# Separate debug files -------------------------------------------------------------------------


def _find_in_debug_files(image: ElfImage, symbol: str) -> _Function | None:
    """A function by the symbols of a separate debug file.

    Only addresses are taken from such a file: its offsets mean nothing, since it has no code.
    """
    build_id = image.build_id
    for path in _debug_files(image, build_id):
        if not path.is_file():
            continue
        with ElfImage(path) as debug:
            if build_id is not None and debug.build_id != build_id:
                continue
            found = _functions_named(debug, SHT_SYMTAB, symbol)
            defined = [one for one in found if one.section and not one.is_indirect]
            if defined:
                return _the_one(debug, symbol, defined)
    return None


def _debug_files(image: ElfImage, build_id: bytes | None) -> Iterator[Path]:
    """Where a file's separate debug file may be, as gdb's manual has it."""
    if build_id:
        digits = build_id.hex()
        yield _DEBUG_ROOT / ".build-id" / digits[:2] / f"{digits[2:]}.debug"
    section = image.section_named(".gnu_debuglink")
    name = Path(text_at(image.contents(section), 0)).name if section is not None else ""
    if name:
        folder = image.path.resolve().parent
        yield from (folder / name, folder / ".debug" / name)
        yield _DEBUG_ROOT / folder.relative_to("/") / name


# Bare names -----------------------------------------------------------------------------------


def find_file(name: str) -> Path | None:
    """The program or library that a name stands for; None when there is none.

    A name with a slash is a path. Others are looked for as libbpf does: libraries (``.so`` at the
    end, or ``.so.`` inside) in ``LD_LIBRARY_PATH`` and the system's library folders, programs in
    ``PATH`` and the system's program folders.
    """
    if "/" in name:
        return Path(name)
    is_library = name.endswith(".so") or ".so." in name
    if is_library:
        variable, mode = "LD_LIBRARY_PATH", os.R_OK
        folders = ["/usr/lib64", "/usr/lib", f"/lib/{_multiarch_triplet()}"]
    else:
        variable, mode = "PATH", os.R_OK | os.X_OK
        folders = ["/usr/bin", "/usr/sbin"]
    for folder in [*os.environ.get(variable, "").split(":"), *folders]:
        path = Path(folder, name)
        if folder and path.is_file() and os.access(path, mode):
            return path
    return None


def _multiarch_triplet() -> str:
    """The name of Debian's library folder for this architecture: ``"x86_64-linux-gnu"``."""
    return getattr(sys.implementation, "_multiarch", "") or f"{os.uname().machine}-linux-gnu"
