"""Records: from the bytes of C structs to typed events, and from values to bytes."""

from bpfstream.records.carried import event_type_of, loss_counter_of
from bpfstream.records.codec import Codec, codec
from bpfstream.records.layouts import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Chars,
)
from bpfstream.records.record_type import RecordType, record_type, record_type_of_class
from bpfstream.records.tagged import decoder_for

__all__ = [
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "U8",
    "U16",
    "U32",
    "U64",
    "Array",
    "Bytes",
    "Chars",
    "Codec",
    "RecordType",
    "codec",
    "decoder_for",
    "event_type_of",
    "loss_counter_of",
    "record_type",
    "record_type_of_class",
]
