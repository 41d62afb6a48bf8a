"""Read and write the vectors of flat FAISS indexes, without FAISS.

``faiss.read_index`` reads any index and trusts its content. A flat index has a simple layout, which
is checked here and mapped to memory: IndexFlat, IndexFlatIP and IndexFlatL2, also inside an
IndexIDMap or IndexIDMap2, whose ids are read. Other indexes contain codes instead of vectors, or
vectors in another order, and are refused by name. Only little-endian machines are supported, as in
FAISS.
"""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import DataError
from nestvec.files.mapped import map_array
from nestvec.sources.ids import stored_ids
from nestvec.sources.stream import Columns, VectorStream, array_stream

_FLAT = {b"IxFI": "IndexFlatIP", b"IxF2": "IndexFlatL2", b"IxFl": "IndexFlat"}
_ID_MAPS = {b"IxMp": "IndexIDMap", b"IxM2": "IndexIDMap2"}
_OTHERS = {
    b"IHNf": "IndexHNSWFlat",
    b"IHNs": "IndexHNSWSQ",
    b"IHNp": "IndexHNSWPQ",
    b"IwFl": "IndexIVFFlat",
    b"IwPQ": "IndexIVFPQ",
    b"IwSq": "IndexIVFScalarQuantizer",
    b"IxSQ": "IndexScalarQuantizer",
    b"IxPq": "IndexPQ",
    b"IxPT": "IndexPreTransform",
    b"IxRF": "IndexRefineFlat",
    b"IxHe": "IndexLSH",
    b"IBxF": "IndexBinaryFlat",
}
_HEADER = struct.Struct("<4siqqq?i")  # type, dim, vectors, two unused numbers, trained, metric
_INNER_PRODUCT, _L2 = 0, 1  # other metrics add a number to the header
_UNUSED = 1 << 20
_COUNT = struct.Struct("<Q")
_logger = logging.getLogger(__name__)


class _Header(NamedTuple):
    kind: bytes
    dim: int
    n: int
    metric: int


def open_faiss(path: Path, columns: Columns) -> VectorStream:
    """Open a flat index.

    Args:
        path: The file.
        columns: Only ``number_rows`` has an effect.

    Raises:
        DataError: If the index is not flat or is damaged, or the ids do not match.
    """
    try:
        with path.open("rb") as file:
            values, ids = _read(file, path)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    if ids is None and not columns.number_rows:
        return array_stream(path, values, stored_ids(path, len(values)))
    return array_stream(
        path,
        values,
        None if ids is None else list(map(str, ids.tolist())),
        number_rows=columns.number_rows,
    )


def _read(file: IO[bytes], path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    outer = _read_header(file, path)
    inner = _read_header(file, path) if outer.kind in _ID_MAPS else outer
    if inner.kind not in _FLAT:
        name = _OTHERS.get(inner.kind, f"of type {inner.kind.decode('ascii', 'replace')}")
        problem = f"is an index {name}, not a flat index"
        raise DataError(path, f"{problem}. Write the vectors with index.reconstruct_n and .npy.")
    start = _check_count(file, path, inner.n * inner.dim)
    if not inner.n:
        raise DataError(path, f"is empty: its shape is [0, {inner.dim}].")
    values = map_array(file, np.float32, (inner.n, inner.dim), at=start)
    if outer is inner:
        _check_end(file, path, start + values.nbytes)
        return values, None
    file.seek(start + values.nbytes)
    start = _check_count(file, path, inner.n)
    _check_end(file, path, start + 8 * inner.n)
    return values, np.fromfile(file, dtype="<i8", count=inner.n)


def _read_header(file: IO[bytes], path: Path) -> _Header:
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise _damaged(path)
    kind, dim, n, _, _, _, metric = _HEADER.unpack(head)
    if kind not in _FLAT and kind not in _ID_MAPS:
        return _Header(kind, 0, 0, metric)
    if metric > _L2:
        file.read(4)
    if dim <= 0 or n < 0:
        raise _damaged(path)
    if kind in _FLAT and metric != _INNER_PRODUCT:
        _logger.warning(
            "%s: the metric of the index (L2 or another distance) is not used; nestvec compares "
            "vectors by cosine",
            path,
        )
    return _Header(kind, dim, n, metric)


def _check_count(file: IO[bytes], path: Path, expected: int) -> int:
    """Return the offset after a count, which must be as expected and fit the size of the file."""
    head = file.read(_COUNT.size)
    if len(head) < _COUNT.size or _COUNT.unpack(head)[0] != expected:
        raise _damaged(path)
    start = file.tell()
    if start + 4 * expected > path.stat().st_size:
        raise _damaged(path)
    return start


def _check_end(file: IO[bytes], path: Path, end: int) -> None:
    if path.stat().st_size != end:
        raise _damaged(path)


def _damaged(path: Path) -> DataError:
    return DataError(path, "is damaged or not a FAISS index. Write the index again.")


def write_faiss_header(file: IO[bytes], n: int, dim: int) -> None:
    """Write the first bytes of an IndexFlatIP; the vectors follow, float32 [n, dim]."""
    file.write(_HEADER.pack(b"IxFI", dim, n, _UNUSED, _UNUSED, True, _INNER_PRODUCT))
    file.write(_COUNT.pack(n * dim))
