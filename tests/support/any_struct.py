"""Any struct, drawn by hypothesis, and a reader of it that knows nothing of shapes and plans.

``members()`` draws what a struct has, ``build`` makes its BTF, and ``plain`` makes values of events
comparable with what the reader gives.
"""

import math
import struct

import msgspec
from hypothesis import strategies as st

from bpfstream.btf.types import Member
from tests.support.c_structs import INTEGERS

numbers = st.sampled_from([name for name in INTEGERS if name not in ("bool", "char")])


@st.composite
def members(draw, depth=2):
    """A member as ``(kind, ...)``: what it is, apart from its name and place."""
    kinds = ["number", "text", "array", "bits", "double", "float", "bool", "enum"]
    kind = draw(st.sampled_from([*kinds, "struct", "union", "structs"] if depth else kinds))
    match kind:
        case "number":
            return kind, draw(numbers)
        case "text":
            return kind, draw(st.integers(0, 70))
        case "array":
            return kind, draw(numbers), draw(st.integers(1, 5))
        case "bits":
            return kind, draw(st.lists(st.tuples(st.integers(1, 32), st.booleans()), min_size=1))
        case "double" | "float" | "bool":
            return (kind,)
        case "enum":
            return kind, draw(st.sampled_from([1, 2, 4, 8])), draw(st.booleans())
    return kind, draw(st.lists(members(depth=depth - 1), max_size=4)), draw(st.integers(0, 2))


def build(types, kind, members, gap):
    """The BTF id of a struct or union of these members, its size, and a reader of its values."""
    at, placed, readers, largest = 0, [], [], 0
    for index, member in enumerate(members):
        start = 0 if kind == "union" else at + gap
        name = f"m{index}"
        made, size, reads = build_member(types, name, member)
        placed += [(each, type_id, start * 8 + bit, *width) for each, type_id, bit, *width in made]
        readers += [(each, start, read) for each, read in reads]
        at, largest = start + size, max(largest, start + size)
    size = largest + gap
    members_of = [Member(name, type_id, bit, *width) for name, type_id, bit, *width in placed]
    make = types.union if kind == "union" else types.struct
    type_id = make("made", size, *[(m.name, m.type, m.bit_offset, m.bit_size) for m in members_of])

    def read(data, byteorder):
        return {name: each(data[start:], byteorder) for name, start, each in readers}

    return type_id, size, read


def build_member(types, name, member):
    match member:
        case "number", c_name:
            integer = INTEGERS[c_name]

            def read(data, byteorder):
                return int.from_bytes(data[: integer.size], byteorder, signed=integer.signed)

            return [(name, types.named(c_name), 0)], integer.size, [(name, read)]
        case "text", length:

            def read(data, byteorder):
                return data[:length].partition(b"\0")[0].decode(errors="backslashreplace")

            array = types.array(types.named("char"), length)
            # Between other members an array of no length is an empty one.
            return (
                [(name, array, 0), ("", types.named("u8"), 8 * length)],
                length + 1,
                [(name, read)],
            )
        case "array", c_name, length:
            integer = INTEGERS[c_name]

            def read(data, byteorder):
                parts = [data[i * integer.size : (i + 1) * integer.size] for i in range(length)]
                return tuple(int.from_bytes(p, byteorder, signed=integer.signed) for p in parts)

            return (
                [(name, types.array(types.named(c_name), length), 0)],
                integer.size * length,
                [(name, read)],
            )
        case "double" | "float", *_:
            size = {"double": 8, "float": 4}[member[0]]

            def read(data, byteorder):
                order = {"little": "<", "big": ">"}[byteorder]
                return struct.unpack(order + member[0][0], data[:size])[0]

            return [(name, types.named(member[0]), 0)], size, [(name, read)]
        case "bool", *_:
            return [(name, types.named("bool"), 0)], 1, [(name, lambda data, _: data[0] != 0)]
        case "enum", size, signed:
            values = {f"V{value}": value for value in (0, 1, 5, 100)} | (
                {"M": -1} if signed else {}
            )

            def read(data, byteorder):
                return int.from_bytes(data[:size], byteorder, signed=signed)

            enum = types.enum(f"e_{name}", size=size, signed=signed, **values)
            return [(name, enum, 0)], size, [(name, read)]
        case "bits", fields:
            made, reads, bit = [], [], 0
            size = (sum(width for width, _ in fields) + 7) // 8
            for index, (width, signed) in enumerate(fields):
                each = f"{name}_{index}"
                made.append((each, types.named("s32" if signed else "u32"), bit, width))
                reads.append((each, bits_reader(bit, width, signed, size)))
                bit += width
            return made, size, reads
        case "structs", inner, gap:
            type_id, size, read_one = build(types, "struct", inner, gap)

            def read(data, byteorder):
                count = 3 if size else 0
                return tuple(read_one(data[i * size :], byteorder) for i in range(count))

            return [(name, types.array(type_id, 3), 0)], 3 * size, [(name, read)]
        case kind, inner, gap:
            type_id, size, read = build(types, kind, inner, gap)
            return [(name, type_id, 0)], size, [(name, read)]


def bits_reader(bit, width, signed, size):
    def read(data, byteorder):
        whole = int.from_bytes(data[:size], byteorder)
        below = bit if byteorder == "little" else 8 * size - bit - width
        value = whole >> below & ((1 << width) - 1)
        return value - (1 << width) if signed and value >> (width - 1) else value

    return read


def plain(value):
    """A decoded value as dicts and tuples; NaN, which equals nothing, as text."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    return "nan" if isinstance(value, float) and math.isnan(value) else value
