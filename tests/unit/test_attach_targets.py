"""What a program is loaded for: a function, tracepoint, hook or iterator in the kernel's BTF."""

from __future__ import annotations

import pytest

from bpfstream.abi.btf import Linkage
from bpfstream.abi.sections import split_section
from bpfstream.btf import Btf
from bpfstream.btf.types import Function, FunctionPrototype, Typedef
from bpfstream.errors import LinkingError, MissingBtfError
from bpfstream.linker import AttachTarget, Target, find_attach_target, link
from bpfstream.spec import ProgramSpec
from tests.support.linking import EXIT, Types, object_of, program


class Module:
    """The BTF of a module, as the kernel room gives it."""

    def __init__(self, name: str, btf: Btf) -> None:
        self.name, self.btf, self.id = name, btf, 7


def of_section(section: str) -> ProgramSpec:
    definition, attach_to = split_section(section)
    spec = program(EXIT, section=section)
    assert definition is not None
    spec.type, spec.attach_type = definition.type, definition.attach_type
    spec.definition, spec.attach_to = definition, attach_to
    return spec


def add_function(types: Types, name: str) -> int:
    return types.add(Function(name, types.add(FunctionPrototype(0)), Linkage.STATIC))


@pytest.fixture
def kernel() -> Types:
    types = Types()
    for name in ("vfs_read", "bpf_lsm_file_open", "bpf_iter_task"):
        add_function(types, name)
    types.add(Typedef("btf_trace_sched_switch", 0))
    return types


@pytest.mark.parametrize(
    ("section", "name", "kind"),
    [
        ("fentry/vfs_read", "vfs_read", 12),
        ("fexit.s/vfs_read", "vfs_read", 12),
        ("fmod_ret/vfs_read", "vfs_read", 12),
        ("fentry/vmlinux:vfs_read", "vfs_read", 12),
        ("tp_btf/sched_switch", "btf_trace_sched_switch", 8),
        ("lsm/file_open", "bpf_lsm_file_open", 12),
        ("lsm_cgroup/file_open", "bpf_lsm_file_open", 12),
        ("iter/task", "bpf_iter_task", 12),
    ],
)
def test_the_section_names_the_target(kernel, section, name, kind):
    btf = kernel.btf()
    found = find_attach_target(of_section(section), Target(btf=btf))
    assert found == AttachTarget(btf.find(name, kind))
    assert found.btf_id > 0


@pytest.mark.parametrize(
    "section", ["raw_tp/x", "kprobe/x", "xdp", "freplace/x", "fentry.multi/x", "tp/a/b"]
)
def test_programs_of_other_types_are_loaded_for_no_target(section):
    assert find_attach_target(of_section(section), Target()) == AttachTarget()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("fentry/gone", "no function 'gone'"),
        ("tp_btf/gone", "no tracepoint 'gone'"),
        ("lsm/gone", "no LSM hook 'gone'"),
        ("iter/gone", "no iterator 'gone'"),
        ("fentry/ext4:vfs_read", "module ext4 has no function 'vfs_read'"),
        ("fentry", "does not say what to attach to"),
    ],
)
def test_targets_that_the_kernel_lacks(kernel, section, message):
    with pytest.raises(LinkingError, match=message) as caught:
        find_attach_target(of_section(section), Target(btf=kernel.btf()))
    assert caught.value.program == "probe"


def test_a_target_needs_btf():
    target = Target(searched=("/sys/kernel/btf/vmlinux",))
    with pytest.raises(MissingBtfError, match="vfs_read") as caught:
        find_attach_target(of_section("fentry/vfs_read"), target)
    assert caught.value.searched == target.searched


def test_functions_of_modules(kernel):
    base = kernel.btf()
    modules = []
    for name in ("nf_tables", "ext4"):
        types = Types(base=base)
        add_function(types, "read")
        add_function(types, "vfs_read")
        modules.append(Module(name, types.btf(base=base)))
    target = Target(btf=base, modules=lambda: modules)
    first = find_attach_target(of_section("fentry/read"), target)
    assert first.module is modules[0]
    named = find_attach_target(of_section("fentry/ext4:vfs_read"), target)
    assert named.module is modules[1]
    assert named.btf_id >= base.end_id
    assert find_attach_target(of_section("fentry/vfs_read"), target).module is None


def test_link_looks_targets_up_unless_told_not_to(kernel):
    target = Target(btf=kernel.btf())
    spec = object_of(of_section("fentry/vfs_read"))
    assert link(spec, target).programs["probe"].attach_btf_id > 0
    spec = object_of(of_section("fentry/gone"))
    assert link(spec, target, find_attach_targets=False).programs["probe"].attach_btf_id == 0
    with pytest.raises(LinkingError, match="gone"):
        link(spec, target)
