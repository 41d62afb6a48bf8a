"""Codes in files whose pages are thrown out of memory, to time a search that must read them.

The files are mapped as a deployed index maps its own. What lies below, a disk's or a hypervisor's
own cache, is out of reach.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nestvec.files.mapped import map_array
from nestvec.measure.representations import Key
from nestvec.types import Codes


class ColdCodes:
    """Codes that are read from disk each time that they are mapped; a context manager."""

    def __init__(self) -> None:
        """Make a folder for them."""
        self._folder = TemporaryDirectory(prefix="nestvec-cold-")
        self._files: dict[Key, Path] = {}

    def __enter__(self) -> ColdCodes:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the files."""
        self._folder.cleanup()

    def map(self, key: Key, codes: Codes) -> Codes:
        """Return the same codes, mapped from a file of which nothing is in memory.

        Args:
            key: What they represent; they are written when it is first asked for.
            codes: [n, bytes_per_vector].
        """
        if key not in self._files:
            self._files[key] = Path(self._folder.name) / str(len(self._files))
            self._files[key].write_bytes(np.ascontiguousarray(codes).data)
        _forget(self._files[key])
        with self._files[key].open("rb") as file:
            return map_array(file, np.uint8, codes.shape, scattered=True)


def can_forget() -> bool:
    """Tell whether this system lets the page cache of a file be dropped."""
    return hasattr(os, "posix_fadvise")


def reads_from_disk() -> int:
    """Count the page faults so far that had to wait for a disk; 0 where nobody counts them."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _forget(path: Path) -> None:
    # Pages that are still mapped, or not yet written, would stay: nothing may map the file now.
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        if sys.platform == "linux":
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
