"""Symbols that an object expects from the kernel: its configuration, variables and functions."""

import msgspec


class ExternSpec(msgspec.Struct, frozen=True):
    """A symbol that the object declares and the kernel defines.

    Attributes:
        name: The symbol's name.
        section: ``".kconfig"`` for a value of the kernel's configuration, ``".ksyms"`` for a
            variable or function of the kernel.
        type_id: The variable's type or the function's prototype, in the object's BTF. 0 is void:
            only the symbol's address is wanted.
        weak: The object copes without it.
        is_function: It is a function that programs call (a kfunc).
    """

    name: str
    section: str
    type_id: int
    weak: bool
    is_function: bool
