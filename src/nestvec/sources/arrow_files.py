"""Read vectors from Parquet files and from Arrow files and streams, in batches.

A column of more than 2^31 numbers cannot be one array of Arrow, whose lists have offsets of 32
bits. Feather files of version 2 are Arrow files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.data.parquet_rows import open_parquet
from nestvec.errors import DataError, first_line, require
from nestvec.sources.arrow_columns import choose_columns, read_blocks
from nestvec.sources.stream import Block, Columns, VectorStream

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 4_096  # rows in memory at a time
_FILE_SIGNATURE = b"ARROW1"
OpenObject = Callable[[], AbstractContextManager[Any]]


def open_parquet_vectors(
    path: Path | str, columns: Columns, open_object: OpenObject | None = None
) -> VectorStream:
    """Open a Parquet file.

    Args:
        path: The file, or the URL of an object.
        columns: The names of the columns.
        open_object: Opens the object as a file of Arrow; None for a local file.

    Raises:
        DataError: If the file or a column cannot be read.
        MissingExtra: If ``pyarrow`` is not installed.
    """
    with open_parquet(path, open_object) as file:
        chosen = choose_columns(file.schema_arrow, columns, path)
        rows = file.metadata.num_rows

    def read() -> Iterator[Block]:
        with open_parquet(path, open_object) as file:
            batches = file.iter_batches(batch_size=BATCH, columns=chosen.names)
            yield from read_blocks(batches, chosen, path)

    return VectorStream(path, chosen.dtype, read, rows, numbered=chosen.ids is None)


def open_arrow(path: Path, columns: Columns) -> VectorStream:
    """Open an Arrow file or an Arrow stream.

    Raises:
        DataError: If the file or a column cannot be read.
        MissingExtra: If ``pyarrow`` is not installed.
    """
    with _batches(path) as (schema, _):
        chosen = choose_columns(schema, columns, path)

    def read() -> Iterator[Block]:
        with _batches(path) as (_, batches):
            yield from read_blocks(batches, chosen, path)

    return VectorStream(path, chosen.dtype, read, numbered=chosen.ids is None)


def read_schema(path: Path) -> pa.Schema:
    """Return the schema of a Parquet file, an Arrow file or an Arrow stream.

    Raises:
        DataError: If the file cannot be read.
        MissingExtra: If ``pyarrow`` is not installed.
    """
    if path.suffix == ".parquet":
        with open_parquet(path) as file:
            return file.schema_arrow
    with _batches(path) as (schema, _):
        return schema


@contextmanager
def _batches(path: Path) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Open an Arrow file or stream; batches are at most ``BATCH`` rows."""
    arrow = require("pyarrow", extra="parquet")
    ipc = require("pyarrow.ipc", extra="parquet")
    try:
        with arrow.memory_map(str(path)) as source:
            if source.read(len(_FILE_SIGNATURE)) == _FILE_SIGNATURE:
                source.seek(0)
                with ipc.open_file(source) as reader:
                    found = (reader.get_batch(i) for i in range(reader.num_record_batches))
                    yield reader.schema, _split(found)
            else:
                source.seek(0)
                with ipc.open_stream(source) as reader:
                    yield reader.schema, _split(reader)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(path, f"is damaged or not an Arrow file ({first_line(error)})") from error


def _split(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, len(batch), BATCH):
            yield batch.slice(start, BATCH)
