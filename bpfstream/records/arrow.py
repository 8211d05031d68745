r"""Arrow record batches of the records of a ring, made from numpy batches column by column.

A struct is a struct, with its bitfields at their places; a union is a struct of all its members.
Text is utf8 up to the first NUL, with ``\xNN`` for what is no UTF-8; bytes are fixed size binary,
and so are numbers of more than 8 bytes. An enum is the integer that it is in C: a dictionary could
not hold a value without a name. The metadata of its field has the names of the values as JSON,
under the key ``enum``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from bpfstream._native import COMPILED
from bpfstream.records import shapes
from bpfstream.records.column_layout import chosen
from bpfstream.records.columns import NumpyDecoder
from bpfstream.records.converters import text
from bpfstream.records.record_type import RecordType
from bpfstream.rings import Part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MAXIMUM_BYTES = (1 << 31) - 1
"""Of one batch: Arrow counts the characters of a utf8 column by 31 bits."""

_FIRST_BEYOND_ASCII = 0x80


class ArrowDecoder:
    """A `BatchDecoder` of Arrow record batches.

    Attributes:
        schema: Of the batches.
    """

    def __init__(
        self,
        record_type: RecordType[Any],
        only: Collection[str] | None = None,
        *,
        native: bool = COMPILED,
    ) -> None:
        self._rows = NumpyDecoder(record_type, only, native=native)
        self._shape = record_type.shape if only is None else chosen(record_type.shape, only)
        self._limit = MAXIMUM_BYTES // self._rows.layout.dtype.itemsize
        self.schema: pa.Schema = self._batch(self._rows.join(())).schema

    def decode(self, parts: Sequence[Part]) -> tuple[pa.RecordBatch, int]:
        """A record batch, and how many records are in it.

        Raises:
            DecodeError: The first record is too short.
        """
        rows, count = self._rows.decode(_first(parts, self._limit))
        return self._batch(rows), count

    def join(self, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """One record batch of several."""
        import pyarrow

        if len(batches) == 1:
            return batches[0]
        if not batches:
            return self._batch(self._rows.join(()))
        joined = pyarrow.Table.from_batches(batches).combine_chunks()
        return joined.to_batches()[0] if len(joined) else batches[0]

    def _batch(self, rows: Array) -> pa.RecordBatch:
        import pyarrow

        fields, columns = _Converter(rows, self._rows.layout.computed).fields(self._shape, rows, "")
        return pyarrow.RecordBatch.from_arrays(columns, schema=pyarrow.schema(fields))


class _Converter:
    """Makes Arrow arrays of the values of one batch; those of nested arrays in one go."""

    def __init__(self, rows: Array, computed: dict[str, Any]) -> None:
        self._rows = rows
        self._computed = computed

    def fields(
        self, record: shapes.Record, values: Array | None, path: str
    ) -> tuple[list[pa.Field], list[pa.Array]]:
        """The fields of a struct and their columns; `values` has all that is not computed."""
        import pyarrow

        fields: list[pa.Field] = []
        columns: list[pa.Array] = []
        for field in record.fields:
            inner = f"{path}.{field.name}" if path else field.name
            own = None
            if values is not None and field.name in (values.dtype.names or ()):
                own = values[field.name]
            column = self._column(field.shape, own, inner)
            if column is not None:
                metadata = _metadata(field.shape)
                fields.append(pyarrow.field(field.name, column.type, metadata=metadata))
                columns.append(column)
        return fields, columns

    def _column(self, shape: shapes.Shape, values: Array | None, path: str) -> pa.Array | None:
        """A column; its arrays are flat, whatever they are nested in. None when it is left out."""
        import pyarrow

        if path in self._computed:
            return _numbers(self._rows[path])
        match shape:
            case shapes.Record():
                fields, columns = self.fields(shape, values, path)
                return pyarrow.StructArray.from_arrays(columns, fields=fields) if columns else None
            case shapes.Sequence(element=element, length=length):
                flat = self._column(element, values, path)
                if flat is None:
                    return None
                return pyarrow.FixedSizeListArray.from_arrays(flat, length)
        if values is None:
            return None
        if isinstance(shape, shapes.Text):
            return _text(values)
        return _binary(values) if values.dtype.kind == "V" else _numbers(values)


def _numbers(values: Array) -> pa.Array:
    """Numbers and booleans, in the byte order of the machine."""
    import numpy
    import pyarrow

    flat = values.astype(values.dtype.newbyteorder("="), order="C").reshape(-1)
    if flat.dtype != numpy.bool_:
        return pyarrow.array(flat)
    bits = pyarrow.py_buffer(numpy.packbits(flat, bitorder="little"))
    return pyarrow.Array.from_buffers(pyarrow.bool_(), len(flat), [None, bits])


def _binary(values: Array) -> pa.Array:
    import numpy
    import pyarrow

    flat = numpy.ascontiguousarray(values).reshape(-1)
    kind = pyarrow.binary(flat.dtype.itemsize)
    return pyarrow.Array.from_buffers(kind, len(flat), [None, pyarrow.py_buffer(flat)])


def _text(values: Array) -> pa.Array:
    import numpy
    import pyarrow

    size = values.dtype.itemsize
    characters = numpy.ascontiguousarray(values).reshape(-1).view(numpy.uint8).reshape(-1, size)
    inside = numpy.logical_and.accumulate(characters != 0, axis=1)  # before the first NUL
    offsets = numpy.zeros(len(characters) + 1, numpy.int32)
    inside.sum(axis=1, dtype=numpy.int32).cumsum(out=offsets[1:])
    data = characters[inside]
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(data)]
    column = pyarrow.Array.from_buffers(pyarrow.utf8(), len(characters), buffers)
    if data.size and data.max() >= _FIRST_BEYOND_ASCII:
        try:
            column.validate(full=True)
        except pyarrow.ArrowInvalid:
            return pyarrow.array(map(text, map(bytes, characters)), pyarrow.utf8())
    return column


def _metadata(shape: shapes.Shape) -> dict[str, str] | None:
    """What the type of a column does not say."""
    while isinstance(shape, shapes.Sequence):
        shape = shape.element
    if not isinstance(shape, shapes.Enumeration):
        return None
    values = {name: member.value for name, member in shape.enum.__members__.items()}
    return {"enum": msgspec.json.encode(values).decode()}


def _first(parts: Sequence[Part], limit: int) -> list[Part]:
    """The parts with no more than `limit` records."""
    kept = list[Part]()
    for buffer, runs in parts:
        some = []
        for offset, length, stride, count in runs:
            some.append((offset, length, stride, min(count, limit)))
            limit -= some[-1][-1]
        kept.append((buffer, some))
    return kept
