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

import weakref
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bpfstream._native import COMPILED, hot
from bpfstream.errors import MissingPackageError, SchemaError
from bpfstream.records.column_layout import ColumnLayout
from bpfstream.records.record_type import RecordType
from bpfstream.rings import BatchDecoder, Part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bpfstream.records.column_layout import Raw

    Bytes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint8]]

_LEAST_BLOCK = 1 << 16
"""Bytes of a batch below which the allocator has memory at hand."""

_BLOCKS = 4
"""Batches whose memory is kept: one at work, one or two that the program looks at."""

_SPARE = 8
"""Times its size that a batch takes of memory at most, for its program may keep it."""


class Columns:
    """The columns of a record type: the decoders for its rings.

    Args:
        types: The record type. Of a ring with several structs one has to be chosen: columns are of
            one kind.
        only: Names of the fields that are wanted, all by default. Only the bytes from the first of
            them to the last are copied.
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
        only: Collection[str] | None = None,
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
        self._only = only
        self._native = native

    def numpy_decoder(self) -> BatchDecoder[np.ndarray[Any, np.dtype[np.void]]]:
        """Makes structured arrays, one element a record.

        Raises:
            MissingPackageError: numpy is not installed.
            SchemaError: The struct has nothing that a column could hold.
        """
        require("numpy")
        return NumpyDecoder(self.record_type, self._only, native=self._native)

    def arrow_decoder(self) -> BatchDecoder[pa.RecordBatch]:
        """Makes Arrow record batches, one row a record.

        Raises:
            MissingPackageError: numpy or pyarrow is not installed.
            SchemaError: The struct has nothing that a column could hold.
        """
        require("numpy")
        require("pyarrow")
        from bpfstream.records.arrow import ArrowDecoder

        return ArrowDecoder(self.record_type, self._only, native=self._native)


class NumpyDecoder:
    """A `BatchDecoder` of structured arrays.

    Attributes:
        layout: Of the arrays.
    """

    def __init__(
        self,
        record_type: RecordType[Any],
        only: Collection[str] | None = None,
        *,
        native: bool = COMPILED,
    ) -> None:
        self.layout = ColumnLayout(record_type.shape, record_type.byteorder, only)
        self._record_type = record_type
        self._native = native
        self._memory = _Memory()

    def decode(self, parts: Sequence[Part]) -> tuple[np.ndarray[Any, np.dtype[np.void]], int]:
        """An array of the records, and how many there are.

        Raises:
            DecodeError: The first record is too short.
        """
        layout, least = self.layout, self._record_type.shape.least
        dtype, start, size = layout.dtype, layout.start, layout.size
        wanted = sum(run[3] for _, runs in parts for run in runs)
        raw = self._memory.rows(wanted, dtype.itemsize)
        if self._native:
            count = hot.gather(parts, start, size, least, raw.data, dtype.itemsize)
        else:
            count = _gather(parts, start, size, least, raw)
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
        raw = self._memory.rows(sum(map(len, rows)), dtype.itemsize)
        if rows:
            numpy.concatenate(rows, out=raw)
        return raw.view(dtype)[:, 0]

    def _refuse_first(self, parts: Sequence[Part]) -> None:
        """Raise what the decoder of events raises of the first record."""
        buffer, runs = next(part for part in parts if part[1])
        offset, length, _, _ = runs[0]
        self._record_type.decode(buffer, offset, length)


class _Memory:
    """Memory for batches; that of a batch which nobody looks at any more is used again.

    Fresh memory comes page by page, at several times the cost of the copy into it.
    """

    def __init__(self) -> None:
        self._leases: list[weakref.ref[_Lease]] = []
        self._blocks: list[Bytes] = []

    def rows(self, count: int, width: int) -> Raw:
        """Rows of bytes, with anything in them."""
        import numpy

        size = count * width
        if size < _LEAST_BLOCK:
            return numpy.empty((count, width), numpy.uint8)
        lease = _Lease(self._block(size), (count, width))
        self._leases.append(weakref.ref(lease))
        rows: Raw = numpy.asarray(lease)
        return rows

    def _block(self, size: int) -> Bytes:
        """Memory that nobody uses, the last of the list from now on."""
        import numpy

        for index, lease in enumerate(self._leases):
            block = self._blocks[index]
            if lease() is None and size <= len(block) <= _SPARE * size:
                del self._leases[index], self._blocks[index]
                break
        else:
            block = numpy.empty(1 << (size - 1).bit_length(), numpy.uint8)
            del self._leases[: 1 - _BLOCKS], self._blocks[: 1 - _BLOCKS]
        self._blocks.append(block)
        return block


class _Lease:
    """The base of all arrays that look at one batch: it lives as long as any of them."""

    def __init__(self, block: Bytes, shape: tuple[int, int]) -> None:
        self._block = block
        self.__array_interface__ = {**block.__array_interface__, "shape": shape}


def _gather(
    parts: Sequence[Part], start: int, size: int, least: int, rows: np.ndarray[Any, Any]
) -> int:
    """Copy `size` bytes of each record, from byte `start` on, into a row.

    A record that ends before is filled up with zeros.

    Gives the number of records copied: those before the first that has less than `least` bytes.
    """
    import numpy

    done = 0
    for buffer, runs in parts:
        for offset, length, stride, count in runs:
            if length < least:
                return done
            width = max(0, min(length - start, size))
            source = numpy.ndarray(
                (count, width), numpy.uint8, buffer, offset + start if width else 0, (stride, 1)
            )
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
