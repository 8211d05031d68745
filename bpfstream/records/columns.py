"""Columns: the records of a ring as numpy arrays or Arrow batches, with no Python object an event.

A numpy batch is a structured array whose elements are the C structs as they are in memory. By the
names of the event's fields it has

* integers, floats and enums as numbers, in the byte order of the program; enums are not named;
* ``bool`` as bool;
* char arrays as ``S``: numpy cuts trailing NULs, and keeps what comes after an earlier one;
* bytes, and numbers of more than 8 bytes, as ``V``;
* arrays as subarrays, nested structs as structured fields, unions as their members, which overlap.

What has no dtype is computed into a column behind the struct: bitfields, as the smallest integer
that holds them (those of more than 64 bits are left out); integers of 3, 5, 6 and 7 bytes; booleans
that are wider than a byte or overlap something. In nested structs such a column bears the whole
path: ``batch["header.flags"]``.

Arrow batches have the same columns as Arrow sees them: nested structs with all their members at
their places, text up to the first NUL as utf8, arrays as fixed size lists, all numbers in the
machine's byte order; the names of an enum's values are in the field's metadata. See `arrow`.

Arrays without a length (flexible ones) are left out. A record that ends within a last array of
bytes, which events allow, is filled up with zeros; what is behind the struct is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bpfstream._native import COMPILED, hot
from bpfstream.errors import MissingPackageError, SchemaError
from bpfstream.records.column_layout import ColumnLayout
from bpfstream.records.record_type import RecordType
from bpfstream.rings import BatchDecoder, Part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Columns:
    """The columns of a record type: the decoders for its rings.

    Args:
        types: The record type. Of a ring with several structs one has to be chosen: columns are of
            one kind.
        native: Whether the compiled twin copies the records.

    Attributes:
        record_type: The record type.

    Raises:
        SchemaError: There are several types.
    """

    def __init__(
        self,
        types: RecordType[Any] | Sequence[RecordType[Any]],
        *,
        native: bool = COMPILED,
    ) -> None:
        if not isinstance(types, RecordType):
            if len(types) != 1:
                names = ", ".join(each.name for each in types)
                raise SchemaError(
                    f"columns are of one struct, and the ring carries {names or 'none'}",
                    hint="read it as events, or open it with one of them as its type",
                )
            (types,) = types
        self.record_type: RecordType[Any] = types
        self._native = native

    def numpy_decoder(self) -> BatchDecoder[np.ndarray[Any, np.dtype[np.void]]]:
        """Makes structured arrays, one element a record.

        Raises:
            MissingPackageError: numpy is not installed.
            SchemaError: The struct has nothing that a column could hold.
        """
        require("numpy")
        return NumpyDecoder(self.record_type, native=self._native)

    def arrow_decoder(self) -> BatchDecoder[pa.RecordBatch]:
        """Makes Arrow record batches, one row a record.

        Raises:
            MissingPackageError: numpy or pyarrow is not installed.
            SchemaError: The struct has nothing that a column could hold.
        """
        require("numpy")
        require("pyarrow")
        from bpfstream.records.arrow import ArrowDecoder

        return ArrowDecoder(self.record_type, native=self._native)


class NumpyDecoder:
    """A `BatchDecoder` of structured arrays.

    Attributes:
        layout: Of the arrays.
    """

    def __init__(self, record_type: RecordType[Any], *, native: bool = COMPILED) -> None:
        self.layout = ColumnLayout(record_type.shape, record_type.byteorder)
        self._record_type = record_type
        self._native = native

    def decode(self, parts: Sequence[Part]) -> tuple[np.ndarray[Any, np.dtype[np.void]], int]:
        """An array of the records, and how many there are.

        Raises:
            DecodeError: The first record is too short.
        """
        import numpy

        dtype, size, least = self.layout.dtype, self.layout.size, self._record_type.shape.least
        wanted = sum(run[3] for _, runs in parts for run in runs)
        raw = numpy.empty((wanted, dtype.itemsize), numpy.uint8)
        if self._native:
            count = hot.gather(parts, size, least, raw.data, dtype.itemsize)
        else:
            count = _gather(parts, size, least, raw)
        if count < wanted:
            if not count:
                self._refuse_first(parts)
            raw = raw[:count]
        self.layout.compute(raw)
        return raw.view(dtype)[:, 0], count

    def join(
        self, batches: Sequence[np.ndarray[Any, np.dtype[np.void]]]
    ) -> np.ndarray[Any, np.dtype[np.void]]:
        """One array of several."""
        import numpy

        if len(batches) == 1:
            return batches[0]
        dtype = self.layout.dtype
        rows = [batch.view(numpy.uint8).reshape(len(batch), dtype.itemsize) for batch in batches]
        raw = numpy.concatenate([numpy.empty((0, dtype.itemsize), numpy.uint8), *rows])
        return raw.view(dtype)[:, 0]

    def _refuse_first(self, parts: Sequence[Part]) -> None:
        """Raise what the decoder of events raises of the first record."""
        buffer, runs = next(part for part in parts if part[1])
        offset, length, _, _ = runs[0]
        self._record_type.decode(buffer, offset, length)


def _gather(parts: Sequence[Part], size: int, least: int, rows: np.ndarray[Any, Any]) -> int:
    """Copy `size` bytes of each record into a row; a shorter record is filled up with zeros.

    Gives the number of records copied: those before the first that has less than `least` bytes.
    """
    import numpy

    done = 0
    for buffer, runs in parts:
        for offset, length, stride, count in runs:
            if length < least:
                return done
            width = min(length, size)
            source = numpy.ndarray((count, width), numpy.uint8, buffer, offset, (stride, 1))
            rows[done : done + count, :width] = source
            rows[done : done + count, width:size] = 0
            done += count
    return done


def require(package: str) -> None:
    """Import a package of the extra ``columns``.

    Raises:
        MissingPackageError: It is not installed.
    """
    import importlib

    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError("columns", package, extra="columns") from error
