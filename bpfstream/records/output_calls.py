"""How large the records are that a program sends, from the constants at its helper calls.

A straight look at the code: registers are followed from one instruction to the next, and forgotten
wherever control flow joins. That is enough for what compilers make of
``bpf_ringbuf_reserve(&events, sizeof(*event), 0)``, and anything less plain counts as unknown.
"""

from __future__ import annotations

from bpfstream.abi.elf import SymbolKind
from bpfstream.abi.instructions import (
    CLASS_MASK,
    OPERATION_MASK,
    CallSource,
    InstructionClass,
    Opcode,
)
from bpfstream.asm.code import Code
from bpfstream.spec import FunctionSpec, MapSpec, ObjectSpec, Symbol

_SIZE_AND_MAP = {
    25: (5, 2),  # bpf_perf_event_output(ctx, map, flags, data, size)
    130: (3, 1),  # bpf_ringbuf_output(map, data, size, flags)
    131: (2, 1),  # bpf_ringbuf_reserve(map, size, flags)
}
"""Of each helper that sends records (``BPF_FUNC_*``): the registers with the size and the map."""

_SET_IMMEDIATE = frozenset({0xB7, 0xB4})  # mov64 and mov32 of a constant
_COPY = 0xBF  # mov64 of a register
_LONG_JUMP = 0x06  # gotol, whose distance is the immediate
_JUMP_ALWAYS = frozenset({0x05, _LONG_JUMP})
_CALLER_SAVED = range(6)

_Known = int | MapSpec


def record_sizes(spec: ObjectSpec, map_name: str) -> frozenset[int] | None:
    """The sizes of all records that an object's code sends to a map.

    Returns:
        None when some call has no constant size, or a map that can't be told.
    """
    sizes: set[int] = set()
    for function in (*spec.programs.values(), *spec.functions.values()):
        for size, target in _output_calls(spec, function):
            if target is None:
                return None
            if target.name == map_name:
                if size is None:
                    return None
                sizes.add(size)
    return frozenset(sizes)


def _output_calls(
    spec: ObjectSpec, function: FunctionSpec
) -> list[tuple[int | None, MapSpec | None]]:
    """Size and map of each call of a helper that sends records; None for what is not known."""
    code = Code(function.instructions, spec.byteorder)
    loaded_maps = _loaded_maps(spec, function, code)
    joins = _jump_targets(code)
    known: dict[int, _Known] = {}
    calls: list[tuple[int | None, MapSpec | None]] = []
    for slot in code.instructions():
        if slot in joins:
            known = {}
        opcode, target = code.opcode(slot), code.destination(slot)
        if opcode == Opcode.CALL:
            if code.source(slot) == CallSource.HELPER and code.immediate(slot) in _SIZE_AND_MAP:
                size_at, map_at = _SIZE_AND_MAP[code.immediate(slot)]
                size, sent_to = known.get(size_at), known.get(map_at)
                calls.append(
                    (
                        size if isinstance(size, int) else None,
                        sent_to if isinstance(sent_to, MapSpec) else None,
                    )
                )
            for register in _CALLER_SAVED:
                known.pop(register, None)
        elif opcode in _JUMP_ALWAYS or opcode == Opcode.EXIT:
            known = {}
        elif opcode in _SET_IMMEDIATE:
            known[target] = code.immediate(slot)
        elif opcode == _COPY and code.offset(slot) == 0 and code.source(slot) in known:
            known[target] = known[code.source(slot)]
        elif opcode == Opcode.LOAD_WIDE and slot in loaded_maps:
            known[target] = loaded_maps[slot]
        elif opcode & CLASS_MASK not in _WRITES_NO_REGISTER:
            known.pop(target, None)
    return calls


_WRITES_NO_REGISTER = frozenset({InstructionClass.ST, InstructionClass.JMP, InstructionClass.JMP32})


def _loaded_maps(spec: ObjectSpec, function: FunctionSpec, code: Code) -> dict[int, MapSpec]:
    """The maps whose descriptors are loaded, by the slot of the load."""
    maps = {}
    for relocation in function.relocations:
        slot = relocation.offset // 8
        if slot < len(code):
            found = _map_of(spec, relocation.symbol, code.immediate(slot))
            if found is not None:
                maps[slot] = found
    return maps


def _map_of(spec: ObjectSpec, symbol: Symbol, addend: int) -> MapSpec | None:
    if symbol.section is None:
        return None
    offset = symbol.value + (addend if symbol.kind == SymbolKind.SECTION else 0)
    return spec.map_at(symbol.section, offset)


def _jump_targets(code: Code) -> set[int]:
    targets = set()
    for slot in code.instructions():
        opcode = code.opcode(slot)
        kind = opcode & CLASS_MASK
        if kind not in (InstructionClass.JMP, InstructionClass.JMP32):
            continue
        if opcode & OPERATION_MASK in _NO_JUMPS and opcode != _LONG_JUMP:
            continue
        distance = code.immediate(slot) if opcode == _LONG_JUMP else code.offset(slot)
        targets.add(slot + 1 + distance)
    return targets


_NO_JUMPS = frozenset({0x80, 0x90})  # call, exit
