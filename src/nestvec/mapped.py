"""Arrays that lie in files, mapped into memory to be read."""

from __future__ import annotations

import mmap
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


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
