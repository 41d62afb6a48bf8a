"""Write blocks of vectors to formats of arrays: NumPy, HDF5, FAISS and raw records.

A header that states the number of vectors is written again at the end.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from nestvec.errors import InvalidArgument, require
from nestvec.sources.faiss_files import write_faiss_header
from nestvec.sources.hdf5_files import BENCHMARK_NAMES, IDS_OF
from nestvec.sources.stream import Block, FloatType, Writer, block_rows
from nestvec.types import Kind

_VECTORS, _IDS = "vectors", "ids"
_WriteHeader = Callable[[IO[bytes], int, int], None]


def write_npy(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write one array to a ``.npy`` file."""

    def write_header(file: IO[bytes], n: int, dim: int) -> None:
        values = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False}
        npy_format.write_array_header_1_0(file, {**values, "shape": (n, dim)})

    _write_matrix(path, blocks, write_header)


def write_npz(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write the arrays ``vectors`` and ``ids`` to an archive without compression."""
    ids: list[str] = []

    def named() -> Iterator[Block]:
        for block in blocks:
            ids.extend(_ids(block))
            yield block

    vectors = path.with_name(f"{path.name}.vectors")
    try:
        write_npy(vectors, named(), dtype)
        names = np.array(_without_nul(ids))
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(vectors, f"{_VECTORS}.npy")
            with archive.open(f"{_IDS}.npy", "w", force_zip64=True) as file:
                npy_format.write_array(file, names, allow_pickle=False)
    finally:
        vectors.unlink(missing_ok=True)


def write_faiss(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write an IndexFlatIP, which ``faiss.read_index`` reads."""
    _write_matrix(path, blocks, write_faiss_header)


def write_fbin(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write the format of big-ann-benchmarks: the shape, then all numbers."""

    def write_header(file: IO[bytes], n: int, dim: int) -> None:
        np.array([n, dim], dtype="<u4").tofile(file)

    _write_matrix(path, blocks, write_header)


def write_fvecs(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write one record per vector: the dim, then the numbers."""
    with path.open("wb") as file:
        for block in blocks:
            n, dim = block.values.shape
            records = np.empty(n, dtype=[("dim", "<i4"), ("values", "<f4", (dim,))])
            records["dim"], records["values"] = dim, block.values
            records.tofile(file)


def hdf5_writer(kind: Kind) -> Writer:
    """Return a function that writes HDF5 with the names of ann-benchmarks.

    Args:
        kind: "document" for the data set ``train``, "query" for ``test``.
    """

    def write(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
        h5py = require("h5py", extra="hdf5")
        name, done = BENCHMARK_NAMES[kind], 0
        ids: list[str] = []
        with h5py.File(path, "w") as file:
            values: Any = None
            for block in blocks:
                n, dim = block.values.shape
                if values is None:
                    chunk = (min(block_rows(dim), 1_024), dim)
                    values = file.create_dataset(
                        name, (0, dim), dtype=dtype, maxshape=(None, dim), chunks=chunk
                    )
                values.resize(done + n, axis=0)
                values[done : done + n] = block.values
                done += n
                ids.extend(_ids(block))
            file.create_dataset(
                IDS_OF.format(name), data=_without_nul(ids), dtype=h5py.string_dtype()
            )
            file.attrs["distance"] = "angular"

    return write


def _ids(block: Block) -> list[str]:
    return [] if block.ids is None else list(block.ids)


def _without_nul(ids: list[str]) -> list[str]:
    """Return ids unchanged; NumPy and HDF5 cannot store NUL characters.

    Raises:
        InvalidArgument: If an id contains a NUL character.
    """
    for name in ids:
        if "\0" in name:
            raise InvalidArgument(f"id {name!r} contains a NUL character. Choose another format.")
    return ids


def _write_matrix(path: Path, blocks: Iterator[Block], write_header: _WriteHeader) -> None:
    """Write a header and all numbers, then the header again with the number of vectors."""
    n, dim, start = 0, 0, 0
    with path.open("wb") as file:
        for block in blocks:
            if not n:
                dim = block.values.shape[1]
                write_header(file, 0, dim)
                start = file.tell()
            np.ascontiguousarray(block.values).tofile(file)
            n += len(block.values)
        file.seek(0)
        write_header(file, n, dim)
        if n and file.tell() != start:
            raise RuntimeError(f"the header has {file.tell()} bytes, not {start}")
