"""Stored vectors read here and there, as a shortlist asks for them: quick from a cold disk, too.

A mapped row that is not in memory is waited for alone, and the next one after it. So once rows had
to come from a disk, all pages of the next shortlist are asked for at once, which takes a quarter of
the time; while everything comes from memory, nothing is asked for.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from nestvec.files.mapped import ask_for
from nestvec.index.embedded.stacked import Stacked
from nestvec.types import Rows


class ScatteredRows:
    """Mapped arrays that stand one below another, read a few rows at a time."""

    def __init__(self, mapped: Stacked) -> None:
        """Take arrays of ``map_array``."""
        self._mapped = mapped
        self._from_disk = False  # of the last time, in whichever thread: a guess at the next

    def take(self, rows: Rows, width: int) -> NDArray[np.floating]:
        """Return rows, cut to their first ``width`` values, [n, width]."""
        before = _blocks_read()
        if self._from_disk:
            self._ask_for(rows)
        taken = self._mapped.take(rows, width)
        self._from_disk = _blocks_read() > before
        return taken

    def _ask_for(self, rows: Rows) -> None:
        of = self._mapped.which(rows)
        for number in np.unique(of):
            own = rows[of == number] - self._mapped.starts[number]
            ask_for(self._mapped.arrays[number], own)


def _blocks_read() -> int:
    """Count what this thread has read from disks so far; 0 where nobody counts it."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
