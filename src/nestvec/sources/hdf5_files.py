"""Read vectors from HDF5 files, also as ann-benchmarks writes them.

A file of ann-benchmarks contains ``train`` (the documents), ``test`` (the queries), and the nearest
neighbors of the queries, which are not read. Other files contain a data set ``vectors``,
``embeddings``, ``vector`` or ``embedding``, or one data set of floats [n, dim]. Optional ids are in
the data set ``ids``, ``id`` or ``_id``, or ``train_ids`` and ``test_ids``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nestvec.errors import DataError, first_line, require
from nestvec.sources.ids import as_id, stored_ids
from nestvec.sources.stream import (
    ID_COLUMNS,
    VECTOR_COLUMNS,
    Block,
    Columns,
    VectorStream,
    block_rows,
    float_type,
)
from nestvec.types import Kind

BENCHMARK_NAMES: Mapping[Kind, str] = {"document": "train", "query": "test"}
IDS_OF = "{}_ids"
_NEIGHBORS = "neighbors"
_NAMES = (*VECTOR_COLUMNS, "vectors", "embeddings")
_COSINE = ("angular", "cosine", "dot")
_logger = logging.getLogger(__name__)


def open_hdf5(path: Path, columns: Columns, kind: Kind) -> VectorStream:
    """Open a file of HDF5.

    Args:
        path: The file.
        columns: The names of the data sets.
        kind: Whether to read documents or queries of a file that contains both.

    Raises:
        DataError: If the file cannot be read, or no data set or several can be the vectors.
        MissingExtra: If ``h5py`` is not installed.
    """
    with _opened(path) as file:
        found = _data_sets(file)
        name = _find(found, columns.vectors, kind, path)
        values = found[name]
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            shape = f"{values.dtype} {list(values.shape)}"
            raise DataError(path, f"{name!r} contains {shape}, not numbers [n, dim]")
        n, dim = values.shape
        dtype = float_type(values.dtype)
        ids_name = None if columns.number_rows else _find_ids(found, name, columns.ids, path)
        _warn_unread(path, file, [each for each in found if each not in (name, ids_name)])
        ids = None if ids_name is None else _read_ids(found[ids_name], path)
    if ids is None and not columns.number_rows:
        ids = list(stored_ids(path, n) or []) or None
    if ids is not None and len(ids) != n:
        raise DataError(path, f"has {n} rows, but there are {len(ids)} ids")

    def read() -> Iterator[Block]:
        step = block_rows(dim, values.dtype.itemsize)
        with _opened(path) as file:
            for start in range(0, n, step):
                part = None if ids is None else ids[start : start + step]
                yield Block(path, start, part, file[name][start : start + step])

    return VectorStream(path, dtype, read, n, numbered=ids is None)


def stored_kinds(path: Path) -> tuple[Kind, ...]:
    """Return which kinds of vectors a file contains.

    Raises:
        DataError: If the file cannot be read.
        MissingExtra: If ``h5py`` is not installed.
    """
    with _opened(path) as file:
        found = _data_sets(file)
    kinds = tuple(kind for kind, name in BENCHMARK_NAMES.items() if name in found)
    return kinds or ("document",)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = require("h5py", extra="hdf5")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(path, f"is damaged or not HDF5 ({first_line(error)})") from error


def _data_sets(file: Any) -> dict[str, Any]:
    """Return the data sets whose values are in this file, by name."""
    h5py = require("h5py", extra="hdf5")
    found = {}
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            continue  # a link can name another file
        value = file[name]
        if isinstance(value, h5py.Dataset) and not (value.external or value.is_virtual):
            found[str(name)] = value
    return found


def _find(found: Mapping[str, Any], wanted: str | None, kind: Kind, path: Path) -> str:
    names = (BENCHMARK_NAMES[kind], *_NAMES) if wanted is None else (wanted,)
    for name in names:
        if name in found:
            return name
    vectors = [name for name, each in found.items() if each.ndim == 2 and each.dtype.kind == "f"]
    if wanted is None and len(vectors) == 1:
        return vectors[0]
    shown = ", ".join(f"{name} {each.dtype}{list(each.shape)}" for name, each in found.items())
    remedy = "Name the data set: nestvec convert SOURCE TARGET --vector-column NAME"
    expected = " or ".join(names)
    raise DataError(path, f"has no data set {expected} (its data sets: {shown}). {remedy}")


def _find_ids(found: Mapping[str, Any], name: str, wanted: str | None, path: Path) -> str | None:
    names = (IDS_OF.format(name), "ids", *ID_COLUMNS) if wanted is None else (wanted,)
    if name == BENCHMARK_NAMES["query"] and wanted is None:
        names = names[:1]  # "ids" are the ids of the documents
    for each in names:
        if each in found:
            return each
    if wanted is not None:
        raise DataError(path, f"has no data set {wanted} (its data sets: {', '.join(found)})")
    return None


def _read_ids(values: Any, path: Path) -> list[str]:
    names = values[()]
    if names.ndim != 1:
        raise DataError(path, f"has ids of shape {list(names.shape)}, not [n]")
    return [as_id(name, path, row) for row, name in enumerate(names.tolist())]


def _warn_unread(path: Path, file: Any, unread: list[str]) -> None:
    both = {name: IDS_OF.format(name) for name in BENCHMARK_NAMES.values()}
    others = [name for name in unread if name not in {*both, *both.values()}]
    if others:
        shown = ", ".join(map(repr, others))
        reason = "not ids or vectors"
        if _NEIGHBORS in others:
            reason += "; neighbors are exact nearest neighbors, not relevance labels"
        _logger.warning("%s: data sets %s are not read (%s)", path, shown, reason)
    distance = file.attrs.get("distance")
    if distance is not None and str(distance) not in _COSINE:
        _logger.warning(
            "%s: distance %r is not used; nestvec compares vectors by cosine", path, str(distance)
        )
