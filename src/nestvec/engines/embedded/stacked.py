"""Address several arrays as one array without copying them: segments of vectors, parts of codes."""

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
    """Arrays of equal width, addressed by one row number. Each may be memory-mapped.

    Attributes:
        starts: The row number of the first line of each array, ascending from 0.
        arrays: The arrays, each [n, width] or [n].
    """

    starts: Rows
    arrays: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, arrays: Sequence[NDArray[Any]]) -> Stacked:
        """Stack arrays."""
        lengths = [0, *map(len, arrays)][: len(arrays)]
        return cls(np.cumsum(lengths, dtype=np.int64), tuple(arrays))

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(map(len, self.arrays))

    def take(self, rows: Rows, width: int | None = None) -> NDArray[Any]:
        """Return rows, truncated to their first ``width`` values; no other values are read."""
        prefix = np.s_[...] if width is None else np.s_[..., :width]
        if len(self.arrays) == 1:
            return self.arrays[0][rows][prefix] if width is None else self.arrays[0][rows, :width]
        shape = (len(rows), *self.arrays[0].shape[1:])
        taken = np.empty(shape, dtype=self.arrays[0].dtype)[prefix]
        numbers = self.array_numbers(rows)
        for number in np.unique(numbers):
            lines = np.flatnonzero(numbers == number)
            taken[lines] = self.arrays[number][rows[lines] - self.starts[number]][prefix]
        return taken

    def array_numbers(self, rows: Rows) -> Rows:
        """Return the number of the array that contains each row."""
        found: Rows = np.searchsorted(self.starts, rows, side="right") - 1
        return found

    def floats(self, rows: Rows, dim: int) -> Embeddings:
        """Return the first ``dim`` values of rows as float32, [n, dim]."""
        return self.take(rows, dim).astype(np.float32)

    def blocks(self, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows in blocks of at most ``size``, each with its first row number."""
        for start, array in zip(self.starts.tolist(), self.arrays, strict=True):
            for first in range(0, len(array), size):
                yield start + first, array[first : first + size]


_PREFETCHES = 3  # reads that are prefetched after a read from disk


class ScatteredRows:
    """Memory-mapped arrays, addressed as one, from which a few rows are read at a time.

    If one of the last reads came from disk, all rows of the next read are requested from the disk
    at once. A search reads some rows twice, so that every second read comes from memory.
    """

    def __init__(self, mapped: Stacked) -> None:
        """Read from arrays that ``map_array`` returned."""
        self._mapped = mapped
        self._prefetches = 0  # of the next reads in any thread

    def take(self, rows: Rows, width: int) -> NDArray[np.floating]:
        """Return rows, truncated to their first ``width`` values, [n, width]."""
        before = _blocks_read()
        if self._prefetches:
            self._prefetch(rows)
        taken = self._mapped.take(rows, width)
        is_from_disk = _blocks_read() > before
        self._prefetches = _PREFETCHES if is_from_disk else max(0, self._prefetches - 1)
        return taken

    def _prefetch(self, rows: Rows) -> None:
        numbers = self._mapped.array_numbers(rows)
        for number in np.unique(numbers):
            own = rows[numbers == number] - self._mapped.starts[number]
            prefetch(self._mapped.arrays[number], own)


def _blocks_read() -> int:
    """Return the number of disk blocks that this thread has read; 0 except on Linux."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
