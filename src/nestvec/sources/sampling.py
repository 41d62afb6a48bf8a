"""Draw a uniform random sample of the rows of a table, in memory bounded by the sample.

The rows whose ids have the smallest seeded hashes are the sample. So the sample of a table is the
same in whatever order its rows are read. PostgreSQL computes its own hashes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.sample import MOST_SEED, DocumentSample, Draw
from nestvec.data.query_log import hash_of
from nestvec.errors import InvalidArgument
from nestvec.files.mapped import new_embeddings
from nestvec.sources.ids import check_unique
from nestvec.sources.stored import StoredEmbeddings
from nestvec.sources.stream import FloatType, VectorStream, checked, collect, empty_error

_COPIED_ROWS = 16_384


def check_draw(draw: Draw) -> None:
    """Check the size and the seed of a sample.

    Raises:
        InvalidArgument: If the size is below 1, or the seed is outside its limits.
    """
    if draw.rows < 1:
        raise InvalidArgument(f"sample={draw.rows} is below 1. Choose a value of at least 1.")
    if not 0 <= draw.seed <= MOST_SEED:
        raise InvalidArgument(f"seed={draw.seed} is outside 0 to 2^63 - 1. Choose another seed.")


def collect_sample(stream: VectorStream, draw: Draw) -> StoredEmbeddings:
    """Read a sample of the rows of a stream, in the order of their ids.

    All rows are read once and checked, unless the database draws the sample itself.

    Args:
        stream: The vectors.
        draw: The size and the seed. If there are fewer rows, all are returned.

    Raises:
        InvalidArgument: If the size or the seed is outside its limits.
        DataError: If a vector cannot be used, a sampled id appears twice, or there are no vectors.
    """
    check_draw(draw)
    if stream.draw is not None:
        total, drawn = stream.draw(draw)
        found = _sorted(collect(drawn))
    else:
        kept = _Smallest(draw, stream.dtype)
        for block in checked(stream):
            kept.add(block.ids or (), block.values)
        if not kept.ids:
            raise empty_error(stream.path, (0, 0))
        check_unique(kept.ids, stream.path)
        total = kept.total
        values = kept.values[: len(kept.ids)]
        found = _sorted(StoredEmbeddings(stream.path, kept.ids, values, stream.model))
    total = max(total, len(found))  # a database can get rows meanwhile
    return replace(found, sample=DocumentSample(len(found), total, draw.seed))


class _Smallest:
    """The rows with the smallest hashes among all rows that were added."""

    def __init__(self, draw: Draw, dtype: FloatType) -> None:
        self._draw, self._dtype = draw, dtype
        self._heap: list[tuple[int, int]] = []  # negative hashes, and rows of the arrays
        self.ids: list[str] = []
        self.values: NDArray[np.floating[Any]] = np.empty((0, 0), dtype)
        self.total = 0

    def add(self, ids: Sequence[str], values: NDArray[np.floating[Any]]) -> None:
        """Add a block of rows."""
        size, seed = self._draw
        self.total += len(ids)
        for row, name in enumerate(ids):
            found = -hash_of(name, seed)
            if len(self._heap) < size:
                self._reserve(values.shape[1])
                self.values[len(self.ids)] = values[row]
                heapq.heappush(self._heap, (found, len(self.ids)))
                self.ids.append(name)
            elif found > self._heap[0][0]:
                _, slot = heapq.heapreplace(self._heap, (found, self._heap[0][1]))
                self.ids[slot], self.values[slot] = name, values[row]

    def _reserve(self, dim: int) -> None:
        """Make room for one more row: twice as many, but never more than the sample."""
        n = len(self.ids)
        if n < len(self.values):
            return
        larger = new_embeddings(min(self._draw.rows, max(1_024, 2 * n)), dim, dtype=self._dtype)
        larger[:n] = self.values[:n].reshape(n, dim)
        self.values = larger


def _sorted(stored: StoredEmbeddings) -> StoredEmbeddings:
    """Return the same vectors in the order of their ids."""
    order = sorted(range(len(stored)), key=stored.ids.__getitem__)
    values = new_embeddings(len(stored), stored.dim, dtype=stored.values.dtype)
    for start in range(0, len(order), _COPIED_ROWS):
        rows = order[start : start + _COPIED_ROWS]
        values[start : start + len(rows)] = stored.values[rows]
    return replace(stored, ids=[stored.ids[row] for row in order], values=values)
