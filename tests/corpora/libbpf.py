"""What libbpf says of an object it has opened and not loaded, by the shared library itself."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class OpenedProgram(NamedTuple):
    name: str
    section: str
    type: int
    attach_type: int
    autoload: bool
    instructions: bytes


class OpenedMap(NamedTuple):
    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    numa_node: int
    map_extra: int
    key_type_id: int
    value_type_id: int
    is_pinned: bool
    inner: tuple[int, int, int, int] | None
    """Type, key size, value size and number of entries of the maps in it."""
    contents: bytes | None


class OpenedObject(NamedTuple):
    programs: list[OpenedProgram]
    maps: list[OpenedMap]


class _OpenOptions(ctypes.Structure):
    """The head of ``struct bpf_object_open_opts``; libbpf takes what is left out as zeros."""

    _fields_ = (("size", ctypes.c_size_t), ("object_name", ctypes.c_char_p))


_PRINTER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@_PRINTER
def _say_nothing(_level: int, _format: bytes, _arguments: int) -> int:
    return 0


class LibBpf:
    """libbpf 1.0 or newer. `LibBpf.find()` is None where it isn't installed."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path, use_errno=True)
        self._function("libbpf_set_print", ctypes.c_void_p, _PRINTER)(_say_nothing)

    @classmethod
    def find(cls) -> LibBpf | None:
        path = ctypes.util.find_library("bpf")
        if path is None or path.endswith(".so.0"):
            return None
        return cls(path)

    def _function(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        function = self._library[name]
        function.restype, function.argtypes = result, list(arguments)
        return function

    def open(self, data: bytes, name: str) -> OpenedObject | None:
        """What libbpf makes of an object; None when it refuses to open it."""
        opening = self._function(
            "bpf_object__open_mem",
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.POINTER(_OpenOptions),
        )
        options = _OpenOptions(ctypes.sizeof(_OpenOptions), name.encode())
        handle = opening(data, len(data), ctypes.byref(options))
        if not handle:
            return None
        try:
            return OpenedObject(list(self._programs(handle)), list(self._maps(handle)))
        finally:
            self._function("bpf_object__close", None, ctypes.c_void_p)(handle)

    def _each(self, kind: str, handle: int) -> Iterator[int]:
        following = self._function(
            f"bpf_object__next_{kind}", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
        )
        item = following(handle, None)
        while item:
            yield item
            item = following(handle, item)

    def _get(self, name: str, item: int, result: Any = ctypes.c_uint32) -> Any:
        return self._function(name, result, ctypes.c_void_p)(item)

    def _programs(self, handle: int) -> Iterator[OpenedProgram]:
        for item in self._each("program", handle):
            count = self._get("bpf_program__insn_cnt", item, ctypes.c_size_t)
            address = self._get("bpf_program__insns", item, ctypes.c_void_p)
            yield OpenedProgram(
                name=self._get("bpf_program__name", item, ctypes.c_char_p).decode(),
                section=self._get("bpf_program__section_name", item, ctypes.c_char_p).decode(),
                type=self._get("bpf_program__type", item),
                attach_type=self._get("bpf_program__expected_attach_type", item),
                autoload=self._get("bpf_program__autoload", item, ctypes.c_bool),
                instructions=ctypes.string_at(address, count * 8),
            )

    def _maps(self, handle: int) -> Iterator[OpenedMap]:
        for item in self._each("map", handle):
            size = ctypes.c_size_t()
            initial = self._function(
                "bpf_map__initial_value",
                ctypes.c_void_p,
                ctypes.c_void_p,
                ctypes.POINTER(ctypes.c_size_t),
            )(item, ctypes.byref(size))
            inner = self._get("bpf_map__inner_map", item, ctypes.c_void_p)
            yield OpenedMap(
                name=self._get("bpf_map__name", item, ctypes.c_char_p).decode(),
                type=self._get("bpf_map__type", item),
                key_size=self._get("bpf_map__key_size", item),
                value_size=self._get("bpf_map__value_size", item),
                max_entries=self._get("bpf_map__max_entries", item),
                flags=self._get("bpf_map__map_flags", item),
                numa_node=self._get("bpf_map__numa_node", item),
                map_extra=self._get("bpf_map__map_extra", item, ctypes.c_uint64),
                key_type_id=self._get("bpf_map__btf_key_type_id", item),
                value_type_id=self._get("bpf_map__btf_value_type_id", item),
                is_pinned=self._get("bpf_map__pin_path", item, ctypes.c_char_p) is not None,
                inner=self._shape(inner) if inner else None,
                contents=ctypes.string_at(initial, size.value) if initial else None,
            )

    def _shape(self, item: int) -> tuple[int, int, int, int]:
        return (
            self._get("bpf_map__type", item),
            self._get("bpf_map__key_size", item),
            self._get("bpf_map__value_size", item),
            self._get("bpf_map__max_entries", item),
        )
