"""Numbers of the BPF type format (include/uapi/linux/btf.h and, for .BTF.ext, linux/bpf.h).

Everything in BTF but the head of its header is made of 32-bit words in one byte order, so sizes
here are also given in words.
"""

from collections.abc import Mapping
from enum import IntEnum, IntFlag

MAGIC = 0xEB9F
"""First two bytes of .BTF and .BTF.ext; their order tells the byte order of all that follows."""

VERSION = 1
"""The only version there is, of .BTF as of .BTF.ext."""

HEADER_SIZE = 24
"""Bytes of ``struct btf_header``: magic, version, flags, hdr_len, {type,str}_{off,len}."""

HEADER_SIZE_WITH_LAYOUT = 32
"""The same with layout_off and layout_len, which describe the record sizes of kinds."""

EXT_HEADER_SIZE = 24
"""Bytes of ``struct btf_ext_header`` up to line_info_len (without CO-RE relocations)."""

EXT_HEADER_SIZE_WITH_CORE = 32
"""The same with core_relo_off and core_relo_len."""

TYPE_WORDS = 3
"""Words of ``struct btf_type``: name_off, info, and size or type by the kind."""


class Kind(IntEnum):
    """``BTF_KIND_*``: what a type is."""

    VOID = 0  # the kernel's UNKN: no record has it, type id 0 stands for it
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class Linkage(IntEnum):
    """``enum btf_func_linkage`` and ``BTF_VAR_*``: who can see a function or a variable."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class IntEncoding(IntFlag):
    """``BTF_INT_*``: how an integer's bits are meant."""

    SIGNED = 1
    CHAR = 2
    BOOL = 4


class CoreRelocationKind(IntEnum):
    """``enum bpf_core_relo_kind``: what a CO-RE relocation asks about a type."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


TRAILER_WORDS: Mapping[int, tuple[int, int]] = {
    Kind.INT: (1, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (3, 0),
    Kind.STRUCT: (0, 3),
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0),
    Kind.DATASEC: (0, 3),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (1, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 3),
}
"""What follows ``struct btf_type``: words once, and words for each of its vlen elements."""

VLEN_MASK = 0xFFFFFF
KIND_SHIFT = 24
KIND_MASK = 0x7F
KIND_FLAG = 1 << 31
"""``btf_type.info``: vlen in bits 0 to 23, kind in 24 to 30, kind_flag in 31.

Kernels before this widening read 16 bits of vlen and 5 of kind; the bits between were zero."""

CORE_RELOCATION_SIZE = 16
"""``struct bpf_core_relo``: insn_off, type_id, access_str_off, kind."""

FUNCTION_INFO_SIZE = 8
"""``struct bpf_func_info`` at its smallest: insn_off, type_id."""

LINE_INFO_SIZE = 16
"""``struct bpf_line_info`` at its smallest: insn_off, file_name_off, line_off, line_col."""
