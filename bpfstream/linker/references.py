"""ELF relocations: what instructions refer to by name.

A wide load may refer to a map, to a place in a data section, to a variable of the kernel or of its
configuration, or to a subprogram's address; a call to a subprogram or to a kernel function. Which
it is follows from the opcode and the symbol (libbpf.c: bpf_program__record_reloc); the relocation's
type says nothing more.
"""

from __future__ import annotations

from bpfstream.abi.elf import SymbolBinding, SymbolKind
from bpfstream.abi.instructions import SLOT_SIZE, CallSource, Opcode, WideLoadSource
from bpfstream.errors import BtfError, LinkingError, MissingBtfError
from bpfstream.linker.core_patch import poison
from bpfstream.linker.externs import (
    AbsentFunction,
    Address,
    Externs,
    KernelFunction,
    KernelVariable,
)
from bpfstream.linker.functions import (
    SUBPROGRAM_SECTION,
    Function,
    FunctionTable,
    SubprogramReference,
)
from bpfstream.linker.kconfig import KCONFIG_MAP, Kconfig
from bpfstream.linker.linked import (
    BtfReference,
    KfuncReference,
    MapReference,
    PoisonedRelocation,
)
from bpfstream.spec import ObjectSpec, Relocation, Symbol

MAP_POISON = 2001000000
"""Number of the first helper called in place of a load of a map that is not created, plus the
map's index."""

KFUNC_POISON = 2002000000
"""The same in place of a call of a kernel function that does not exist, plus the extern's index."""

_U32 = 0xFFFF_FFFF


class References:
    """Resolves the references of the functions of one object."""

    def __init__(
        self, spec: ObjectSpec, functions: FunctionTable, kconfig: Kconfig | None, externs: Externs
    ) -> None:
        self._spec = spec
        self._functions = functions
        self._kconfig = kconfig
        self._externs = externs
        self._index_of_map = {name: index for index, name in enumerate(spec.maps)}
        self._data_maps: dict[str, str] = {}
        self._defined_maps: dict[tuple[str, int], str] = {}
        for name, map_spec in spec.maps.items():
            if map_spec.is_data:
                self._data_maps[map_spec.section] = name
            else:
                self._defined_maps[map_spec.section, map_spec.section_offset] = name

    def resolve(self, function: Function) -> None:
        """Resolve what a function refers to: in its code, and in the lists of `function`.

        Raises:
            LinkingError: What it refers to is not there, or can't be referred to like that.
            MissingBtfError: It refers to something of the kernel, which has no BTF.
        """
        for relocation in function.spec.relocations:
            slot, remainder = divmod(relocation.offset, SLOT_SIZE)
            try:
                if remainder or not 0 <= slot < len(function.code):
                    raise LinkingError("the relocation is not at an instruction")
                self._resolve_relocation(function, slot, relocation)
            except MissingBtfError:
                raise
            except (LinkingError, BtfError) as error:
                raise LinkingError(
                    f"reference to {_describe(relocation.symbol)}: {error.args[0]}",
                    program=function.name,
                    instruction=slot,
                    hint=error.hint,
                ) from error
        _find_unrelocated_calls(function, self._functions)

    def _resolve_relocation(self, function: Function, slot: int, relocation: Relocation) -> None:
        symbol = relocation.symbol
        code = function.code
        is_call = code.opcode(slot) == Opcode.CALL
        if not is_call and not code.is_wide(slot):
            raise LinkingError("only calls and wide loads can refer to a symbol")
        if _is_extern(symbol):
            if is_call:
                self._call_kernel(function, slot, symbol.name)
            else:
                self._load_extern(function, slot, symbol.name)
        elif is_call:
            self._call_subprogram(function, slot, symbol)
        elif symbol.section == SUBPROGRAM_SECTION and _names_code(symbol):
            self._load_subprogram(function, slot, symbol)
        elif (symbol.section or "", symbol.value) in self._defined_maps:
            name = self._defined_maps[symbol.section or "", symbol.value]
            self._load_map(function, slot, name, WideLoadSource.MAP_FD)
        elif symbol.section in self._data_maps:
            code.set_immediate(slot + 1, (code.immediate(slot) + symbol.value) & _U32)
            name = self._data_maps[symbol.section]
            self._load_map(function, slot, name, WideLoadSource.MAP_VALUE)
        elif symbol.section is None:
            raise LinkingError("the object declares it nowhere with BTF (__ksym or __kconfig)")
        else:
            raise LinkingError("it is no function, no map and no variable")

    def _load_map(self, function: Function, slot: int, name: str, source: WideLoadSource) -> None:
        if not self._spec.maps[name].autocreate:
            poison(function.code, slot, MAP_POISON + self._index_of_map[name])
            function.poisoned.append(
                PoisonedRelocation(slot, f'map "{name}" is not created (autocreate is off)')
            )
            return
        function.code.set_source(slot, source)
        function.code.set_immediate(slot, 0)
        is_value = source == WideLoadSource.MAP_VALUE
        function.map_references.append(MapReference(slot, name, is_value))

    def _load_extern(self, function: Function, slot: int, name: str) -> None:
        code = function.code
        if self._kconfig is not None and name in self._kconfig.offsets:
            code.set_source(slot, WideLoadSource.MAP_VALUE)
            code.set_immediate(slot, 0)
            code.set_immediate(slot + 1, self._kconfig.offsets[name])
            function.map_references.append(MapReference(slot, KCONFIG_MAP, is_value=True))
            return
        match self._externs.resolve(name):
            case (
                KernelVariable(type=type_id, module=module)
                | KernelFunction(type=type_id, module=module)
            ):
                code.set_source(slot, WideLoadSource.BTF_ID)
                code.set_immediate(slot, type_id)
                code.set_immediate(slot + 1, 0)
                function.btf_references.append(BtfReference(slot, module))
            case Address(value=address):
                code.set_wide(slot, address)
            case AbsentFunction():
                code.set_wide(slot, 0)

    def _call_kernel(self, function: Function, slot: int, name: str) -> None:
        code = function.code
        match self._externs.resolve(name):
            case KernelFunction(type=type_id, module=module):
                code.set_source(slot, CallSource.KFUNC)
                code.set_immediate(slot, type_id)
                code.set_offset(slot, 0)
                function.kfunc_references.append(KfuncReference(slot, module))
            case AbsentFunction(reason=reason, index=index):
                code.set_source(slot, CallSource.HELPER)
                code.set_offset(slot, 0)
                code.set_immediate(slot, KFUNC_POISON + index)
                function.poisoned.append(PoisonedRelocation(slot, reason))
            case _:
                raise LinkingError("it is called, but the object declares it as a variable")

    def _call_subprogram(self, function: Function, slot: int, symbol: Symbol) -> None:
        if function.code.source(slot) != CallSource.SUBPROGRAM:
            raise LinkingError("a call of a helper refers to a symbol")
        if symbol.section != SUBPROGRAM_SECTION or symbol.value % SLOT_SIZE:
            raise LinkingError(f"only functions in {SUBPROGRAM_SECTION} can be called")
        # A symbol of a function comes with immediate -1; that of the section with the distance.
        target = symbol.value // SLOT_SIZE + function.code.immediate(slot) + 1
        self._refer_to_subprogram(function, slot, target)

    def _load_subprogram(self, function: Function, slot: int, symbol: Symbol) -> None:
        place = symbol.value + function.code.immediate(slot)
        if symbol.value % SLOT_SIZE or place % SLOT_SIZE:
            raise LinkingError("the address is not at an instruction")
        function.code.set_source(slot, WideLoadSource.FUNC)
        self._refer_to_subprogram(function, slot, place // SLOT_SIZE)

    def _refer_to_subprogram(self, function: Function, slot: int, target: int) -> None:
        subprogram = self._functions.subprogram_at(target)
        if subprogram is None:
            raise LinkingError(f"there is no function at instruction {target} of .text")
        function.subprogram_references.append(SubprogramReference(slot, subprogram))


def _find_unrelocated_calls(function: Function, functions: FunctionTable) -> None:
    """Calls inside ``.text`` that the assembler has resolved itself."""
    code = function.code
    known = {reference.slot for reference in function.subprogram_references}
    for slot in code.instructions():
        if slot in known:
            continue
        if code.is_wide(slot) and code.source(slot) == WideLoadSource.FUNC:
            raise LinkingError(
                "the load of a subprogram's address lacks a relocation",
                program=function.name,
                instruction=slot,
            )
        if not is_subprogram_call(function, slot):
            continue
        target = function.first_slot + slot + code.immediate(slot) + 1
        subprogram = functions.subprogram_at(target)
        if subprogram is None:
            raise LinkingError(
                f"calls instruction {target} of .text, where there is no function",
                program=function.name,
                instruction=slot,
            )
        function.subprogram_references.append(SubprogramReference(slot, subprogram))
    function.subprogram_references.sort(key=lambda reference: reference.slot)


def is_subprogram_call(function: Function, slot: int) -> bool:
    """Whether the instruction calls a subprogram."""
    code = function.code
    return (
        code.opcode(slot) == Opcode.CALL
        and code.source(slot) == CallSource.SUBPROGRAM
        and code.destination(slot) == 0
        and code.offset(slot) == 0
    )


def _is_extern(symbol: Symbol) -> bool:
    return (
        symbol.section is None
        and symbol.kind == SymbolKind.NOTYPE
        and symbol.binding in (SymbolBinding.GLOBAL, SymbolBinding.WEAK)
    )


def _names_code(symbol: Symbol) -> bool:
    if symbol.kind == SymbolKind.SECTION:
        return symbol.binding == SymbolBinding.LOCAL
    return symbol.kind == SymbolKind.FUNC and symbol.binding != SymbolBinding.LOCAL


def _describe(symbol: Symbol) -> str:
    return f"{symbol.name!r}" if symbol.name else f"section {symbol.section!r}"
