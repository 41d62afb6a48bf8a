"""Room for embeddings: in memory, or beyond a limit in a file without a name.

A corpus larger than memory is then written block by block, and the system keeps of it in memory
what there is room for. The file has no name (on Windows it goes with its last handle), so nothing
is left behind, however the process ends.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np

from nestvec.errors import DataError
from nestvec.types import Embeddings

IN_MEMORY_BYTES = 1 << 30
"""Larger results lie in a file."""


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
