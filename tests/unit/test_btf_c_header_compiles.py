"""The kernel's types as C: a compiler takes all of them, and lays them out as the kernel does."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bpfstream.abi.btf import Kind
from bpfstream.btf import Btf
from bpfstream.btf.c_header import c_header
from bpfstream.btf.layout import layout_of
from tests.support.requirements import require_program

VMLINUX = Path("/sys/kernel/btf/vmlinux")
TAGGED = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64)


@pytest.fixture(scope="module")
def btf():
    if not VMLINUX.exists():
        pytest.skip("needs BTF of the kernel (CONFIG_DEBUG_INFO_BTF)")
    return Btf.from_bytes(VMLINUX.read_bytes())


def assertions(btf):
    """What C says of sizes and offsets, for all structs and unions whose name stands for one."""
    tagged = [
        type_id
        for type_id in range(btf.first_id, btf.end_id)
        if btf.kind(type_id) in TAGGED and btf.name(type_id)
    ]
    times = Counter(btf.name(type_id) for type_id in tagged)
    for type_id in tagged:
        if times[btf.name(type_id)] > 1 or btf.kind(type_id) not in (Kind.STRUCT, Kind.UNION):
            continue
        if any(btf.describe(each.type) == "va_list" for each in btf.type(type_id).members):
            continue  # the compiler's own, which is not the same on all machines
        tag = f"{btf.kind(type_id).name.lower()} {btf.name(type_id)}"
        yield f'_Static_assert(sizeof({tag}) == {btf.size_of(type_id)}, "{tag}");'
        for field in layout_of(btf, type_id).fields:
            if field.bitfield is None:
                place = f"__builtin_offsetof({tag}, {field.name})"
                yield f'_Static_assert({place} == {field.offset}, "{tag}.{field.name}");'


def test_all_types_compile_and_lie_where_the_kernel_has_them(btf, tmp_path):
    clang = require_program("clang", package="clang")
    source = tmp_path / "types.c"
    checks = list(assertions(btf))
    assert len(checks) > 10_000
    source.write_text("\n".join([c_header(btf), *checks]))
    target = ["-target", "bpf"] if btf.byteorder == "little" else ["-target", "bpfeb"]
    compiled = subprocess.run(
        [clang, *target, "-Wall", "-Werror", "-fsyntax-only", source],
        capture_output=True,
        text=True,
    )
    assert compiled.returncode == 0, compiled.stderr[:4000]


def test_a_few_types_come_with_what_they_need_and_no_more(btf):
    header = c_header(btf, [btf.find("list_head", Kind.STRUCT), btf.find("pid_t", Kind.TYPEDEF)])
    assert "struct list_head {\n\tstruct list_head *next;\n\tstruct list_head *prev;\n};" in header
    assert "typedef __kernel_pid_t pid_t;" in header
    assert "task_struct" not in header
