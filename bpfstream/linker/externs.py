"""Variables and functions of the kernel that programs refer to by name (``__ksym``).

Those declared with a type are looked up in the kernel's BTF, then in that of its modules; those
declared as ``void`` among the kernel's symbols, which give no more than an address (libbpf.c:
bpf_object__resolve_externs).
"""

from __future__ import annotations

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.btf import Btf, essential_name
from bpfstream.btf.types import Function, Variable
from bpfstream.errors import LinkingError, MissingBtfError
from bpfstream.linker.core_compatibility import TypeComparison
from bpfstream.linker.kconfig import KCONFIG_MAP
from bpfstream.linker.target import ModuleBtf, Target
from bpfstream.spec import ExternSpec, ObjectSpec


class KernelVariable(msgspec.Struct, frozen=True):
    """A variable with a type: its BTF id and the module that has it, None for the kernel."""

    type: int
    module: ModuleBtf | None


class KernelFunction(msgspec.Struct, frozen=True):
    """A function with a type: its BTF id and the module that has it, None for the kernel."""

    type: int
    module: ModuleBtf | None


class Address(msgspec.Struct, frozen=True):
    """The address of a symbol; 0 when the kernel lacks it and the object copes without."""

    value: int


class AbsentFunction(msgspec.Struct, frozen=True):
    """A function that the kernel lacks and the object copes without.

    Attributes:
        reason: Why it counts as absent.
        index: Which of the object's externs it is.
    """

    reason: str
    index: int


Extern = KernelVariable | KernelFunction | Address | AbsentFunction


class Externs:
    """Looks up the externs of one object when they are referred to."""

    def __init__(self, spec: ObjectSpec, target: Target) -> None:
        self._local_btf = spec.btf
        self._target = target
        self._index = {extern.name: index for index, extern in enumerate(spec.externs)}
        self._specs = {extern.name: extern for extern in spec.externs}
        self._resolved: dict[str, Extern] = {}
        self._addresses: dict[str, int] | None = None

    def resolve(self, name: str) -> Extern:
        """What the kernel has under this name.

        Raises:
            LinkingError: The object does not declare it, or the kernel lacks it or has something
                else under its name.
            MissingBtfError: It has a type, and the kernel has no BTF.
        """
        if name not in self._resolved:
            extern = self._specs.get(name)
            if extern is None or self._local_btf is None:
                raise LinkingError("the object declares it nowhere with BTF (__ksym or __kconfig)")
            self._resolved[name] = self._resolve(extern, self._local_btf)
        return self._resolved[name]

    def _resolve(self, extern: ExternSpec, local_btf: Btf) -> Extern:
        local_type = local_btf.resolve(extern.type_id)
        if local_type == 0:
            return self._resolve_address(extern)
        kind, name = Kind.VAR, extern.name
        if extern.is_function:
            kind, name = Kind.FUNC, essential_name(extern.name)
        found = self._find(name, kind)
        if found is None:
            what = "function" if extern.is_function else "variable"
            return self._absent(extern, f"neither the kernel nor its modules have this {what}")
        btf, type_id, module = found
        declared = btf.type(type_id)
        assert isinstance(declared, Variable | Function)  # by the kind that was looked for
        theirs = declared.type if isinstance(declared, Variable) else declared.prototype
        theirs = btf.resolve(theirs)
        if not TypeComparison(local_btf, btf).compatible(local_type, theirs):
            reason = (
                f"the kernel's is {btf.describe(theirs)}, "
                f"the object declares {local_btf.describe(local_type)}"
            )
            if extern.is_function:
                return self._absent(extern, reason)
            raise LinkingError(reason)
        if extern.is_function:
            return KernelFunction(type_id, module)
        return KernelVariable(type_id, module)

    def _absent(self, extern: ExternSpec, reason: str) -> Extern:
        if not extern.weak:
            raise LinkingError(reason, hint="declare it __weak if the program copes without")
        if extern.is_function:
            return AbsentFunction(
                f'kernel function "{extern.name}": {reason}', self._index[extern.name]
            )
        return Address(0)

    def _find(self, name: str, kind: Kind) -> tuple[Btf, int, ModuleBtf | None] | None:
        btf = self._target.btf
        if btf is None:
            raise MissingBtfError(
                f"looking up {name} of the kernel needs the kernel's BTF",
                searched=self._target.searched,
                hint="use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
            )
        type_id = btf.find(name, kind)
        if type_id is not None:
            return btf, type_id, None
        for module in self._target.modules():
            type_id = module.btf.find(name, kind)
            if type_id is not None:
                return module.btf, type_id, module
        return None

    def _resolve_address(self, extern: ExternSpec) -> Extern:
        if self._addresses is None:  # all at once: they are found by reading all symbols
            names = [
                each.name
                for each in self._specs.values()
                if each.section != KCONFIG_MAP and self._is_typeless(each)
            ]
            self._addresses = dict(self._target.symbol_addresses(names))
        address = self._addresses.get(extern.name)
        if address is None and not extern.weak:
            raise LinkingError(
                "the kernel has no such symbol", hint="/proc/kallsyms lists those it has"
            )
        return Address(address or 0)

    def _is_typeless(self, extern: ExternSpec) -> bool:
        return self._local_btf is not None and self._local_btf.resolve(extern.type_id) == 0
