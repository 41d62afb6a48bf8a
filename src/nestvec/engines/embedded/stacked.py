"""Arrays that stand one below another without being copied together: segments, parts of codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.files.mapped import prefetch
from nestvec.types import Embeddings, Rows


@dataclass(frozen=True)
class Stacked:
    """Arrays of equal width, addressed by one row number; each may be memory-mapped.

    Attributes:
        starts: The row of the first line of each, ascending from 0.
        arrays: Each [n, width] or [n].
    """

    starts: Rows
    arrays: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, arrays: Sequence[NDArray[Any]]) -> Stacked:
        """Stack arrays."""
        lengths = [0, *map(len, arrays)][: len(arrays)]
        return cls(np.cumsum(lengths, dtype=np.int64), tuple(arrays))

    def __len__(self) -> int:
        """Count the rows."""
        return sum(map(len, self.arrays))

    def take(self, rows: Rows, width: int | None = None) -> NDArray[Any]:
        """Return rows, cut to their first ``width`` values; no others are read."""
        cut = np.s_[...] if width is None else np.s_[..., :width]
        if len(self.arrays) == 1:
            return self.arrays[0][rows][cut] if width is None else self.arrays[0][rows, :width]
        shape = (len(rows), *self.arrays[0].shape[1:])
        taken = np.empty(shape, dtype=self.arrays[0].dtype)[cut]
        of = self.which(rows)
        for number in np.unique(of):
            lines = np.flatnonzero(of == number)
            taken[lines] = self.arrays[number][rows[lines] - self.starts[number]][cut]
        return taken

    def which(self, rows: Rows) -> Rows:
        """Return the number of the array that each row stands in."""
        found: Rows = np.searchsorted(self.starts, rows, side="right") - 1
        return found

    def floats(self, rows: Rows, dim: int) -> Embeddings:
        """Return the first ``dim`` values of rows as float32, [n, dim]."""
        return self.take(rows, dim).astype(np.float32)

    def blocks(self, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows in blocks of at most ``size``, each with its first row."""
        for start, array in zip(self.starts.tolist(), self.arrays, strict=True):
            for first in range(0, len(array), size):
                yield start + first, array[first : first + size]


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
            self._prefetch(rows)
        taken = self._mapped.take(rows, width)
        self._from_disk = _blocks_read() > before
        return taken

    def _prefetch(self, rows: Rows) -> None:
        of = self._mapped.which(rows)
        for number in np.unique(of):
            own = rows[of == number] - self._mapped.starts[number]
            prefetch(self._mapped.arrays[number], own)


def _blocks_read() -> int:
    """Count what this thread has read from disks so far; 0 where nobody counts it."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
