"""The kernel's own BTF, held against bpftool's reading; and BTF of ours, judged by the kernel."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.btf import Btf
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.layout import layout_of, leaves_of
from bpfstream.btf.sanitizer import BtfFeature, sanitize
from bpfstream.btf.types import (
    Array,
    DataSection,
    DataSectionEntry,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Function,
    FunctionPrototype,
    Int,
    Member,
    Parameter,
    Pointer,
    Struct,
    TypeTag,
    Union,
    Variable,
)
from bpfstream.kernel import bpf
from bpfstream.kernel.features import Feature, supports
from tests.support.requirements import require, require_program

VMLINUX = Path("/sys/kernel/btf/vmlinux")
SAMPLE = 7
"""Of the kernel's 100,000 types and more, every so many are looked at."""


@pytest.fixture(scope="module")
def btf():
    if not VMLINUX.exists():
        pytest.skip("needs BTF of the kernel (CONFIG_DEBUG_INFO_BTF)")
    return Btf.from_bytes(VMLINUX.read_bytes())


def test_a_look_up_builds_no_other_types():
    if not VMLINUX.exists():
        pytest.skip("needs BTF of the kernel (CONFIG_DEBUG_INFO_BTF)")
    btf = Btf.from_bytes(VMLINUX.read_bytes())
    assert btf.end_id > 10_000
    task = btf.find("task_struct", Kind.STRUCT)
    assert btf.candidates("task_struct", [Kind.STRUCT]) == [task]
    assert btf.candidates("no_such_struct", [Kind.STRUCT]) == []
    assert {field.name for field in layout_of(btf, task).fields} >= {"pid", "tgid", "comm"}
    assert len(btf._types) < 1000


def test_well_known_types(btf):
    (pid,) = (field for field in layout_of(btf, btf.find("task_struct", Kind.STRUCT)).fields
              if field.name == "pid")  # fmt: skip
    assert btf.describe(pid.type_id) == "pid_t"
    assert btf.describe(pid.element_id) == "int"
    list_head = btf.find("list_head", Kind.STRUCT)
    assert [btf.describe(field.type_id) for field in layout_of(btf, list_head).fields] == [
        "struct list_head *"
    ] * 2
    assert (btf.size_of(list_head), btf.align_of(list_head)) == (16, 8)
    assert btf.kind(btf.find("vfs_read", Kind.FUNC)) == Kind.FUNC


def test_types_read_as_bpftool_reads_them(btf):
    bpftool = require_program("bpftool")
    dump = subprocess.run(
        [bpftool, "btf", "dump", "file", VMLINUX], capture_output=True, text=True, check=True
    ).stdout
    line = re.compile(r"\[(\d+)\] (\w+) '(.*?)'(?: |$)(.*)")
    numbers = re.compile(r"(\w+)=(\w+)")
    heads = re.findall(r"^\[.*$", dump, re.MULTILINE)
    assert len(heads) == btf.end_id - 1
    for match in map(line.match, heads[::SAMPLE]):
        type_id, kind, name, rest = int(match[1]), match[2], match[3], match[4]
        facts = dict(numbers.findall(rest))
        assert btf.kind(type_id).name == kind
        assert btf.name(type_id) == ("" if name == "(anon)" else name)
        match btf.type(type_id):
            case Struct(size=size, members=parts) | Union(size=size, members=parts):
                assert (size, len(parts)) == (int(facts["size"]), int(facts["vlen"]))
            case Enum(size=size, enumerators=parts) | Enum64(size=size, enumerators=parts):
                assert (size, len(parts)) == (int(facts["size"]), int(facts["vlen"]))
            case Int(size=size, bits=bits):
                assert (size, bits) == (int(facts["size"]), int(facts["nr_bits"]))
            case Pointer(type=target):
                assert target == int(facts["type_id"])
            case Array(element=element, length=length):
                assert (element, length) == (int(facts["type_id"]), int(facts["nr_elems"]))
            case Function(prototype=prototype, linkage=linkage):
                assert (prototype, linkage.name.lower()) == (
                    int(facts["type_id"]),
                    facts["linkage"],
                )


def test_structs_of_the_kernel_have_layouts(btf):
    for type_id in range(1, btf.end_id, SAMPLE):
        if btf.kind(type_id) in (Kind.STRUCT, Kind.UNION):
            layout_of(btf, type_id)
            leaves_of(btf, type_id)


def test_a_copy_of_the_kernels_btf_is_the_same(btf):
    builder = BtfBuilder(btf)
    foreign = Btf.from_bytes(builder.to_bytes("big" if btf.byteorder == "little" else "little"))
    assert BtfBuilder(foreign).to_bytes(btf.byteorder) == builder.to_bytes()
    for type_id in range(1, btf.end_id, SAMPLE):
        assert foreign.type(type_id) == btf.type(type_id)


OBJECT = (
    Int("int", 4, 32, signed=True),
    FunctionPrototype(1, (Parameter("x", 1),)),
    Function("main", 2, Linkage.GLOBAL),
    Variable("counter", 1, Linkage.GLOBAL),
    DataSection(".data", 4, (DataSectionEntry(4, 0, 4),)),
    DataSection("?.data", 4, (DataSectionEntry(11, 0, 4),)),
    Float("double", 8),
    TypeTag("user", 1),
    Pointer(8),
    DeclTag("tag", 4),
    Variable("other", 1, Linkage.GLOBAL),
    Enum("state", 4, signed=True, enumerators=(Enumerator("OFF", -1),)),
    Enum64("wide", 8, enumerators=(Enumerator("TOP", 1 << 63),)),
    Struct("event", 8, (Member("a", 1, 0, 3), Member("b", 1, 3, 29), Member("c", 12, 32))),
)
NEEDED = {
    BtfFeature.FUNC: Feature.BTF_FUNC,
    BtfFeature.FUNC_GLOBAL: Feature.BTF_FUNC_GLOBAL,
    BtfFeature.DATASEC: Feature.BTF_DATASEC,
    BtfFeature.QUESTION_MARK_DATASEC: Feature.BTF_QUESTION_MARK_DATASEC,
    BtfFeature.FLOAT: Feature.BTF_FLOAT,
    BtfFeature.DECL_TAG: Feature.BTF_DECL_TAG,
    BtfFeature.TYPE_TAG: Feature.BTF_TYPE_TAG,
    BtfFeature.ENUM64: Feature.BTF_ENUM64,
}


def load(data):
    os.close(bpf.btf_load(data))


def object_btf():
    builder = BtfBuilder()
    for type_ in OBJECT:
        builder.add(type_)
    return Btf.from_bytes(builder.to_bytes())


def test_the_kernel_takes_what_was_rewritten_for_it():
    require(Feature.BTF)
    load(sanitize(object_btf(), {ours for ours, kernel in NEEDED.items() if not supports(kernel)}))


@pytest.mark.parametrize("feature", [*NEEDED, None], ids=str)
def test_the_kernel_takes_each_rewrite(feature):
    require(Feature.BTF)
    missing = {ours for ours, kernel in NEEDED.items() if not supports(kernel)}
    if feature is None:
        missing = set(BtfFeature)
    elif feature is BtfFeature.DATASEC:
        missing |= {BtfFeature.DECL_TAG, feature}  # a tag on a variable needs the variable
    else:
        missing.add(feature)
    load(sanitize(object_btf(), missing))
