"""What .BTF.ext says of instructions."""

import struct

import pytest

from bpfstream.abi.btf import CoreRelocationKind
from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.ext import BtfExt, CoreRelocation, InfoSection, LineInfo, lines_of
from bpfstream.btf.types import Int
from bpfstream.errors import BtfError
from tests.support.btf_ext import encode_ext


@pytest.fixture(params=["little", "big"])
def byteorder(request):
    return request.param


@pytest.fixture
def btf(byteorder):
    builder = BtfBuilder()
    builder.add(Int("int", 4, 32))
    for text in ("xdp", "kprobe/do_exit", "main.c", "return 0;", "0:1"):
        builder.intern(text)
    return Btf.from_bytes(builder.to_bytes(byteorder))


def test_each_part_is_read(btf, byteorder):
    place = btf.strings.offset_of
    data = encode_ext(
        byteorder,
        functions=[(place("xdp"), [(0, 1)]), (place("kprobe/do_exit"), [(0, 1), (16, 1)])],
        lines=[(place("xdp"), [(8, place("main.c"), place("return 0;"), 12 << 10 | 5)])],
        relocations=[
            (place("xdp"), [(24, 1, place("0:1"), 0)]),
            (place("kprobe/do_exit"), [(8, 1, place("0:1"), 12)]),
        ],
    )
    ext = BtfExt.from_bytes(data, btf)
    order = "<" if byteorder == "little" else ">"
    assert ext.byteorder == byteorder
    assert ext.functions == {
        "xdp": InfoSection("xdp", 8, struct.pack(f"{order}II", 0, 1)),
        "kprobe/do_exit": InfoSection(
            "kprobe/do_exit", 8, struct.pack(f"{order}IIII", 0, 1, 16, 1)
        ),
    }
    assert lines_of(ext.lines["xdp"], btf) == (LineInfo(8, "main.c", "return 0;", 12, 5),)
    assert ext.relocations == (
        CoreRelocation("xdp", 24, 1, "0:1", CoreRelocationKind.FIELD_BYTE_OFFSET),
        CoreRelocation("kprobe/do_exit", 8, 1, "0:1", CoreRelocationKind.TYPE_MATCHES),
    )


def test_records_may_be_longer_than_is_known(btf, byteorder):
    place = btf.strings.offset_of
    data = encode_ext(
        byteorder,
        lines=[(place("xdp"), [(8, place("main.c"), 0, 1 << 10), (16, 0, 0, 0)])],
        relocations=[(place("xdp"), [(24, 1, place("0:1"), 2)] * 2)],
        extra=8,
    )
    ext = BtfExt.from_bytes(data, btf)
    assert ext.lines["xdp"].record_size == 24
    assert [line.offset for line in lines_of(ext.lines["xdp"], btf)] == [8, 16]
    assert len(ext.relocations) == 2


def test_sections_of_one_name_are_joined(btf, byteorder):
    name = btf.strings.offset_of("xdp")
    data = encode_ext(byteorder, functions=[(name, [(0, 1)]), (name, [(8, 1)])])
    assert len(BtfExt.from_bytes(data, btf).functions["xdp"].records) == 16


def test_old_producers_know_no_relocations(btf, byteorder):
    ext = BtfExt.from_bytes(encode_ext(byteorder, relocations=None), btf)
    assert (ext.functions, ext.lines, ext.relocations) == ({}, {}, ())


def test_the_byte_order_must_be_the_objects(btf, byteorder):
    other = "big" if byteorder == "little" else "little"
    with pytest.raises(BtfError, match=f"{other}-endian data in a {byteorder}-endian object"):
        BtfExt.from_bytes(encode_ext(other), btf)


@pytest.mark.parametrize(
    ("place", "value", "offset"),
    [
        (4, 20, 4),  # header length
        (4, 1 << 31, 4),
        (24, 2, 24),  # part not aligned
        (28, 0xFFFFFFF0, 24),  # part ends outside
        (28, 3, 32),  # too short for the record size
        (28, 4, 36),  # no sections
        (28, 8, 36),  # section header cut off
        (32, 12, 32),  # record size below the minimum
        (32, 17, 32),
        (36, 1 << 20, 36),  # name outside of the strings
        (40, 0, 36),  # no records
        (40, 1 << 31, 36),  # records end outside
        (48, 2, 48),  # type that is not there
        (52, 1 << 20, 52),  # access string outside
        (56, 13, 56),  # kind that is not known
    ],
)
def test_broken_records_are_refused_with_the_offset(btf, byteorder, place, value, offset):
    name = btf.strings.offset_of("xdp")
    data = bytearray(encode_ext(byteorder, relocations=[(name, [(0, 1, name, 0)])]))
    assert len(data) == 60
    struct.pack_into("<I" if byteorder == "little" else ">I", data, place, value)
    with pytest.raises(BtfError) as caught:
        BtfExt.from_bytes(bytes(data), btf)
    assert caught.value.section == ".BTF.ext"
    assert caught.value.offset == offset


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb\x01\x00", b"\x9f\xeb\x02\x00" + bytes(28)])
def test_broken_headers_are_refused(data):
    btf = Btf.from_bytes(BtfBuilder().to_bytes("little"))
    with pytest.raises(BtfError):
        BtfExt.from_bytes(data, btf)
