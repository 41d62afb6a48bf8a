"""Memory-mapped arrays: files that are read, and results too large for memory."""

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
from nestvec.types import Embeddings

IN_MEMORY_BYTES = 1 << 30
"""Larger results lie in a file."""


def map_array(
    file: IO[bytes],
    dtype: DTypeLike,
    shape: tuple[int, int],
    *,
    at: int = 0,
    scattered: bool = False,
) -> NDArray[Any]:
    """Map an array of a file, read-only; it outlives the file object, and the file's name.

    Args:
        file: Open, and long enough.
        dtype: Of its values.
        shape: Rows and width, neither 0.
        at: Where in the file it begins.
        scattered: Whether single rows will be read here and there: then the pages around each are
            not read from a cold disk with it, as those of rows read in order are.
    """
    count = shape[0] * shape[1]
    size = at + count * np.dtype(dtype).itemsize
    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    if scattered and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype, count, at).reshape(shape)


def ask_for(mapped: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Have rows of a mapped array read from disk, all at once, without waiting for them.

    Args:
        mapped: What ``map_array`` returned.
        rows: Which, [n].
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


def new_embeddings(n: int, dim: int, *, folder: Path | None = None) -> Embeddings:
    """Return float32 [n, dim] to be filled.

    Args:
        n: Rows.
        dim: Columns.
        folder: Where a file may lie. Without it, where temporary files lie: set TMPDIR to
            another disk where that one is small or itself in memory.

    Raises:
        DataError: If the disk has no room for the file.
    """
    n_bytes = n * dim * np.dtype(np.float32).itemsize
    if n_bytes <= IN_MEMORY_BYTES:
        return np.empty((n, dim), dtype=np.float32)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            _reserve(file.fileno(), n_bytes)
            return np.memmap(file, dtype=np.float32, mode="r+", shape=(n, dim))
    except OSError as error:
        gigabytes = f"{n_bytes / 1e9:.1f} GB"
        raise DataError(place, f"cannot hold {gigabytes} of embeddings ({error})") from error


def _reserve(descriptor: int, n_bytes: int) -> None:
    # Without it, a full disk is a crash at some later write; some systems and disks cannot do it.
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
