"""Builds the compiled twin of the hot loops, where there is a compiler: docs/compiled-module.md.

Two variables of the environment decide otherwise: ``BPFSTREAM_PURE=1`` leaves the module out, and
with ``BPFSTREAM_REQUIRE_COMPILED=1`` a module that can't be built is an error.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NATIVE = Path("bpfstream", "_native")


def asked_for(name: str) -> bool:
    """Whether the environment sets a switch, as `bpfstream._native` reads them."""
    return os.environ.get(name, "0") not in ("", "0")


class BuildModule(build_ext):
    """Leaves no module of older sources behind where the build fails."""

    def build_extension(self, ext: Extension) -> None:
        """Builds it, or removes what an earlier build made."""
        try:
            super().build_extension(ext)
        except BaseException:
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
            raise


class TaggedWheel(bdist_wheel):
    """A wheel without the compiled module is one for every platform, and says so by its tag."""

    def run(self) -> None:
        """Makes the wheel, once it is known what can be built."""
        self.run_command("build_ext")
        build = self.get_finalized_command("build_ext")
        if not any(map(os.path.exists, build.get_outputs())):
            self.distribution.ext_modules = None
            self.root_is_pure = True
        super().run()


module = Extension(
    "bpfstream._native.hot",
    sources=sorted(map(str, NATIVE.glob("*.c"))),
    depends=sorted(map(str, NATIVE.glob("*.h"))),
    extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
    optional=not asked_for("BPFSTREAM_REQUIRE_COMPILED"),
)

setup(
    ext_modules=[] if asked_for("BPFSTREAM_PURE") else [module],
    cmdclass={"build_ext": BuildModule, "bdist_wheel": TaggedWheel},
)
