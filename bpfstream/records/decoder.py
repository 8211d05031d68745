"""Decoders: for each shape Python functions, generated once, that make as few calls as possible.

The function for one struct unpacks all its leaves by one `struct.Struct` and calls the class with
them; nested structs cost a call more each, no further unpacking. Where fields overlap (in unions),
leaves go into further layers, each unpacked by its own `struct.Struct`. For

    struct event { u32 pid; char comm[16]; struct { u64 a; u64 b; } span; };

the function is

    def decode(buffer, offset, length):
        if length < 40:
            raise short(buffer, offset, length)
        try:
            (v0, v1, v2, v3,) = unpack0(buffer, offset)
            return k2(v0, k0[v1], k1(v2, v3))
        except (TypeError, ValueError) as error:
            raise refused(buffer, offset, length, error) from error

and that for records of one size, one right behind the other, unpacks all of them in one go:

    def decode_run(buffer, offset, stride, count):
        end = offset + stride * count
        part = buffer[offset:end]
        (unpack0,) = unpackers[stride]
        return [k2(v0, k0[v1], k1(v2, v3)) for (v0, v1, v2, v3,) in unpack0(part)]

Only numbers and names that this module makes up are written into it; classes, tables and formats
are its globals.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from bpfstream.btf.layout import Bitfield
from bpfstream.errors import DecodeError, SchemaError
from bpfstream.records.converters import CACHED_TEXT_SIZE, EnumTable, TextCache, signed, text
from bpfstream.records.plan import tail_of
from bpfstream.records.shapes import (
    Boolean,
    ByteOrder,
    Enumeration,
    Field,
    Floating,
    Integer,
    Opaque,
    Record,
    Sequence,
    Shape,
    Text,
)
from bpfstream.rings import Decode

MAXIMUM_VALUES = 16384
"""Values in one decoded record, arrays counted as one: a struct of a few dozen types can have
billions, each level twice the one below. The kernel's task_struct has some 600."""

DecodeRun: TypeAlias = Callable[[memoryview, int, int, int], list[Any]]
"""``decode_run(buffer, offset, stride, count)``: the values of `count` records that have all of
their bytes, and end within the buffer as far as `stride` goes. What a record is refused for comes
out of it as it was raised: the function for one record says then which record it was."""

STRIDES = 64
"""Formats of runs that one decoder keeps: few, as most programs send records of one size."""

_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FLOATS = {2: "e", 4: "f", 8: "d"}


class Functions(msgspec.Struct, frozen=True):
    """What decodes values of one shape.

    Attributes:
        one: ``decode(buffer, offset, length)``. A buffer may hold more than the value; a record
            that ends within a last array of bytes, or that has a flexible array, is decoded as far
            as it goes. `DecodeError` for one that is too short, or that its class refuses.
        run: Decodes many at once; None for what has a flexible array.
        values: How many values there are in one, arrays counted as one element.
    """

    one: Decode[Any]
    run: DecodeRun | None
    values: int


def decoder(shape: Shape, byteorder: ByteOrder) -> Decode[Any]:
    """The function that decodes one value of a shape; see `Functions`.

    Raises:
        SchemaError: The shape has more than `MAXIMUM_VALUES` values.
    """
    return functions(shape, byteorder).one


def functions(shape: Shape, byteorder: ByteOrder) -> Functions:
    """The functions that decode values of a shape.

    Raises:
        SchemaError: The shape has more than `MAXIMUM_VALUES` values.
    """
    return _Generator(shape, byteorder, {}).functions()


class _Generator:
    """Writes and compiles the functions for one shape.

    Args:
        shape: The shape.
        byteorder: Of all numbers.
        elements: The functions of what arrays are made of, by the identity of its shape; the shapes
            are parts of an outermost one, which keeps them.
    """

    def __init__(self, shape: Shape, byteorder: ByteOrder, elements: dict[int, Functions]) -> None:
        self._shape = shape
        self._byteorder = byteorder
        self._order = "<" if byteorder == "little" else ">"
        self._names: dict[str, Any] = {
            "short": self._short,
            "refused": self._refused,
            "from_bytes": int.from_bytes,
            "signed": signed,
            "text": text,
        }
        self._constants: dict[int, str] = {}
        self._tables: dict[type[enum.Enum], EnumTable] = {}
        self._elements_of = elements
        self._leaves: dict[tuple[int, str], str] = {}
        self._values = 0

    def functions(self) -> Functions:
        size = self._shape.size
        least, tail = size, tuple[Field, ...]()
        if isinstance(self._shape, Record):
            least, tail = self._shape.least, tail_of(self._shape)
        flexible = any(field.flexible for field in tail)
        lines = [
            "def decode(buffer, offset, length):",
            f" if length < {least}:",
            "  raise short(buffer, offset, length)",
        ]
        if flexible:
            lines += self._body(tail)
        else:
            if tail:
                lines += [f" if length < {size}:"]
                lines += [f" {line}" for line in self._body(tail)]
            lines += self._body(())
            lines += self._run()
        exec(compile("\n".join(lines), "<bpfstream decoder>", "exec"), self._names)
        return Functions(self._names["decode"], self._names.get("decode_run"), self._values)

    def _body(self, tail: tuple[Field, ...]) -> list[str]:
        """The statements that unpack and return; `tail` is read from what the record has left."""
        result = self._whole(tail)
        return [
            " try:",
            *(
                f"  ({layer.variables}) = {self._unpack(layer)}(buffer, offset)"
                for layer in self._layers()
            ),
            f"  return {result}",
            " except (TypeError, ValueError) as error:",
            "  raise refused(buffer, offset, length, error) from error",
        ]

    def _run(self) -> list[str]:
        """The function that decodes many records."""
        result = self._whole(())
        layers = self._layers()
        self._names["unpackers"] = _Unpackers(self._order, [layer.format for layer in layers])
        # Elements of arrays are decoded from the buffer: they need to know where the record is.
        variables = [("offset", "range(offset, end, stride)")] if "offset" in result else []
        variables += [
            (f"({layer.variables})", f"unpack{index}(part)") for index, layer in enumerate(layers)
        ]
        if not variables:
            variables = [("_", "range(count)")]
        names, sources = map(", ".join, zip(*variables, strict=True))
        loop = f"{names} in {sources}" if len(variables) == 1 else f"{names} in zip({sources})"
        unpackers = "".join(f"unpack{index}, " for index, _ in enumerate(layers))
        return [
            "def decode_run(buffer, offset, stride, count):",
            " end = offset + stride * count",
            " part = buffer[offset:end]",
            f" ({unpackers}) = unpackers[stride]",
            f" return [{result} for {loop}]",
        ]

    def _whole(self, tail: tuple[Field, ...]) -> str:
        """An expression for the outermost value, whose leaves are in variables."""
        self._leaves = {}
        self._values = 0
        return self._value(self._shape, 0, tail)

    # Expressions

    def _value(self, shape: Shape, offset: int, tail: tuple[Field, ...] = ()) -> str:
        """An expression for what lies at `offset` from the start of the outermost value."""
        self._count(1)
        match shape:
            case Record():
                return self._construct(shape, offset, tail)
            case Text(size=size):
                return self._text(self._leaf(offset, f"{size}s"), size)
            case Opaque(size=size):
                return self._leaf(offset, f"{size}s")
            case Sequence():
                return self._sequence(shape, offset)
            case Floating(size=size):
                return self._leaf(offset, _FLOATS[size])
            case Integer(size=size, signed=is_signed):
                return self._integer(offset, size, is_signed)
            case Boolean(size=size):
                return f"({self._integer(offset, size, False)} != 0)"
            case Enumeration(size=size, signed=is_signed):
                return self._member(shape, self._integer(offset, size, is_signed))

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAXIMUM_VALUES:
            raise SchemaError(f"{self._shape.c_type} has more than {MAXIMUM_VALUES} values")

    def _construct(self, record: Record, offset: int, tail: tuple[Field, ...]) -> str:
        values = [
            self._rest(field) if field in tail else self._field(field, offset)
            for field in record.fields
        ]
        # __match_args__ has the fields that are not keyword-only, which msgspec puts first.
        positional = len(record.struct.__match_args__)
        for index in range(positional, len(values)):
            values[index] = f"{record.fields[index].name}={values[index]}"
        return f"{self._constant(record.struct)}({', '.join(values)})"

    def _field(self, field: Field, base: int) -> str:
        if field.bits is None:
            return self._value(field.shape, base + field.offset)
        value = self._bits(field.bits, base)
        match field.shape:
            case Boolean():
                return f"({value} != 0)"
            case Enumeration():
                return self._member(field.shape, value)
        return value

    def _bits(self, bits: Bitfield, base: int) -> str:
        """A bitfield's value, cut out of the bytes that hold it."""
        word = self._integer(base + bits.offset, bits.size, False)
        value = f"({word} >> {bits.shift} & {(1 << bits.bits) - 1})"
        return f"signed({value}, {bits.bits})" if bits.signed else value

    def _integer(self, offset: int, size: int, is_signed: bool) -> str:
        code = _INTEGERS.get(size)
        if code is not None:
            return self._leaf(offset, code.lower() if is_signed else code)
        raw = self._leaf(offset, f"{size}s")
        return f"from_bytes({raw}, {self._byteorder!r}, signed={is_signed})"

    def _member(self, shape: Enumeration, value: str) -> str:
        table = self._tables.setdefault(shape.enum, EnumTable(shape.enum))
        return f"{self._constant(table)}[{value}]"

    def _text(self, raw: str, size: int) -> str:
        if size > CACHED_TEXT_SIZE:
            return f"text({raw})"
        cache = TextCache()
        return f"{self._constant(cache)}[{raw}]"

    def _sequence(self, shape: Sequence, offset: int) -> str:
        if shape.size == 0:
            return "()"
        code = _number(shape.element)
        if code == "B":
            return f"tuple({self._leaf(offset, f'{shape.size}s')})"
        if code is not None:
            unpack = struct.Struct(f"{self._order}{shape.length}{code}").unpack
            return f"{self._constant(unpack)}({self._leaf(offset, f'{shape.size}s')})"
        return self._elements(shape.element, str(offset), str(offset + shape.size))

    def _elements(self, element: Shape, start: str, end: str) -> str:
        """A tuple of elements, each decoded by a function of its own, between two offsets."""
        made = self._elements_of.get(id(element))
        if made is None:
            made = _Generator(element, self._byteorder, self._elements_of).functions()
            self._elements_of[id(element)] = made
        self._count(made.values)
        size = element.size
        places = f"range(offset + {start}, offset + {end} - {size - 1}, {size})"
        return f"tuple([{self._constant(made.one)}(buffer, at, {size}) for at in {places}])"

    def _rest(self, field: Field) -> str:
        """The value of a field that the record may end in."""
        start, end = field.offset, field.offset + field.shape.size
        until = "length" if field.flexible else f"min(length, {end})"
        raw = f"bytes(buffer[offset + {start} : offset + {until}])"
        match field.shape:
            case Text():
                return f"text({raw})"
            case Sequence(element=element):
                return self._elements(element, str(start), until) if element.size else "()"
        return raw

    # Unpacking

    def _leaf(self, offset: int, code: str) -> str:
        """The variable that the value at an offset is unpacked into."""
        return self._leaves.setdefault((offset, code), f"v{len(self._leaves)}")

    def _layers(self) -> list[_Layer]:
        """All leaves, in as few layers as they can be unpacked by."""
        layers: list[_Layer] = []
        for (offset, code), variable in sorted(self._leaves.items(), key=lambda leaf: leaf[0][0]):
            size = struct.calcsize(f"={code}")
            layer = next((layer for layer in layers if layer.end <= offset), None)
            if layer is None:
                layer = _Layer()
                layers.append(layer)
            layer.add(offset, code, size, variable)
        return layers

    def _unpack(self, layer: _Layer) -> str:
        name = f"unpack{len(self._names)}"
        self._names[name] = struct.Struct(self._order + layer.format).unpack_from
        return name

    def _constant(self, value: object) -> str:
        """The global name of an object; the same object has the same name."""
        name = self._constants.setdefault(id(value), f"k{len(self._constants)}")
        self._names[name] = value  # which keeps the object, and so its id
        return name

    # Errors

    def _short(self, buffer: memoryview, offset: int, length: int) -> DecodeError:
        return DecodeError(
            f"too short for {self._shape.size} bytes",
            type_name=self._shape.c_type,
            record=bytes(buffer[offset : offset + length]),
        )

    def _refused(
        self, buffer: memoryview, offset: int, length: int, error: Exception
    ) -> DecodeError:
        return DecodeError(
            f"refused by its class: {error}",
            type_name=self._shape.c_type,
            record=bytes(buffer[offset : offset + length]),
        )


class _Layer:
    """Leaves that do not overlap, in the order of their offsets."""

    def __init__(self) -> None:
        self.format = ""
        self.variables = ""
        self.end = 0

    def add(self, offset: int, code: str, size: int, variable: str) -> None:
        if offset > self.end:
            self.format += f"{offset - self.end}x"
        self.format += code
        self.variables += f"{variable}, "
        self.end = offset + size


class _Unpackers(dict[int, tuple[Callable[[memoryview], Iterator[tuple[Any, ...]]], ...]]):
    """The functions that unpack each layer of all records of a run, by the stride of the run."""

    def __init__(self, order: str, formats: list[str]) -> None:
        super().__init__()
        self._formats = [order + each for each in formats]

    def __missing__(
        self, stride: int
    ) -> tuple[Callable[[memoryview], Iterator[tuple[Any, ...]]], ...]:
        if len(self) >= STRIDES:
            self.clear()
        padded = (f"{each}{stride - struct.calcsize(each)}x" for each in self._formats)
        found = self[stride] = tuple(struct.Struct(each).iter_unpack for each in padded)
        return found


def _number(shape: Shape) -> str | None:
    """The `struct` code of a shape that one code unpacks as it is."""
    match shape:
        case Integer(size=1 | 2 | 4 | 8 as size, signed=is_signed):
            return _INTEGERS[size].lower() if is_signed else _INTEGERS[size]
        case Floating(size=size):
            return _FLOATS[size]
        case Boolean(size=1):
            return "?"
    return None
