"""Memory-map arrays: read files, and allocate results that are too large for memory."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nestvec.errors import DataError

IN_MEMORY_BYTES = 1 << 30
"""Largest array that ``new_embeddings`` allocates in memory."""


def map_array(
    file: IO[bytes],
    dtype: DTypeLike,
    shape: tuple[int, int],
    *,
    at: int = 0,
    scattered: bool = False,
) -> NDArray[Any]:
    """Map a read-only array from a file; it stays valid after the file is closed or deleted.

    Args:
        file: An open file that contains the whole array.
        dtype: Type of the values.
        shape: Number of rows and columns, both above 0.
        at: Offset of the array in the file, in bytes.
        scattered: Whether rows will be read in random order. If so, the system does not read
            ahead the pages around each row.
    """
    count = shape[0] * shape[1]
    size = at + count * np.dtype(dtype).itemsize
    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    if scattered and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype, count, at).reshape(shape)


def prefetch(mapped: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Ask the system to read rows of a mapped array from disk; return without waiting.

    Args:
        mapped: An array that ``map_array`` returned.
        rows: Row numbers, [n].

    Raises:
        TypeError: If the array is not mapped from a file.
    """
    memory = _memory(mapped)
    if not hasattr(memory, "madvise"):
        return
    start = mapped.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
    row_bytes = mapped.strides[0]
    first = start + rows * row_bytes
    pages = first // mmap.PAGESIZE * mmap.PAGESIZE
    for page, end in zip(pages.tolist(), (first + row_bytes).tolist(), strict=True):
        memory.madvise(mmap.MADV_WILLNEED, page, end - page)


def _memory(mapped: NDArray[Any]) -> mmap.mmap:
    memory: Any = mapped
    while isinstance(memory, np.ndarray | memoryview):
        memory = memory.base if isinstance(memory, np.ndarray) else memory.obj
    if not isinstance(memory, mmap.mmap):
        raise TypeError("the array is not mapped from a file")
    return memory


def new_embeddings(
    n: int, dim: int, *, folder: Path | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Allocate an uninitialized array [n, dim], in a temporary file if it is large.

    Args:
        n: Number of rows.
        dim: Number of columns.
        folder: Folder of the temporary file; by default the system's. Set TMPDIR to change the
            default if that disk is small or in memory.
        dtype: Type of the values.

    Raises:
        DataError: If the disk has too little space for the file.
    """
    n_bytes = n * dim * np.dtype(dtype).itemsize
    if n_bytes <= IN_MEMORY_BYTES:
        return np.empty((n, dim), dtype=dtype)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            _reserve(file.fileno(), n_bytes)
            return np.memmap(file, dtype=dtype, mode="r+", shape=(n, dim))
    except OSError as error:
        gigabytes = f"{n_bytes / 1e9:.1f} GB"
        raise DataError(place, f"cannot store {gigabytes} of embeddings ({error})") from error


def _reserve(descriptor: int, n_bytes: int) -> None:
    # Without reserved space, a later write to a full disk would crash the process. Some systems
    # and file systems do not support reserving space.
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
