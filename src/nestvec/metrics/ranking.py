"""Select the best rows of a score matrix; ties are sorted by ascending row.

Rows are numbered by descending document id. So ties are sorted by descending id, as in trec_eval.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings, Rows

_RARE = 8  # scores are rare if at most 1/8 of a block can enter
_LAST_ID = -2  # the id of row 0; FAISS drops the id -1
_NO_ID = -(2**62)  # lower than the id of each row, so that empty positions are replaced first


class Ranked(NamedTuple):
    """The best rows of each query, best first, ties by ascending row.

    Attributes:
        scores: [n_queries, k] float32.
        rows: [n_queries, k].
    """

    scores: Embeddings
    rows: Rows

    def top(self, k: int) -> Ranked:
        """Return a copy of the first ``k``, so that the full arrays can be freed."""
        return Ranked(self.scores[:, :k].copy(), self.rows[:, :k].copy())


def best(scores: Embeddings, k: int, *, first_row: int = 0, so_far: Ranked | None = None) -> Ranked:
    """Return the best ``k`` rows of each query, merged with the best of earlier blocks.

    Args:
        scores: Scores of one block of rows, float32 [n_queries, n_rows], C-contiguous.
        k: Number of rows to return; fewer if there are fewer rows.
        first_row: Row number of the first column.
        so_far: The best ``k`` of the earlier blocks; None for the first block.

    Returns:
        [n_queries, at most k].
    """
    before = 0 if so_far is None else so_far.rows.shape[1]
    top = TopRows(len(scores), min(k, scores.shape[1] + before), so_far)
    top.add(scores, np.arange(first_row, first_row + scores.shape[1]))
    return top.ranked()


class TopRows:
    """The best rows of each query among the blocks of scores added so far."""

    def __init__(self, n_queries: int, k: int, so_far: Ranked | None = None) -> None:
        """Start with no rows, or with the best rows of earlier blocks.

        Args:
            n_queries: Number of queries.
            k: Number of rows to select. At least this many rows must be added.
            so_far: The best rows of earlier blocks, at most ``k`` of each query.
        """
        self._scores = np.full((n_queries, k), -np.inf, dtype=np.float32)
        self._ids = np.full((n_queries, k), _NO_ID, dtype=np.int64)
        if so_far is not None and so_far.rows.shape[1]:
            # An ascending array is a valid min-heap.
            n = so_far.rows.shape[1]
            self._scores[:, k - n :] = so_far.scores[:, ::-1]
            self._ids[:, k - n :] = _LAST_ID - so_far.rows[:, ::-1]

    def add(self, scores: Embeddings, rows: Rows) -> None:
        """Add a block.

        Args:
            scores: float32 [n_queries, n_rows], C-contiguous.
            rows: The row of each column, ascending and higher than all rows added before.
        """
        # FAISS drops equal scores in ascending order of id, and a new score only replaces a lower
        # one. The ids descend with the rows, so that the lowest rows remain.
        ids = _LAST_ID - rows
        # The first score of a min-heap is the lowest. Only higher scores can enter the heap, and
        # NumPy finds these faster than FAISS if they are rare.
        heap = self._heap()
        # The search in one dimension is many times faster than np.nonzero.
        lines, columns = np.divmod(np.flatnonzero(scores > self._scores[:, :1]), max(1, len(rows)))
        counts = np.bincount(lines, minlength=len(scores))
        width = int(counts.max(initial=0))
        if width > len(rows) // _RARE:
            heap.addn_with_ids(len(rows), _pointer(scores), _pointer(ids), 0, 0, len(scores))
        elif width:
            places = np.arange(len(lines)) - np.repeat(np.cumsum(counts) - counts, counts)
            higher = np.full((len(scores), width), -np.inf, dtype=np.float32)
            higher[lines, places] = scores[lines, columns]
            own_ids = np.full(higher.shape, _NO_ID, dtype=np.int64)
            own_ids[lines, places] = ids[columns]
            heap.addn_with_ids(width, _pointer(higher), _pointer(own_ids), width, 0, len(scores))

    def ranked(self) -> Ranked:
        """Return the best rows, best first. No block can be added afterwards."""
        self._heap().reorder()
        return _order_ties(self._scores, _LAST_ID - self._ids)

    def _heap(self) -> Any:
        import faiss

        heap: Any = faiss.float_minheap_array_t()
        heap.nh, heap.k = self._scores.shape
        heap.val, heap.ids = _pointer(self._scores), _pointer(self._ids)
        return heap


def _pointer(values: NDArray[Any]) -> Any:
    import faiss

    return faiss.swig_ptr(values)


def order(scores: NDArray[np.floating[Any]], rows: Rows) -> Ranked:
    """Sort each line by descending score, ties by ascending row.

    Args:
        scores: [n_queries, k], float32 or float64.
        rows: [n_queries, k].
    """
    sequence: NDArray[np.intp] = np.argsort(-scores, axis=-1)
    return _order_ties(*_take(scores, rows, sequence))


def _order_ties(scores: NDArray[Any], rows: Rows) -> Ranked:
    """Sort equal scores, which are adjacent, by ascending row."""
    # Ties are rare and sorting by two keys is slow, so only the lines with ties are sorted.
    swapped = (scores[:, 1:] == scores[:, :-1]) & (rows[:, 1:] < rows[:, :-1])
    if swapped.any():
        tied = np.flatnonzero(swapped.any(axis=1))
        # The last key of lexsort is the primary key.
        sequence = np.lexsort((rows[tied], -scores[tied]), axis=-1)
        scores[tied], rows[tied] = _take(scores[tied], rows[tied], sequence)
    return Ranked(scores, rows)


def _take(scores: NDArray[Any], rows: Rows, sequence: NDArray[np.intp]) -> Ranked:
    lines = np.arange(len(sequence))[:, None]
    return Ranked(scores[lines, sequence], rows[lines, sequence])
