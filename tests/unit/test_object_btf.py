"""The object's own BTF, completed so that the kernel takes it."""

from __future__ import annotations

from bpfstream.abi.btf import Kind, Linkage
from bpfstream.abi.elf import SymbolVisibility
from bpfstream.btf import Btf
from bpfstream.btf.types import (
    DataSection,
    DataSectionEntry,
    Function,
    FunctionPrototype,
    Int,
    Parameter,
    Variable,
)
from bpfstream.linker import Target, link
from bpfstream.spec import DataSectionSpec, ExternSpec, ObjectSpec
from tests.support.linking import EXIT, INT, U64, Types, object_of, program, subprogram


def completed(spec: ObjectSpec, target: Target | None = None) -> Btf:
    data = link(spec, target or Target()).btf
    assert data is not None
    return Btf.from_bytes(data)


def section_of(types: Types, name: str, *entries: tuple[int, int, int]) -> DataSectionSpec:
    """A section of (variable, offset, size), unfinished in BTF as compilers leave it."""
    unfinished = tuple(DataSectionEntry(each, 0, size) for each, _, size in entries)
    type_id = types.add(DataSection(name, 0, unfinished))
    finished = tuple(DataSectionEntry(*each) for each in entries)
    size = max(offset + size for _, offset, size in entries)
    return DataSectionSpec(name, type_id, size, finished, frozenset())


def with_section(types: Types, section: DataSectionSpec, *externs: ExternSpec) -> ObjectSpec:
    spec = object_of(program(EXIT), btf=types.btf(), externs=externs)
    spec.data_sections = {section.name: section}
    return spec


def test_sizes_and_offsets_of_variables_are_filled_in():
    types = Types()
    a = types.add(Variable("a", types.add(INT), Linkage.GLOBAL))
    b = types.add(Variable("b", types.add(U64), Linkage.GLOBAL))
    section = section_of(types, ".data", (a, 0, 4), (b, 8, 8))
    btf = completed(with_section(types, section))
    assert btf.type(section.type_id) == DataSection(".data", 16, section.entries)
    assert btf.end_id == types.btf().end_id, "ids stay as they are"


def test_hidden_variables_become_static():
    types = Types()
    a = types.add(Variable("a", types.add(INT), Linkage.GLOBAL))
    plain = section_of(types, ".data", (a, 0, 4))
    hidden = DataSectionSpec(plain.name, plain.type_id, 4, plain.entries, frozenset({a}))
    btf = completed(with_section(types, hidden))
    assert btf.type(a) == Variable("a", types.add(INT), Linkage.STATIC)


def test_hidden_functions_become_static():
    types = Types()
    prototype = types.add(FunctionPrototype(0))
    seen = types.add(Function("seen", prototype, Linkage.GLOBAL))
    unseen = types.add(Function("unseen", prototype, Linkage.GLOBAL))
    functions = [
        subprogram("seen", 0, EXIT),
        subprogram("unseen", 1, EXIT, visibility=SymbolVisibility.HIDDEN),
    ]
    btf = completed(object_of(program(EXIT), functions=functions, btf=types.btf()))
    assert btf.type(seen) == Function("seen", prototype, Linkage.GLOBAL)
    assert btf.type(unseen) == Function("unseen", prototype, Linkage.STATIC)


def test_kernel_symbols_become_variables_of_four_bytes():
    types = Types()
    integer = types.add(INT)
    prototype = types.add(FunctionPrototype(0, (Parameter("", integer),)))
    function = types.add(Function("bpf_frob", prototype, Linkage.EXTERN))
    variable = types.add(Variable("jiffies", types.add(U64), Linkage.EXTERN))
    section = section_of(types, ".ksyms", (function, 0, 0), (variable, 0, 8))
    btf = completed(with_section(types, section))
    stand_in = btf.find("dummy_ksym", Kind.VAR)
    assert btf.type(section.type_id) == DataSection(
        ".ksyms", 8, (DataSectionEntry(stand_in, 0, 4), DataSectionEntry(variable, 4, 4))
    )
    assert btf.type(stand_in) == Variable("dummy_ksym", integer, Linkage.GLOBAL)
    assert btf.type(variable) == Variable("jiffies", integer, Linkage.GLOBAL)
    assert btf.type(function) == Function("bpf_frob", prototype, Linkage.GLOBAL)
    assert btf.type(prototype) == FunctionPrototype(0, (Parameter("dummy_ksym", integer),))


def test_an_integer_is_added_where_there_is_none():
    types = Types()
    variable = types.add(Variable("init_task", 0, Linkage.EXTERN))
    btf = completed(with_section(types, section_of(types, ".ksyms", (variable, 0, 0))))
    stand_in = btf.type(variable)
    assert isinstance(stand_in, Variable)
    assert btf.type(stand_in.type) == Int("int", 4, 32, signed=True)


def test_configuration_is_laid_out_as_its_map():
    types = Types()
    integer = types.add(INT)
    a = types.add(Variable("CONFIG_A", integer, Linkage.EXTERN))
    b = types.add(Variable("CONFIG_B", types.add(U64), Linkage.EXTERN))
    section = section_of(types, ".kconfig", (a, 0, 4), (b, 0, 8))
    externs = (
        ExternSpec("CONFIG_B", ".kconfig", types.add(U64), weak=True, is_function=False),
        ExternSpec("CONFIG_A", ".kconfig", integer, weak=True, is_function=False),
    )
    btf = completed(with_section(types, section, *externs))
    assert btf.type(section.type_id) == DataSection(
        ".kconfig", 12, (DataSectionEntry(b, 0, 8), DataSectionEntry(a, 8, 4))
    )
    assert btf.type(a) == Variable("CONFIG_A", integer, Linkage.GLOBAL)


def test_an_object_without_btf_gets_none():
    assert link(object_of(program(EXIT)), Target()).btf is None
