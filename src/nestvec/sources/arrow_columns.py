"""Ids and vectors of Arrow columns, as Parquet and Arrow files contain them.

A column of vectors is a list, a large list or a fixed-size list of floats. Extension types of
tensors (Ray, ``datasets``, Arrow's own) are stored as such lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from nestvec.data.parquet_rows import warn_unread
from nestvec.errors import DataError, require
from nestvec.sources.ids import as_id
from nestvec.sources.stream import REMEDY, Block, Columns, FloatType

if TYPE_CHECKING:
    import pyarrow as pa


class ChosenColumns(NamedTuple):
    """The columns that are read, and the type of the vectors."""

    ids: str | None
    vectors: str
    dtype: FloatType

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [self.vectors] if self.ids is None else [self.ids, self.vectors]


def choose_columns(schema: pa.Schema, columns: Columns, path: Path | str) -> ChosenColumns:
    """Choose the columns of ids and of vectors; log the columns of a file that are not read.

    Args:
        schema: The columns of a file or a table.
        columns: Names of the columns.
        path: The file, or the URL of a table.

    Raises:
        DataError: If a column is missing or appears twice, or the vectors are not lists of floats.
    """
    names = list(schema.names)
    for name in names:
        if names.count(name) > 1:
            raise DataError(path, f"column {name!r} appears twice")
    of_vectors = [] if isinstance(path, Path) else _columns_of_floats(schema)
    ids, vectors = columns.find(names, path, of_vectors=of_vectors)
    if isinstance(path, Path):
        unread = [name for name in names if name not in (ids, vectors)]
        warn_unread(path, unread, "not ids or vectors")
    return ChosenColumns(ids, vectors, _float_type(schema.field(vectors).type, path))


def _columns_of_floats(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that contain lists of floats."""
    found = []
    for field in schema:
        try:
            _float_type(field.type, "")
        except DataError:
            continue
        found.append(field.name)
    return found


def has_vectors_column(schema: pa.Schema) -> bool:
    """Return whether a column with the name of vectors contains lists."""
    try:
        _, name = Columns(number_rows=True).find(schema.names, Path())
        _float_type(schema.field(name).type, Path())
    except DataError:
        return False
    return True


def read_blocks(
    batches: Iterable[pa.RecordBatch], chosen: ChosenColumns, path: Path | str
) -> Iterator[Block]:
    """Yield the ids and vectors of batches.

    Raises:
        DataError: If an id or a vector is missing, a vector has another dim than the first, or a
            vector contains null.
    """
    start, dim = 0, 0
    for batch in batches:
        if not len(batch):
            continue
        ids = None
        if chosen.ids is not None:
            ids = read_id_column(_storage(batch.column(chosen.ids)), start, path)
        values = _matrix(_storage(batch.column(chosen.vectors)), ids, dim, start, path)
        yield Block(path, start, ids, values)
        start, dim = start + len(values), values.shape[1]


def read_id_column(column: pa.Array, start: int, path: Path | str) -> list[str]:
    """Return the ids of a batch.

    Args:
        column: The ids.
        start: The row of the first id in the file.
        path: The file, for errors.

    Raises:
        DataError: If an id is null, empty, a fraction, a list or an object.
    """
    values: list[Any] = column.to_pylist()
    if set(map(type, values)) <= {str} and "" not in values:
        return values
    return [as_id(value, path, start + row) for row, value in enumerate(values)]


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if hasattr(column, "storage") else column


def storage_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which an extension type is stored; other types are returned unchanged."""
    return kind.storage_type if hasattr(kind, "storage_type") else kind


def _float_type(kind: pa.DataType, path: Path | str) -> FloatType:
    types = require("pyarrow", extra="parquet").types
    if len(getattr(kind, "shape", None) or ()) > 1:
        shape = list(kind.shape)
        raise DataError(path, f"has tensors of shape {shape}, not vectors. Write one dim only.")
    stored = storage_type(kind)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if not any(check(stored) for check in lists) or not types.is_floating(stored.value_type):
        raise DataError(path, f"has vectors of type {kind}, not lists of float")
    return np.dtype(np.float16 if types.is_float16(stored.value_type) else np.float32)


def _matrix(
    column: pa.Array, ids: Sequence[str] | None, dim: int, start: int, path: Path | str
) -> NDArray[Any]:
    """Return the vectors of a batch, [n, dim].

    Args:
        column: The vectors.
        ids: Their ids.
        dim: The dim of the vectors of earlier batches; 0 in the first batch.
        start: The row of the first vector in the file.
        path: The file, for errors.

    Raises:
        DataError: If a vector is missing, has another length, or contains null.
    """
    compute = require("pyarrow.compute", extra="parquet")

    def fail(row: int, problem: str) -> NoReturn:
        name = f"of id {ids[row]!r} (row {start + row})" if ids else f"of row {start + row}"
        raise DataError(path, f"the vector {name} {problem}")

    if column.null_count:
        fail(column.is_null().index(True).as_py(), f"is missing. {REMEDY}")
    lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
    expected = dim if start else lengths[0]
    other = np.flatnonzero(lengths != expected)
    if len(other):
        row = int(other[0])
        fail(row, f"has {lengths[row]} numbers, but the first has {expected}. {REMEDY}")
    flat = column.flatten()
    if flat.null_count:
        row = flat.is_null().index(True).as_py() // int(expected)
        fail(row, f"has a null instead of a number. {REMEDY}")
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), int(expected))
