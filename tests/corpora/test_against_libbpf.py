"""Objects that nobody here wrote get the same instructions and verdicts as from libbpf.

Each program is loaded on its own, by libbpf and by bpfstream. What both hand to the kernel has to
be the same, but for file descriptors.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bpfstream.abi.instructions import CallSource, Opcode, WideLoadSource
from bpfstream.asm import Code
from bpfstream.cli.default_sizes import give_default_sizes, ignore_pins
from bpfstream.errors import KernelError, LinkingError
from bpfstream.linker import link
from bpfstream.live.loader import load_object
from bpfstream.live.target import running_kernel
from bpfstream.spec import ObjectSpec
from tests.corpora.extract import OTHER_PACKAGES, package_objects
from tests.corpora.oracle import OracleVerdict, build_oracle, consult, fnv1a
from tests.support.requirements import require_root

OWN_OBJECTS = sorted((Path(__file__).parents[1] / "programs").glob("*.bpf.o"))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_root()
    return build_oracle(tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="module")
def libbpf_tools(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[OracleVerdict]:
    return consult(oracle, written(package("libbpf-tools"), tmp_path_factory.mktemp("tools")))


def package(name: str) -> Mapping[str, bytes]:
    objects = dict(package_objects(name))
    if not objects:
        pytest.skip(f"needs the Debian package {name}, with BPF objects in it")
    return objects


def written(objects: Mapping[str, bytes], folder: Path) -> list[Path]:
    paths = []
    for name, data in objects.items():
        paths.append(folder / f"{name}.bpf.o")
        paths[-1].write_bytes(data)
    return paths


def only(verdict: OracleVerdict) -> ObjectSpec:
    """The object with one program that is to be loaded, prepared as the oracle does it."""
    spec = ObjectSpec.from_file(verdict.object)
    give_default_sizes(spec)
    ignore_pins(spec)
    for program in spec.programs.values():
        program.autoload = program.name == verdict.program
    return spec


def masked(code: Code) -> Code:
    """The code with zeros for file descriptors."""
    code = code.copy()
    for slot in code.instructions():
        if code.is_wide(slot):
            match code.source(slot):
                case WideLoadSource.MAP_FD | WideLoadSource.MAP_VALUE:
                    code.set_immediate(slot, 0)
                case WideLoadSource.BTF_ID:
                    code.set_immediate(slot + 1, 0)
        elif code.opcode(slot) == Opcode.CALL and code.source(slot) == CallSource.KFUNC:
            code.set_offset(slot, 0)
    return code


def instructions_that_differ(verdicts: Sequence[OracleVerdict]) -> list[str]:
    """The programs of which bpfstream makes other instructions than libbpf."""
    target = running_kernel()
    differing = []
    for verdict in verdicts:
        if verdict.program is None or not verdict.relocated:
            continue
        linked = link(only(verdict), target, find_attach_targets=False)
        if fnv1a(bytes(masked(linked.programs[verdict.program].code))) != verdict.hash:
            differing.append(f"{verdict.object}: {verdict.program}")
    return differing


def errno_of_load(verdict: OracleVerdict) -> int:
    """Why the kernel refuses a program that bpfstream gives it; 0 when it takes it."""
    try:
        with load_object(only(verdict)):
            return 0
    except KernelError as error:
        return error.errno
    except LinkingError as error:
        # What libbpf says when the kernel has no function to attach to.
        return errno.ESRCH if "to attach to" in str(error) else -1


def verdicts_that_differ(verdicts: Sequence[OracleVerdict]) -> list[str]:
    """The programs of which the kernel thinks otherwise when bpfstream loads them."""
    differing = []
    for verdict in verdicts:
        if verdict.program is None or not verdict.relocated:
            continue
        ours = errno_of_load(verdict)
        if ours != verdict.errno:
            differing.append(
                f"{verdict.object}: {verdict.program}: libbpf {verdict.errno}, bpfstream {ours}"
            )
    return differing


def test_libbpf_tools_get_the_same_instructions(libbpf_tools):
    assert len([verdict for verdict in libbpf_tools if verdict.relocated]) >= 240
    assert instructions_that_differ(libbpf_tools) == []


def test_libbpf_tools_get_the_same_verdicts(libbpf_tools):
    assert verdicts_that_differ(libbpf_tools) == []
    assert any(verdict.ok for verdict in libbpf_tools)


@pytest.mark.parametrize("name", OTHER_PACKAGES)
def test_objects_of_other_packages(oracle, tmp_path, name):
    verdicts = consult(oracle, written(package(name), tmp_path))
    assert instructions_that_differ(verdicts) == []
    assert verdicts_that_differ(verdicts) == []


def test_objects_of_our_own(oracle):
    verdicts = consult(oracle, OWN_OBJECTS)
    assert len([verdict for verdict in verdicts if verdict.relocated]) > 10
    assert instructions_that_differ(verdicts) == []
    assert verdicts_that_differ(verdicts) == []
