"""The kernel's configuration as programs see it: the read-only map ``.kconfig``.

Programs declare ``extern int CONFIG_HZ __kconfig`` and get the value as a constant. Names in
``LINUX_`` stand for facts that no configuration file holds (libbpf.c:
bpf_object__process_kconfig_line, bpf_object__resolve_externs).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from bpfstream.abi.btf import Kind
from bpfstream.abi.maps import MapFlags, MapType
from bpfstream.btf import Btf, types
from bpfstream.errors import BtfError, LinkingError
from bpfstream.linker.target import Target
from bpfstream.spec import ExternSpec, MapSpec, ObjectSpec
from bpfstream.spec.data_maps import data_map_kernel_name

KCONFIG_MAP = ".kconfig"
"""Name of the map, as of the section that declares the values."""

_VIRTUAL = frozenset({"LINUX_KERNEL_VERSION", "LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER"})
_TRISTATE = {"n": 0, "y": 1, "m": 2}
_MAX_SIZE = 1 << 20
"""Bytes of configuration that an object may ask for; what is more is malformed."""


class _ValueType(Enum):
    BOOL = "bool"
    CHAR = "char"
    INTEGER = "integer"
    TRISTATE = "tristate"
    STRING = "string"


class _Value(msgspec.Struct, frozen=True):
    """A value as the object declares it."""

    extern: ExternSpec
    type: _ValueType
    signed: bool
    size: int
    alignment: int


class Kconfig(msgspec.Struct, frozen=True):
    """The configuration values of one object.

    Attributes:
        offsets: Byte offset in the map by name, in order of offsets.
        map: The map to create, with its contents.
    """

    offsets: dict[str, int]
    map: MapSpec


def build(spec: ObjectSpec, target: Target) -> Kconfig | None:
    """Look up the values that the object asks for; None when it asks for none.

    Raises:
        LinkingError: A value is not set, or it is not of the declared type.
    """
    externs = [extern for extern in spec.externs if extern.section == KCONFIG_MAP]
    if not externs or spec.btf is None:
        return None
    btf = spec.btf
    values = [_declared(btf, extern) for extern in externs]  # in the order of the layout
    offsets = _lay_out(values)
    contents = bytearray(offsets[values[-1].extern.name] + values[-1].size)
    for value in values:
        encoded = _look_up(value, target, spec)
        start = offsets[value.extern.name]
        contents[start : start + len(encoded)] = encoded
    return Kconfig(
        offsets,
        MapSpec(
            name=KCONFIG_MAP,
            type=MapType.ARRAY,
            key_size=4,
            value_size=len(contents),
            max_entries=1,
            flags=MapFlags.RDONLY_PROG,
            value_type_id=btf.find(KCONFIG_MAP, Kind.DATASEC) or 0,
            contents=bytes(contents),
            section=KCONFIG_MAP,
            kernel_name=data_map_kernel_name(spec.name, KCONFIG_MAP),
        ),
    )


def _lay_out(values: Iterable[_Value]) -> dict[str, int]:
    offsets: dict[str, int] = {}
    end = 0
    for value in values:
        start = -(-end // value.alignment) * value.alignment
        offsets[value.extern.name] = start
        end = start + value.size
        if end > _MAX_SIZE:
            raise LinkingError(f"the kernel configuration asked for is larger than {_MAX_SIZE}")
    return offsets


def _declared(btf: Btf, extern: ExternSpec) -> _Value:
    try:
        value_type, signed = _value_type(btf, extern.type_id)
        size, alignment = btf.size_of(extern.type_id), btf.align_of(extern.type_id)
    except BtfError as error:
        raise LinkingError(f"kernel configuration {extern.name}: {error}") from error
    if value_type is None or extern.is_function:
        raise LinkingError(
            f"kernel configuration {extern.name} is declared as {btf.describe(extern.type_id)}",
            hint="it can be a bool, char, integer, enum libbpf_tristate or array of char",
        )
    return _Value(extern, value_type, signed, size, alignment)


def _value_type(btf: Btf, type_id: int) -> tuple[_ValueType | None, bool]:
    match btf.type(btf.resolve(type_id)):
        case types.Int(size=1, boolean=True):
            return _ValueType.BOOL, False
        case types.Int(size=1, boolean=False, signed=signed):
            return _ValueType.CHAR, signed
        case types.Int(size=2 | 4 | 8, boolean=False, signed=signed):
            return _ValueType.INTEGER, signed
        case types.Enum(name="libbpf_tristate", size=4) | types.Enum64(name="libbpf_tristate"):
            return _ValueType.TRISTATE, False
        case types.Array(element=element, length=length) if length > 0:
            match btf.type(btf.resolve(element)):
                case types.Int(size=1, boolean=False):
                    return _ValueType.STRING, False
    return None, False


def _look_up(value: _Value, target: Target, spec: ObjectSpec) -> bytes:
    name = value.extern.name
    if name in _VIRTUAL:
        return _encode_number(value, target.virtual_config(name), spec)
    if name.startswith("CONFIG_"):
        text = target.kernel_config().get(name)
        if text is not None:
            return _encode(value, text, spec)
    elif not name.startswith("LINUX_"):
        raise LinkingError(
            f"{name} is no kernel configuration", hint="names begin with CONFIG_ or LINUX_"
        )
    if not value.extern.weak:
        raise LinkingError(
            f"the kernel configuration does not set {name}",
            hint="declare it __weak to get 0 instead",
        )
    return b""


def _encode(value: _Value, text: str, spec: ObjectSpec) -> bytes:
    """A value as it stands behind ``=`` in a kernel's configuration file."""
    mismatch = LinkingError(f"{value.extern.name}={text} is no {value.type.value}")
    if text[:1] in _TRISTATE:
        if value.type == _ValueType.BOOL and text[0] != "m":
            return bytes([text[0] == "y"])
        if value.type == _ValueType.TRISTATE:
            return _TRISTATE[text[0]].to_bytes(4, spec.byteorder)
        if value.type == _ValueType.CHAR:
            return text[0].encode()
        raise mismatch
    if text[:1] == '"':
        if value.type != _ValueType.STRING or len(text) < 2 or text[-1] != '"':
            raise mismatch
        return text[1:-1].encode()[: value.size - 1]
    if value.type not in (_ValueType.INTEGER, _ValueType.CHAR):
        raise mismatch
    try:
        number = int(text, 0) if not text.lstrip("+-").isdigit() else int(text, 10)
    except ValueError:
        raise mismatch from None
    return _encode_number(value, number, spec)


def _encode_number(value: _Value, number: int, spec: ObjectSpec) -> bytes:
    if value.type not in (_ValueType.INTEGER, _ValueType.CHAR, _ValueType.BOOL):
        raise LinkingError(f"{value.extern.name} is a number, not a {value.type.value}")
    try:
        if value.type == _ValueType.BOOL:
            return bool([False, True][number]).to_bytes(1, spec.byteorder)
        return number.to_bytes(value.size, spec.byteorder, signed=value.signed or number < 0)
    except (OverflowError, IndexError):
        raise LinkingError(
            f"{value.extern.name} is {number}, which {value.size} bytes "
            f"{'with' if value.signed else 'without'} sign can't hold"
        ) from None
