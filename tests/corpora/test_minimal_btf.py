"""A minimised BTF answers the relocations of real objects as the kernel's whole BTF does."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfstream.btf import Btf
from bpfstream.errors import LinkingError
from bpfstream.linker import Target, core
from bpfstream.linker.functions import FunctionTable
from bpfstream.linker.minimal_btf import minimal_btf
from bpfstream.spec import ObjectSpec
from tests.corpora.extract import package_objects

VMLINUX = Path("/sys/kernel/btf/vmlinux")
OWN_OBJECTS = sorted((Path(__file__).parents[1] / "programs").glob("*.bpf.o"))
"""They ask about enumerators and whole types too."""


@pytest.fixture(scope="module")
def kernel() -> Btf:
    if not VMLINUX.exists():
        pytest.skip("needs BTF of the kernel (CONFIG_DEBUG_INFO_BTF)")
    return Btf.from_bytes(VMLINUX.read_bytes())


@pytest.fixture(scope="module")
def specs() -> list[ObjectSpec]:
    objects = dict(package_objects("libbpf-tools"))
    if not objects:
        pytest.skip("needs the Debian package libbpf-tools")
    ours = [ObjectSpec.from_file(path) for path in OWN_OBJECTS]
    return ours + [ObjectSpec.from_bytes(data, name=name) for name, data in objects.items()]


def relocated(spec: ObjectSpec, btf: Btf) -> list[tuple[str, bytes]] | str:
    """The instructions of all functions, or why there are none."""
    functions = FunctionTable(spec)
    try:
        core.relocate(spec, functions, Target(relocation_btf=btf))
    except LinkingError as error:
        return str(error)
    return [(function.name, bytes(function.code)) for function in functions]


def test_instructions_are_the_same_with_one_file_for_all_objects(
    kernel: Btf, specs: list[ObjectSpec]
) -> None:
    data = minimal_btf(kernel, specs)
    assert len(data) < len(kernel.data) // 100
    small = Btf.from_bytes(data)
    for spec in specs:
        assert relocated(spec, small) == relocated(spec, kernel), spec.name


def test_each_object_has_enough_in_a_file_of_its_own(kernel: Btf, specs: list[ObjectSpec]) -> None:
    for spec in specs:
        small = Btf.from_bytes(minimal_btf(kernel, [spec]))
        assert relocated(spec, small) == relocated(spec, kernel), spec.name
