"""Read the vector files of ann-benchmarks' texmex sets and of big-ann-benchmarks.

``.fvecs``, ``.bvecs`` and ``.ivecs`` (http://corpus-texmex.irisa.fr) contain records: the dim as
int32, then the numbers as float32, uint8 or int32. ``.fbin``, ``.f16bin``, ``.u8bin`` and
``.i8bin`` contain the number of vectors and the dim as uint32, then all numbers. All are
little-endian and are mapped to memory. They store no ids; a file ``NAME.ids.txt`` contains the ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import DataError
from nestvec.sources.ids import stored_ids
from nestvec.sources.stream import Columns, VectorStream, array_stream

RECORDS: Mapping[str, np.dtype[Any]] = {
    "fvecs": np.dtype("<f4"),
    "bvecs": np.dtype("u1"),
    "ivecs": np.dtype("<i4"),
}
"""Type of the numbers of formats that repeat the dim in each record."""
MATRICES: Mapping[str, np.dtype[Any]] = {
    "fbin": np.dtype("<f4"),
    "f16bin": np.dtype("<f2"),
    "u8bin": np.dtype("u1"),
    "i8bin": np.dtype("i1"),
}
"""Type of the numbers of formats that state the shape once."""
RAW_FORMATS = (*RECORDS, *MATRICES)
_MAX_DIM = 1 << 16  # more is not a dim, but the content of another format
_DIM = np.dtype("<i4")


def fitting_formats(path: Path) -> list[str]:
    """Return the formats whose structure fits the first bytes and the size of a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = np.frombuffer(file.read(8), dtype=_DIM)
        if len(first) < 2:
            return []
        n, dim = map(int, first)
        found = [
            name
            for name, dtype in RECORDS.items()
            if 0 < n <= _MAX_DIM
            and size % (4 + n * dtype.itemsize) == 0
            and _last_dim(path, 4 + n * dtype.itemsize) == n
        ]
    found += [
        name
        for name, dtype in MATRICES.items()
        if n > 0 and 0 < dim <= _MAX_DIM and size == 8 + n * dim * dtype.itemsize
    ]
    return found


def _last_dim(path: Path, record_bytes: int) -> int:
    with path.open("rb") as file:
        file.seek(-record_bytes, 2)
        return int(np.frombuffer(file.read(4), dtype=_DIM)[0])


def open_raw(path: Path, name: str, columns: Columns) -> VectorStream:
    """Open a file of one of the raw formats.

    Args:
        path: The file.
        name: The format, such as "fvecs".
        columns: Only ``number_rows`` has an effect.

    Raises:
        DataError: If the size of the file does not fit its first bytes, records differ in dim, or
            the ids do not match.
    """
    values = _records(path, name) if name in RECORDS else _matrix(path, name)
    ids = None if columns.number_rows else stored_ids(path, len(values))
    return array_stream(path, values, ids)


def _records(path: Path, name: str) -> NDArray[Any]:
    dtype = RECORDS[name]
    size = path.stat().st_size
    first = np.fromfile(path, dtype=_DIM, count=1)
    dim = int(first[0]) if len(first) else 0
    record = 4 + dim * dtype.itemsize
    if not 0 < dim <= _MAX_DIM or size % record:
        problem = f"has {size:,} bytes, which is no multiple of a record of {dim} dims"
        raise DataError(path, f"{problem}. The file is incomplete or not .{name}.")
    fields = np.dtype([("dim", _DIM), ("values", dtype, (dim,))])
    records = np.memmap(path, dtype=fields, mode="r")
    other = np.flatnonzero(records["dim"] != dim)
    if len(other):
        row = int(other[0])
        other_dim = int(records["dim"][row])
        raise DataError(path, f"row {row} has {other_dim} numbers, but the first has {dim}")
    return np.asarray(records["values"])


def _matrix(path: Path, name: str) -> NDArray[Any]:
    dtype = MATRICES[name]
    size = path.stat().st_size
    shape = np.fromfile(path, dtype="<u4", count=2)
    n, dim = (int(shape[0]), int(shape[1])) if len(shape) == 2 else (0, 0)
    expected = 8 + n * dim * dtype.itemsize
    if not 0 < dim <= _MAX_DIM or not n or size != expected:
        problem = f"has {size:,} bytes, but {n:,} vectors of {dim} dims have {expected:,}"
        raise DataError(path, f"{problem}. The file is incomplete or not .{name}.")
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=8, shape=(n, dim)))
