"""Read vectors and their ids from a Parquet file in batches.

A column of more than 2^31 numbers cannot be one array of Arrow, whose lists have offsets of 32
bits. ``precomputed`` checks the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nestvec.data.parquet_rows import open_parquet, warn_unread
from nestvec.errors import DataError, require
from nestvec.files.mapped import new_embeddings

if TYPE_CHECKING:
    import pyarrow as pa

REMEDY = "Encode the text again, or remove the vector."
_ID_COLUMNS = ("id", "_id")
_VECTOR_COLUMNS = ("vector", "embedding")
_BATCH = 4_096  # rows in memory at a time


def read_parquet_vectors(path: Path) -> tuple[list[str], NDArray[np.floating[Any]]]:
    """Read ids [n] and vectors [n, dim], float16 or float32, into a mapped file if they are large.

    Raises:
        DataError: If the file or a column cannot be read, or a vector is missing, has another
            length than the first, or contains null.
        MissingExtra: If ``pyarrow`` is not installed.
    """
    ids: list[str] = []
    values: NDArray[np.floating[Any]] = np.empty((0, 0), dtype=np.float32)
    with open_parquet(path) as file:
        names, n = file.schema_arrow.names, file.metadata.num_rows
        columns = [_one_of(_ID_COLUMNS, names, path), _one_of(_VECTOR_COLUMNS, names, path)]
        kind = _check_type(file.schema_arrow.field(columns[1]).type, path)
        warn_unread(path, [name for name in names if name not in columns], "not ids or vectors")
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
            start = len(ids)
            ids += _ids(batch.column(columns[0]), start, path)
            block = _matrix(batch.column(columns[1]), ids[start:], values.shape[1], start, path)
            if not start:
                values = new_embeddings(n, block.shape[1], dtype=kind)
            values[start : len(ids)] = block
    return ids, values


def _one_of(wanted: Sequence[str], names: Sequence[str], path: Path) -> str:
    for name in wanted:
        if name in names:
            return name
    present = ", ".join(names)
    raise DataError(path, f"has no column {' or '.join(wanted)} (its columns: {present})")


def _check_type(kind: pa.DataType, path: Path) -> np.dtype[np.floating[Any]]:
    """Return the type of the array for vectors of an Arrow type."""
    types = require("pyarrow", extra="parquet").types
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if not any(check(kind) for check in lists) or not types.is_floating(kind.value_type):
        raise DataError(path, f"has vectors of type {kind}, not lists of float")
    return np.dtype(np.float16 if types.is_float16(kind.value_type) else np.float32)


def _ids(column: pa.Array, start: int, path: Path) -> list[str]:
    ids = column.to_pylist()
    if None in ids:
        raise DataError(path, f"row {start + ids.index(None)} has no id")
    return [str(name) for name in ids]


def _matrix(
    column: pa.Array, ids: Sequence[str], dim: int, start: int, path: Path
) -> NDArray[np.floating[Any]]:
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
        raise DataError(path, f"the vector of id {ids[row]!r} (row {start + row}) {problem}")

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
