"""Where the types of a BTF lie and which bear a name, with no object for any of them."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import TypeAlias

from bpfstream._native import COMPILED, hot
from bpfstream.abi.btf import KIND_MASK, KIND_SHIFT, TRAILER_WORDS, TYPE_WORDS, VLEN_MASK
from bpfstream.btf.header import SECTION
from bpfstream.btf.names import essential_name
from bpfstream.btf.strings import StringTable
from bpfstream.errors import BtfError

Words: TypeAlias = "memoryview | array[int]"
"""The type section as 32-bit words in the machine's own byte order."""

_FEW = 8
"""Places of a name up to which each is searched for; more are looked for in one pass over all."""


_UNKNOWN = (0xFFFFFFFF, 0)
"""The trailer of a kind that is not known, for the compiled twin."""


class _RecordWords(dict[int, int]):
    """From a record's info word to its length in words.

    Equal info words mean equal lengths, and the kernel's 126,000 types have some 300 different
    ones: a dict look-up is the fastest step there is in Python.
    """

    def __init__(self, trailers: Mapping[int, tuple[int, int]]) -> None:
        super().__init__()
        self._trailers = trailers

    def __missing__(self, info: int) -> int:
        kind = info >> KIND_SHIFT & KIND_MASK
        if kind not in self._trailers:
            raise KeyError(f"type kind {kind} is not known")
        once, each = self._trailers[kind]
        words = self[info] = TYPE_WORDS + once + each * (info & VLEN_MASK)
        return words


def locate_types(
    words: Words,
    more_kinds: Mapping[int, tuple[int, int]],
    section_offset: int,
    *,
    native: bool = COMPILED,
) -> array[int]:
    """The word at which each type begins.

    Args:
        words: The type section.
        more_kinds: Trailers, as in `TRAILER_WORDS`, of kinds that are not known here.
        section_offset: Byte in the BTF at which the section begins, for errors.
        native: Use the compiled twin.

    Raises:
        BtfError: A kind is neither known nor in `more_kinds`, or the last record is cut off.
    """
    if native:
        trailers = {**more_kinds, **TRAILER_WORDS}
        table = array("I", chain(*(trailers.get(kind, _UNKNOWN) for kind in range(KIND_MASK + 1))))
        located = hot.locate_types(words, table)
        if located is not None:
            return array("I", located)
    record_words = _RecordWords({**more_kinds, **TRAILER_WORDS})
    starts = array("I")
    append = starts.append
    word, end = 0, len(words)
    problem = "type record is cut off"
    try:
        while word < end:
            append(word)
            word += record_words[words[word + 1]]
    except IndexError:
        pass  # not even the info word is there: `problem` says it
    except KeyError as error:
        (problem,) = error.args
    if word != end:
        raise BtfError(problem, section=SECTION, offset=section_offset + 4 * starts[-1])
    return starts


class NameIndex:
    """Finds the types that bear a name, counted from 0.

    The name's places in the string table are searched first, then types whose name offset is one
    of them, by its lowest byte: both are runs of bytes, searched at memory speed. A dict of all
    names would take ten times the memory, and longer to build than some twenty look-ups take.
    """

    def __init__(
        self,
        words: Words,
        starts: array[int],
        strings: StringTable,
        *,
        native: bool = COMPILED,
    ) -> None:
        self._words = words
        self._starts = starts
        self._strings = strings
        self._native = native

    @cached_property
    def _offsets(self) -> array[int]:
        """The name offset of each type."""
        if self._native:
            return array("I", hot.pick_words(self._words, self._starts))
        return array("I", map(self._words.__getitem__, self._starts))

    @cached_property
    def _low_bytes(self) -> bytes:
        """The lowest byte of each name offset."""
        lowest = 0 if sys.byteorder == "little" else self._offsets.itemsize - 1
        return self._offsets.tobytes()[lowest :: self._offsets.itemsize]

    @cached_property
    def _tails_are_shared(self) -> bool:
        """Some type's name is the end of a longer string."""
        return self._strings.has_inside(self._offsets, native=self._native)

    def named(self, name: str) -> list[int]:
        """The types of exactly this name, ascending."""
        return self._types_at(self._places(name))

    def essentially_named(self, name: str) -> list[int]:
        """The types whose name without its flavour is this, ascending."""
        places = set(self._strings.flavoured_places(name, native=self._native))
        if essential_name(name) == name:
            places.update(self._places(name))
        return self._types_at(places)

    def _places(self, name: str) -> set[int]:
        """The offsets that a type of this name may have.

        Producers store a string once (pahole and bpftool by libbpf's strset, LLVM by its own
        table), so in a table as large as a kernel's the search ends at the first; what stands
        there only as another's end is looked for when nothing else is found. In a small table
        every place counts.
        """
        if not name:
            return set()
        if not self._strings.is_small:
            if (offset := self._strings.offset_of(name)) is not None:
                return {offset}
            if not self._tails_are_shared:
                return set()
        return set(self._strings.places(name))

    def _types_at(self, places: set[int]) -> list[int]:
        if self._native:
            return hot.find_words(self._offsets, array("I", sorted(places))) if places else []
        if len(places) > _FEW:
            return [number for number, offset in enumerate(self._offsets) if offset in places]
        return sorted(number for place in places for number in self._types_of(place))

    def _types_of(self, place: int) -> Iterator[int]:
        low = place & 0xFF
        number = self._low_bytes.find(low)
        while number >= 0:
            if self._offsets[number] == place:
                yield number
            number = self._low_bytes.find(low, number + 1)
