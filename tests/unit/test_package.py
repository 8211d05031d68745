"""The package as its users get it: what it contains, what importing it costs."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import bpfstream
from tests.support.requirements import program_path

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
def source(tmp_path_factory) -> Path:
    """The files of the project that packages are made from."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "bpfstream", folder / "bpfstream", ignore=ignored)
    return folder


def built(source: Path, folder: Path, kind: str = "wheel", **environment: str) -> Path:
    """A package made from a copy of the project: its path."""
    copy = shutil.copytree(source, folder / "copy")
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    python(code, cwd=copy, env={**os.environ, "BPFSTREAM_PURE": "0", **environment})
    (package,) = folder.glob("bpfstream-*.whl" if kind == "wheel" else "bpfstream-*.tar.gz")
    return package


@pytest.fixture(scope="module")
def pure_wheel(source, tmp_path_factory) -> Path:
    """A wheel that was built where there is no compiler."""
    return built(source, tmp_path_factory.mktemp("pure"), CC="false")


@pytest.fixture(scope="module")
def compiled_wheel(source, tmp_path_factory) -> Path:
    """A wheel with the compiled module."""
    compiler = sysconfig.get_config_var("CC").split()[0]
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which(compiler) is None or not headers.exists():
        pytest.skip("needs a C compiler and Python's headers")
    folder = tmp_path_factory.mktemp("compiled")
    return built(source, folder, BPFSTREAM_REQUIRE_COMPILED="1")


@pytest.fixture(params=["pure_wheel", "compiled_wheel"])
def wheel(request) -> Path:
    return request.getfixturevalue(request.param)


def installed(wheel: Path, folder: Path) -> Path:
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def modules_of(wheel: Path) -> list[str]:
    """The compiled modules in a wheel."""
    return [name for name in ZipFile(wheel).namelist() if name.endswith(".so")]


IS_COMPILED = "from bpfstream._native import COMPILED; print(COMPILED)"
INSPECT_AN_OBJECT = f"""
import bpfstream
print(bpfstream.ObjectSpec.from_file({str(program_path("types"))!r}))
"""


def test_a_wheel_has_every_module_the_type_marker_and_the_header(wheel):
    files = set(ZipFile(wheel).namelist())
    modules = (ROOT / "bpfstream").rglob("*.py")
    assert {str(module.relative_to(ROOT)) for module in modules} <= files
    assert {"bpfstream/py.typed", "bpfstream/include/bpfstream.h"} <= files
    assert "bpfstream/_native/hot.pyi" in files


def test_a_wheel_works_where_it_is_unpacked(wheel, tmp_path):
    installed(wheel, tmp_path)
    code = "import bpfstream; print(bpfstream.__file__, bpfstream.include_dir(), sep='\\n')"
    origin, include = python(code, cwd=tmp_path).splitlines()
    assert Path(origin).is_relative_to(tmp_path)
    assert (Path(include) / "bpfstream.h").is_file()
    assert Path(include).is_relative_to(tmp_path)


def test_a_wheel_with_the_compiled_module_is_for_one_interpreter_and_one_platform(compiled_wheel):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert modules_of(compiled_wheel) == [f"bpfstream/_native/hot{suffix}"]
    interpreter = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert f"-{interpreter}-{interpreter}" in compiled_wheel.name
    assert compiled_wheel.stem.endswith(platform)


def test_a_wheel_built_without_a_compiler_is_for_every_platform(pure_wheel):
    assert modules_of(pure_wheel) == []
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    (description,) = (name for name in ZipFile(pure_wheel).namelist() if name.endswith("/WHEEL"))
    assert b"Root-Is-Purelib: true" in ZipFile(pure_wheel).read(description)


def test_a_build_can_be_told_to_leave_the_compiled_module_out(source, tmp_path):
    wheel = built(source, tmp_path, BPFSTREAM_PURE="1")
    assert modules_of(wheel) == []
    assert wheel.name.endswith("-py3-none-any.whl")


def test_a_build_can_be_told_to_fail_without_the_compiled_module(source, tmp_path):
    with pytest.raises(AssertionError, match=r"'false'.* returned non-zero"):
        built(source, tmp_path, CC="false", BPFSTREAM_REQUIRE_COMPILED="1")


def test_a_build_that_fails_takes_no_module_of_older_sources(source, compiled_wheel, tmp_path):
    copy = compiled_wheel.parent / "copy"  # where the build before it has left its module
    assert list(copy.glob("build/**/*.so"))
    os.utime(copy / "bpfstream" / "_native" / "native.h")
    assert modules_of(built(copy, tmp_path, CC="false")) == []


def test_pip_installs_without_a_compiler_what_then_works(source, tmp_path):
    own = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    place = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", *own, "--target", place]
    copy = shutil.copytree(source, tmp_path / "copy")
    environment = {**os.environ, "CC": "false"}
    done = subprocess.run(
        [*command, copy], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert python(IS_COMPILED, cwd=place) == "False\n"
    assert python(INSPECT_AN_OBJECT, cwd=place).startswith("object types")


def test_the_environment_forces_pure_python(compiled_wheel, tmp_path):
    place = installed(compiled_wheel, tmp_path)
    for value, compiled in (("1", False), ("yes", False), ("0", True), ("", True)):
        environment = {**os.environ, "BPFSTREAM_PURE": value}
        assert python(IS_COMPILED, cwd=place, env=environment) == f"{compiled}\n", value


def test_a_source_package_builds_both_kinds_of_wheel(source, tmp_path):
    with tarfile.open(built(source, tmp_path, kind="sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"setup.py", "pyproject.toml", "LICENSE", "bpfstream/_native/hot.pyi"}
    sources = (ROOT / "bpfstream" / "_native").glob("*.[ch]")
    assert wanted | {str(path.relative_to(ROOT)) for path in sources} <= names
    assert not any(name.endswith((".so", ".pyc")) for name in names)
