"""Whatever a file holds, reading it ends: with a spec or with an error of ours."""

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from bpfstream.errors import BpfstreamError
from bpfstream.spec import ObjectSpec
from tests.support.requirements import program_path

OBJECTS = ("calls", "core", "globals", "legacy", "maps", "ring_producer", "tagged", "types")
EXTREMES = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0xFF00, 0x7FFFFFFF, 0x80000000)
WIDE_EXTREMES = (
    *EXTREMES,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 8,
    (1 << 64) - 1,
)
SECTION_HEADER_FIELDS = ((0, "I"), (4, "I"), (8, "Q"), (24, "Q"), (32, "Q"), (40, "I"), (44, "I"))
ENTRY_SIZE_FIELD = (56, "Q")


def exercise(data: bytes) -> None:
    """Reads an object and everything that its spec computes when it is asked."""
    with contextlib.suppress(BpfstreamError):
        spec = ObjectSpec.from_bytes(data)
        str(spec)
        for variable in spec.copy().variables.values():
            with contextlib.suppress(BpfstreamError):
                variable.value = variable.value


def compiled(name: str) -> bytearray:
    return bytearray(program_path(name).read_bytes())


def section_table(data: bytearray) -> tuple[int, int]:
    return struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]


def section_bytes(data: bytearray, index: int) -> tuple[int, int]:
    table, _ = section_table(data)
    start, size = struct.unpack_from("<QQ", data, table + 64 * index + 24)
    kind = struct.unpack_from("<I", data, table + 64 * index + 4)[0]
    return (start, 0) if kind == 8 else (start, size)


objects = st.sampled_from(OBJECTS)


@settings(max_examples=800)
@given(objects, st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1))
def test_flipped_bytes(name, flips):
    data = compiled(name)
    for place, bits in flips:
        data[place % len(data)] ^= bits
    exercise(bytes(data))


@settings(max_examples=400)
@given(objects, st.integers(0, 1 << 20))
def test_truncated_files(name, length):
    data = compiled(name)
    exercise(bytes(data[: length % len(data)]))


@settings(max_examples=800)
@given(
    objects,
    st.lists(
        st.tuples(
            st.integers(0, 100),
            st.sampled_from((*SECTION_HEADER_FIELDS, ENTRY_SIZE_FIELD)),
            st.sampled_from(WIDE_EXTREMES),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_section_headers_at_their_extremes(name, changes):
    data = compiled(name)
    table, count = section_table(data)
    for section, (offset, layout), value in changes:
        place = table + 64 * (section % count) + offset
        struct.pack_into(f"<{layout}", data, place, value & (1 << 8 * struct.calcsize(layout)) - 1)
    exercise(bytes(data))


@settings(max_examples=200)
@given(objects, st.integers(4, 31), st.sampled_from(EXTREMES))
def test_the_file_header_at_its_extremes(name, word, value):
    data = compiled(name)
    struct.pack_into("<H", data, word * 2, value & 0xFFFF)
    exercise(bytes(data))


@settings(max_examples=1600)
@given(
    objects,
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.sampled_from(EXTREMES)), min_size=1, max_size=4),
)
def test_words_of_one_section_at_their_extremes(name, section, changes):
    """Symbols, relocations, BTF, map declarations: most are made of 32-bit words."""
    data = compiled(name)
    start, size = section_bytes(data, section % section_table(data)[1])
    for word, value in changes:
        if size >= 4:
            struct.pack_into("<I", data, start + word % (size // 4) * 4, value)
    exercise(bytes(data))


@settings(max_examples=400)
@given(st.binary(max_size=512))
def test_anything_after_a_header(tail):
    header = compiled("globals")[:64]
    struct.pack_into("<Q", header, 40, 64)
    struct.pack_into("<HH", header, 60, max(len(tail) // 64, 1), 0)
    exercise(bytes(header) + tail)
