"""The flavour rule: which part of a type's name counts when it is looked for in another BTF."""

import re

FLAVOUR_SEPARATOR = "___"

_FLAVOURED = re.compile(r"(.*[^_])___[^_]", re.DOTALL)


def essential_name(name: str) -> str:
    """The name without its flavour: ``task_struct___old`` stands for ``task_struct``.

    A flavour begins at the last run of exactly three underscores that has something on either side
    (libbpf, libbpf.c: bpf_core_essential_name_len).
    """
    match = _FLAVOURED.match(name)
    return match[1] if match else name
