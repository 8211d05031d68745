"""What an object expects of the kernel: configuration, variables and functions."""

import pytest

from bpfstream.abi.btf import Linkage
from bpfstream.abi.elf import SymbolBinding, SymbolKind
from bpfstream.btf.encoder import BtfBuilder
from bpfstream.btf.types import (
    DataSection,
    DataSectionEntry,
    Function,
    FunctionPrototype,
    Int,
    Type,
    Variable,
)
from bpfstream.errors import ObjectError
from bpfstream.spec import ObjectSpec
from tests.support.elf_files import ElfFile

U8, U32, U64, VOID = 1, 2, 3, 0


class Externs:
    """A file that declares externs and defines nothing."""

    def __init__(self) -> None:
        self.btf = BtfBuilder()
        for size in (1, 4, 8):
            self.btf.add(Int(f"u{size * 8}", size, size * 8))
        self.file = ElfFile()
        self._sections: dict[str, list[int]] = {}

    def declare(self, name: str, section: str, declared: Type, *, weak: bool = False) -> None:
        self._sections.setdefault(section, []).append(self.btf.add(declared))
        binding = SymbolBinding.WEAK if weak else SymbolBinding.GLOBAL
        self.file.symbol(name, 0, kind=SymbolKind.NOTYPE, binding=binding)

    def variable(self, name: str, section: str, type_id: int, *, weak: bool = False) -> None:
        self.declare(name, section, Variable(name, type_id, Linkage.EXTERN), weak=weak)

    def function(self, name: str, section: str = ".ksyms", *, weak: bool = False) -> int:
        prototype = self.btf.add(FunctionPrototype(U32))
        self.declare(name, section, Function(name, prototype, Linkage.EXTERN), weak=weak)
        return prototype

    def read(self) -> ObjectSpec:
        for name, ids in self._sections.items():
            self.btf.add(DataSection(name, 0, tuple(DataSectionEntry(each, 0, 0) for each in ids)))
        self.file.section(".BTF", self.btf.to_bytes("little"))
        return ObjectSpec.from_bytes(self.file.to_bytes())


@pytest.fixture
def externs() -> Externs:
    return Externs()


def test_configuration_comes_by_alignment_size_and_name_then_symbols_by_name(externs):
    externs.variable("runqueues", ".ksyms", VOID)
    externs.variable("CONFIG_B", ".kconfig", U32)
    externs.variable("CONFIG_FLAG", ".kconfig", U8)
    externs.function("bpf_task_release")
    externs.variable("CONFIG_A", ".kconfig", U32)
    externs.variable("CONFIG_HZ", ".kconfig", U64)
    assert [each.name for each in externs.read().externs] == [
        "CONFIG_HZ",
        "CONFIG_A",
        "CONFIG_B",
        "CONFIG_FLAG",
        "bpf_task_release",
        "runqueues",
    ]


def test_an_extern_says_what_it_is(externs):
    prototype = externs.function("bpf_task_release", weak=True)
    externs.variable("jiffies", ".ksyms", U64)
    release, jiffies = externs.read().externs
    assert release.is_function
    assert release.weak
    assert release.type_id == prototype
    assert not jiffies.is_function
    assert not jiffies.weak
    assert (jiffies.section, jiffies.type_id) == (".ksyms", U64)


def test_externs_are_no_variables_of_the_object(externs):
    externs.variable("CONFIG_HZ", ".kconfig", U32)
    spec = externs.read()
    assert spec.variables == {}
    assert spec.maps == {}


def test_a_function_is_no_configuration(externs):
    externs.function("CONFIG_HZ", ".kconfig")
    with pytest.raises(ObjectError, match="'CONFIG_HZ' can't be a configuration value"):
        externs.read()


def test_an_extern_needs_a_section(externs):
    externs.variable("jiffies", ".elsewhere", U64)
    externs.file.section(".elsewhere", bytes(8))
    with pytest.raises(ObjectError, match="'jiffies' is not defined") as caught:
        externs.read()
    assert "__ksym" in caught.value.hint


def test_local_undefined_symbols_are_not_externs(externs):
    externs.file.symbol("x", 0, kind=SymbolKind.NOTYPE, binding=SymbolBinding.LOCAL)
    assert externs.read().externs == ()
