"""Read vectors from JSON Lines and from CSV with ``[...]`` text, also compressed (``.gz``).

A line of JSON Lines is an object with the fields ``id`` and ``embedding`` or ``vector``. A row of
CSV has the same columns; a vector is a list such as ``[0.1, -0.2]``, as pandas, DuckDB and pgvector
write it, or ``[0.1 -0.2]``, as NumPy writes it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.data.parquet_rows import warn_unread
from nestvec.data.records import read_csv, read_objects, suffix_of
from nestvec.errors import DataError
from nestvec.sources.ids import as_id
from nestvec.sources.stream import REMEDY, Block, Columns, VectorStream

_MAX_FIELD = 1 << 24  # characters of a field of CSV; the default of 131,072 is too few for vectors
_LIST_SHOWN = 30
BATCH = 256  # rows in memory at a time, as lists of Python numbers


class _Row(NamedTuple):
    line: int
    name: Any
    vector: Any


Rows = Iterator[tuple[int, dict[str, Any]]]


def open_jsonl(path: Path, columns: Columns) -> VectorStream:
    """Open a file with one JSON object per line.

    Raises:
        DataError: If the first line is not an object with an id and a vector.
    """
    return _open(path, columns, _jsonl_rows, _numbers)


def open_csv(path: Path, columns: Columns) -> VectorStream:
    """Open a CSV or TSV file.

    Raises:
        DataError: If the header has no column of ids or vectors.
    """
    return _open(path, columns, _csv_rows, _numbers_of_text)


def first_row(path: Path, *, is_csv: bool) -> dict[str, Any]:
    """Return the first row of a file; an empty dict if there is none.

    Raises:
        DataError: If the row cannot be read.
    """
    rows = _csv_rows(path) if is_csv else _jsonl_rows(path)
    return next(rows, (0, {}))[1]


def is_batch_answer(row: Mapping[str, Any]) -> bool:
    """Return whether a row is an answer of a batch of the OpenAI API."""
    return "custom_id" in row and "response" in row


def _open(
    path: Path,
    columns: Columns,
    rows: Callable[[Path], Rows],
    numbers: Callable[[Sequence[Any]], NDArray[Any]],
) -> VectorStream:
    first = next(rows(path), None)
    if first is None:
        raise DataError(path, "is empty")
    ids, vectors = columns.find(list(first[1]), path)
    warn_unread(path, [name for name in first[1] if name not in (ids, vectors)],
                "not ids or vectors")  # fmt: skip

    def read() -> Iterator[Block]:
        selected = (
            _Row(line, None if ids is None else row.get(ids), row.get(vectors))
            for line, row in rows(path)
        )
        yield from _blocks(path, selected, numbers, named=ids is not None)

    return VectorStream(path, np.dtype(np.float32), read, numbered=ids is None)


def _blocks(
    path: Path,
    rows: Iterable[_Row],
    numbers: Callable[[Sequence[Any]], NDArray[Any]],
    *,
    named: bool,
) -> Iterator[Block]:
    """Convert rows to blocks; a block that cannot be converted is searched for its bad row."""
    start, dim = 0, 0
    for batch in _batches(rows):
        ids = _ids(path, batch, start) if named else None
        try:
            values = numbers([row.vector for row in batch])
        except (TypeError, ValueError, OverflowError) as error:
            raise _bad_row(path, batch, numbers, dim) from error
        if dim and values.shape[1] != dim:
            raise _bad_row(path, batch, numbers, dim)
        dim = values.shape[1]
        yield Block(path, start, ids, values)
        start += len(batch)


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield batch


def _ids(path: Path, batch: Sequence[_Row], start: int) -> list[str]:
    found = []
    for offset, row in enumerate(batch):
        if row.name is None or row.name == "":
            raise DataError(path, "has no id", line=row.line)
        found.append(as_id(row.name, path, start + offset))
    return found


def _numbers(vectors: Sequence[Any]) -> NDArray[np.float32]:
    """Convert lists of numbers of equal length to an array [n, dim].

    Raises:
        TypeError: If a vector is not a list, or contains text or null.
        ValueError: If vectors differ in length.
    """
    if not all(isinstance(vector, list) for vector in vectors):
        raise TypeError("not a list")
    dim = len(vectors[0])
    if any(len(vector) != dim for vector in vectors):
        raise ValueError("lengths differ")
    flat = np.fromiter(chain.from_iterable(vectors), dtype=np.float64, count=len(vectors) * dim)
    if np.isnan(flat).any() and any(None in vector for vector in vectors):
        raise TypeError("null")  # NumPy reads null as NaN
    with np.errstate(over="ignore"):  # the check of the values finds infinity
        return flat.astype(np.float32).reshape(len(vectors), dim)


def _numbers_of_text(texts: Sequence[Any]) -> NDArray[np.float32]:
    parse = _parser()
    return _numbers([_numpy_list(text) if "," not in text else parse(text) for text in texts])


def _numpy_list(text: str) -> list[float]:
    """Parse the text of an array of NumPy, ``[0.1 0.2]``, and lists of one number.

    Raises:
        ValueError: If the text is no list.
    """
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        raise ValueError("not a list")
    return [float(number) for number in inner[1:-1].split()]


def _bad_row(
    path: Path,
    batch: Sequence[_Row],
    numbers: Callable[[Sequence[Any]], NDArray[Any]],
    dim: int,
) -> DataError:
    """Return the error of the first row of a batch that cannot be used."""
    for row in batch:
        which = "the vector" if row.name is None else f"the vector of id {str(row.name)!r}"
        if row.vector is None or row.vector == "":
            return DataError(path, f"{which} is missing. {REMEDY}", line=row.line)
        try:
            width = numbers([row.vector]).shape[1]
        except (TypeError, ValueError, OverflowError):
            shown = str(row.vector)[:_LIST_SHOWN]
            problem = f"{which} is not a list of numbers: {shown}"
            if "..." in str(row.vector):
                problem += ". It was shortened for display; write vector.tolist() instead"
            return DataError(path, f"{problem}. {REMEDY}", line=row.line)
        dim = dim or width
        if width != dim:
            problem = f"has {width} numbers, but the first has {dim}"
            return DataError(path, f"{which} {problem}. {REMEDY}", line=row.line)
    return DataError(path, "has vectors of different lengths", line=batch[0].line)


def _jsonl_rows(path: Path) -> Rows:
    return read_objects(path, _parser())


@cache
def _parser() -> Callable[[str], Any]:
    """Return a parser of JSON: orjson, which is several times faster, if it is installed."""
    try:
        import orjson
    except ModuleNotFoundError:
        return json.loads
    return partial(_parse, orjson.loads)


def _parse(loads: Callable[[str], Any], text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return json.loads(text)  # accepts NaN, and has the same error messages in all cases


def _csv_rows(path: Path) -> Rows:
    rows = read_csv(path, delimiter="\t" if suffix_of(path) == ".tsv" else ",")
    while True:
        with _wide_fields():
            row = next(rows, None)
        if row is None:
            return
        yield row


@contextmanager
def _wide_fields() -> Iterator[None]:
    """Raise the limit of the module ``csv`` for the length of a field, which is global."""
    before = csv.field_size_limit(_MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
