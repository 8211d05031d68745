"""The package as its users get it: what it contains, what importing it costs."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import bpfstream

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

LOADED_WHEN_NEEDED = {
    *("trio", "elftools"),  # dependencies that not every use needs
    *("click", "rich", "pyroute2", "numpy", "pyarrow"),  # extras
}

IMPORT_EACH_MODULE_FIRST = """
import importlib, pkgutil, sys, bpfstream
names = [module.name for module in pkgutil.walk_packages(bpfstream.__path__, "bpfstream.")]
for name in names:
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("bpfstream")]:
        del sys.modules[loaded]
    importlib.import_module(name)
print(len(names))
"""


def python(code: str, **options) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_no_extra_and_no_event_loop():
    code = "import json, sys, bpfstream; print(json.dumps(list(sys.modules)))"
    loaded = set(json.loads(python(code)))
    assert not loaded & LOADED_WHEN_NEEDED


def test_every_module_can_be_the_first_one_imported():
    assert int(python(IMPORT_EACH_MODULE_FIRST)) > 10


def test_every_public_name_resolves():
    assert {"load", "ObjectSpec", "include_dir"} <= set(bpfstream.__all__)
    for name in bpfstream.__all__:
        assert getattr(bpfstream, name) is not None
    assert set(bpfstream.__all__) <= set(dir(bpfstream))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        bpfstream.no_such_name  # noqa: B018


def test_the_version_is_the_same_everywhere():
    assert bpfstream.__version__ == PROJECT["version"]
    assert importlib.metadata.version("bpfstream") == PROJECT["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> ZipFile:
    """A wheel of the package, built from a copy of its sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bpfstream", source / "bpfstream", ignore=ignored)
    python("from setuptools import build_meta; build_meta.build_wheel('.')", cwd=source)
    with ZipFile(next(source.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_has_every_module_and_the_type_marker_and_the_header(wheel):
    files = set(wheel.namelist())
    modules = (ROOT / "bpfstream").rglob("*.py")
    assert {str(module.relative_to(ROOT)) for module in modules} <= files
    assert {"bpfstream/py.typed", "bpfstream/include/bpfstream.h"} <= files


def test_the_wheel_works_where_it_is_unpacked(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = "import bpfstream; print(bpfstream.__file__, bpfstream.include_dir(), sep='\\n')"
    origin, include = python(code, cwd=tmp_path).splitlines()
    assert Path(origin).is_relative_to(tmp_path)
    assert (Path(include) / "bpfstream.h").is_file()
    assert Path(include).is_relative_to(tmp_path)
