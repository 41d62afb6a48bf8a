"""Read ``.npy`` and ``.npz`` files of NumPy, never a pickle.

A ``.npy`` file is mapped to memory; a file ``NAME.ids.txt`` contains the ids. An array in an
``.npz`` archive is compressed or not aligned, so the archive is read in blocks.
"""

from __future__ import annotations

import logging
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from nestvec.errors import DataError
from nestvec.sources.ids import as_id, stored_ids
from nestvec.sources.stream import (
    ID_COLUMNS,
    VECTOR_COLUMNS,
    Block,
    Columns,
    VectorStream,
    array_stream,
    block_rows,
    float_type,
)

_VECTOR_ARRAYS = (*VECTOR_COLUMNS, "vectors", "embeddings")
_ID_ARRAYS = (*ID_COLUMNS, "ids")
_ENTRY_SUFFIX = ".npy"
_ERRORS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_logger = logging.getLogger(__name__)


class _Array(NamedTuple):
    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]

    @property
    def is_vectors(self) -> bool:
        return len(self.shape) == 2 and self.dtype.kind == "f"

    @property
    def is_list(self) -> bool:
        return len(self.shape) == 1 and self.dtype.kind in "USiu"


def open_npy(path: Path, columns: Columns) -> VectorStream:
    """Open a ``.npy`` file, mapped to memory.

    Args:
        path: The file.
        columns: Only ``number_rows`` has an effect.

    Raises:
        DataError: If the file is damaged or has another shape or type, or the ids do not match.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(path, f"is damaged or not a .npy file of numbers ({error})") from error
    if values.ndim != 2 or values.dtype.kind != "f":
        shape = f"{values.dtype} {list(values.shape)}"
        raise DataError(path, f"contains {shape}, not floating-point numbers [n, dim]")
    ids = None if columns.number_rows else stored_ids(path, len(values))
    return array_stream(path, values, ids)


def open_npz(path: Path, columns: Columns) -> VectorStream:
    """Open an archive that contains an array of vectors and optionally an array of ids.

    Args:
        path: The file.
        columns: The names of the arrays. By default the names are ``vectors``, ``embeddings``,
            ``vector`` or ``embedding``, or the only array [n, dim]; and ``ids``, ``id`` or ``_id``.

    Raises:
        DataError: If no array or several arrays can be the vectors, or the ids do not match.
    """
    arrays = _list_arrays(path)
    name = _find_vectors(arrays, columns.vectors, path)
    vectors = arrays[name]
    if not vectors.is_vectors:
        shape = f"{vectors.dtype} {list(vectors.shape)}"
        raise DataError(path, f"{name!r} contains {shape}, not floating-point numbers [n, dim]")
    names = None if columns.number_rows else _find_ids(arrays, columns.ids, path)
    unread = sorted(set(arrays) - {name, names})
    if unread:
        shown = ", ".join(map(repr, unread))
        _logger.warning("%s: arrays %s are not read (not ids or vectors)", path, shown)
    ids = None if names is None else _read_ids(path, names)
    n = vectors.shape[0]
    if ids is None and not columns.number_rows:
        ids = list(stored_ids(path, n) or []) or None
    if ids is not None and len(ids) != n:
        raise DataError(path, f"has {n} rows, but there are {len(ids)} ids")

    def read() -> Iterator[Block]:
        for start, block in _blocks(path, name, vectors):
            part = None if ids is None else ids[start : start + len(block)]
            yield Block(path, start, part, block)

    return VectorStream(path, float_type(vectors.dtype), read, n, numbered=ids is None)


def _list_arrays(path: Path) -> dict[str, _Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for entry in archive.namelist():
                if entry.endswith(_ENTRY_SUFFIX):
                    with archive.open(entry) as file:
                        found[entry.removesuffix(_ENTRY_SUFFIX)] = _read_header(file)
            return found
    except _ERRORS as error:
        raise _damaged(path, error) from error


def _read_header(file: IO[bytes]) -> _Array:
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0
    if version != (1, 0):
        read = npy_format.read_array_header_2_0
    return _Array(*read(file))


def _find_vectors(arrays: Mapping[str, _Array], wanted: str | None, path: Path) -> str:
    names = _VECTOR_ARRAYS if wanted is None else (wanted,)
    for name in names:
        if name in arrays:
            return name
    vectors = [name for name, array in arrays.items() if array.is_vectors]
    if wanted is None and len(vectors) == 1:
        return vectors[0]
    shown = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items())
    expected = " or ".join(names)
    remedy = "Name the array: nestvec convert SOURCE TARGET --vector-column NAME"
    raise DataError(path, f"has no array {expected} (its arrays: {shown}). {remedy}")


def _find_ids(arrays: Mapping[str, _Array], wanted: str | None, path: Path) -> str | None:
    names = _ID_ARRAYS if wanted is None else (wanted,)
    for name in names:
        if name in arrays:
            if not arrays[name].is_list:
                shape = f"{arrays[name].dtype} {list(arrays[name].shape)}"
                raise DataError(path, f"{name!r} contains {shape}, not texts or whole numbers [n]")
            return name
    if wanted is not None:
        raise DataError(path, f"has no array {wanted} (its arrays: {', '.join(arrays)})")
    return None


def _read_ids(path: Path, name: str) -> list[str]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = archive[name].tolist()
    except _ERRORS as error:
        raise _damaged(path, error) from error
    return [as_id(value, path, row) for row, value in enumerate(values)]


def _blocks(path: Path, name: str, array: _Array) -> Iterator[tuple[int, NDArray[Any]]]:
    n, dim = array.shape
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name + _ENTRY_SUFFIX) as file:
            _read_header(file)
            if array.by_columns:  # the first rows are everywhere in the file
                whole = np.frombuffer(file.read(), array.dtype).reshape(dim, n).T
                yield 0, whole
                return
            step = block_rows(dim, array.dtype.itemsize)
            for start in range(0, n, step):
                rows = min(step, n - start)
                content = file.read(rows * dim * array.dtype.itemsize)
                if len(content) != math.prod((rows, dim, array.dtype.itemsize)):
                    raise EOFError(f"{name} ends after row {start}")
                yield start, np.frombuffer(content, array.dtype).reshape(rows, dim)
    except _ERRORS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(path, f"is damaged or not a .npz file of numbers ({error})")
