"""Every committed BPF object is what its source compiles to.

Where clang and libbpf-dev are the versions that made the objects, they are compiled again and
compared byte by byte; with other versions, by what they hold; with none, by the digest of their
sources.
"""

import json

import pytest

from bpfstream import ObjectSpec
from tests.programs import build

MANIFEST = json.loads(build.MANIFEST.read_text())
SOURCES = {str(source.relative_to(build.ROOT)): source for source in build.sources()}


def structure(spec: ObjectSpec) -> object:
    """What of an object does not depend on the compiler's version."""
    return (
        spec.license,
        [(each.name, each.section, each.type, each.autoload) for each in spec.programs.values()],
        [
            (each.name, each.type, each.key_size, each.value_size, each.max_entries, each.flags)
            for each in spec.maps.values()
        ],
        {each.name: each.raw for each in spec.variables.values()},
    )


def test_the_manifest_lists_every_source_and_nothing_else():
    assert set(MANIFEST) == set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_an_object_is_current_with_its_source(name, tmp_path):
    source = SOURCES[name]
    committed = build.object_of(source)
    toolchain = build.toolchain()
    if toolchain is None:
        assert build.digest(build.inputs_of(source)) == MANIFEST[name]["inputs"], "run: make bpf"
        return
    compiled = tmp_path / committed.name
    build.compile_object(source, compiled)
    if toolchain == MANIFEST[name]["toolchain"]:
        assert compiled.read_bytes() == committed.read_bytes(), "run: make bpf"
    else:
        assert structure(ObjectSpec.from_file(compiled)) == structure(
            ObjectSpec.from_file(committed)
        )


@pytest.mark.parametrize("name", SOURCES)
def test_an_object_names_no_folder_of_the_machine_that_compiled_it(name):
    data = build.object_of(SOURCES[name]).read_bytes()
    assert str(build.ROOT).encode() not in data
    assert b"/usr/include" not in data
