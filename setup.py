"""Builds the compiled twin of the hot loops, where there is a compiler; see bpfstream/_native."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("bpfstream", "_native")

setup(
    ext_modules=[
        Extension(
            "bpfstream._native.hot",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=[str(NATIVE / "native.h")],
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra"],
            optional=True,  # without it everything works, in Python
        )
    ]
)
