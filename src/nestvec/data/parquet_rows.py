"""Read Parquet files in batches, so that a file can be larger than memory.

Columns of vectors and of binary data are not read as rows. Dates and times become ISO 8601 strings,
in the form that ``metadata`` describes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.data.metadata import SHORTEST_VECTOR, iso_text
from nestvec.errors import DataError, first_line, require

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

_BATCH = 1_024  # rows that are in memory at a time; their texts may be long
_READ_BYTES = 1 << 20  # read from each column at a time
_logger = logging.getLogger(__name__)


@contextmanager
def open_parquet(
    path: Path | str, open_object: Callable[[], AbstractContextManager[Any]] | None = None
) -> Iterator[parquet.ParquetFile]:
    """Open a Parquet file; an error of Arrow in the block names the file.

    Args:
        path: The file, or the URL of an object.
        open_object: Opens the object as a file of Arrow; None for a local file.

    Raises:
        DataError: If the file cannot be read as Parquet, or two columns have the same name.
        MissingExtra: If ``pyarrow`` is not installed.
    """
    arrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    try:
        # With pre_buffer, the default, Arrow loads the whole file into memory.
        with (
            nullcontext(path) if open_object is None else open_object() as source,
            parquet.ParquetFile(source, pre_buffer=False, buffer_size=_READ_BYTES) as file,
        ):
            names = file.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise DataError(path, f"column {name!r} appears twice")
            yield file
    except (arrow.ArrowException, OSError) as error:
        raise DataError(path, f"is damaged or not a Parquet file ({first_line(error)})") from error


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row as a dict, with its number from 1.

    Raises:
        DataError: If the file cannot be read as Parquet.
    """
    number = 0
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=_columns_of_rows(path, file)):
            names = batch.schema.names
            columns = [
                column_values(path, *pair) for pair in zip(names, batch.columns, strict=True)
            ]
            for values in zip(*columns, strict=True):
                number += 1
                yield number, dict(zip(names, values, strict=True))


def warn_unread(path: Path, columns: Sequence[str], reason: str) -> None:
    """Log one warning that names the columns of a file that are not read."""
    if columns:
        subject, verb = ("columns", "are") if len(columns) > 1 else ("column", "is")
        named = ", ".join(map(repr, columns))
        _logger.warning("%s: %s %s %s not read (%s)", path, subject, named, verb, reason)


def _columns_of_rows(path: Path, file: parquet.ParquetFile) -> list[str]:
    schema = file.schema_arrow
    vectors = [field.name for field in schema if _is_vector(file, field)]
    binary = [field.name for field in schema if _has_binary(field.type)]
    warn_unread(path, vectors, "vectors")
    warn_unread(path, binary, "binary data")
    return [name for name in schema.names if name not in {*vectors, *binary}]


def is_unread(column: pa.ChunkedArray) -> bool:
    """Return whether a column contains vectors or binary data, which are not read as rows."""
    types = require("pyarrow", extra="parquet").types
    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind):
        values = sum(len(chunk.flatten()) for chunk in column.chunks)
        return _has_binary(kind) or _are_vectors(kind, values / max(1, len(column)))
    fixed = types.is_fixed_size_list(kind) and _are_vectors(kind, kind.list_size)
    return fixed or _has_binary(kind)


def _is_vector(file: parquet.ParquetFile, field: pa.Field) -> bool:
    types = require("pyarrow", extra="parquet").types
    kind = field.type
    if types.is_fixed_size_list(kind):
        return _are_vectors(kind, kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind):
        return _are_vectors(kind, _mean_length(file, field.name))
    return False


def _are_vectors(kind: pa.DataType, length: float) -> bool:
    """Return whether lists are vectors: lists of many floats or of many single bytes."""
    types = require("pyarrow", extra="parquet").types
    items = kind.value_type
    single = types.is_floating(items) or types.is_int8(items) or types.is_uint8(items)
    return bool(single) and length >= SHORTEST_VECTOR


def _mean_length(file: parquet.ParquetFile, name: str) -> float:
    """Return the mean length of the lists of a column, from the statistics of the file."""
    metadata, columns = file.metadata, range(file.metadata.num_columns)
    paths = [file.schema.column(number).path for number in columns]
    leaf = next(number for number in columns if paths[number].startswith(f"{name}."))
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    total = sum(int(group.column(leaf).num_values) for group in groups)
    return total / max(1, int(metadata.num_rows))


def _has_binary(kind: pa.DataType) -> bool:
    types = require("pyarrow", extra="parquet").types
    checks = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return any(check(kind) for check in checks) or any(
        _has_binary(kind.field(number).type) for number in range(kind.num_fields)
    )


def column_values(path: Path, name: str, column: pa.Array) -> list[Any]:
    """Return the values of a column in Python; dates and times as text.

    Raises:
        DataError: If a value cannot be converted, such as a time outside the range of Python.
    """
    types = require("pyarrow", extra="parquet").types
    if types.is_date(column.type):
        days = column.to_numpy(zero_copy_only=False).astype("datetime64[D]")
        return list(map(iso_text, days))
    if types.is_timestamp(column.type):  # stored in UTC if there is a time zone
        zone = "" if column.type.tz is None else "+00:00"
        texts = map(iso_text, column.to_numpy(zero_copy_only=False))
        return [None if text is None else text + zone for text in texts]
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError) as error:
        problem = f"column {name!r} cannot be converted ({first_line(error)})"
        raise DataError(path, problem) from error
    return values
