"""Select the best rows of a score matrix; ties are sorted by ascending row.

Rows are numbered by descending document id. So ties are sorted by descending id, as in trec_eval.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings, Rows


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
    if so_far is None:
        nothing = np.empty((len(scores), 0))
        so_far = Ranked(nothing.astype(np.float32), nothing.astype(np.int64))
    n_rows = scores.shape[1] + so_far.rows.shape[1]
    k = min(k, n_rows)
    # The heap returns any of the tied rows. One more result shows whether a tie crosses rank k.
    found = _heap(scores, min(k + 1, n_rows), first_row, so_far)
    if n_rows > k:
        straddles = found.scores[:, k - 1] == found.scores[:, k]
        for line in np.flatnonzero(straddles):
            tied = found.scores[line, k - 1]
            above = int(np.count_nonzero(found.scores[line, :k] > tied))
            before = so_far.rows[line][so_far.scores[line] == tied]
            equal = np.append(before, np.flatnonzero(scores[line] == tied) + first_row)
            found.rows[line, above:k] = equal[: k - above]
    return _order_ties(*found.top(k))


def order(scores: Embeddings, rows: Rows) -> Ranked:
    """Sort each line by descending score, ties by ascending row.

    Args:
        scores: [n_queries, k].
        rows: [n_queries, k].
    """
    sequence: NDArray[np.intp] = np.argsort(-scores, axis=-1)
    return _order_ties(*_take(scores, rows, sequence))


def _heap(scores: Embeddings, width: int, first_row: int, so_far: Ranked) -> Ranked:
    """Return the best ``width`` of the scores and of ``so_far``, ties in any order."""
    import faiss

    heap_scores = np.full((len(scores), width), -np.inf, dtype=np.float32)
    heap_rows = np.full((len(scores), width), -1, dtype=np.int64)
    # An ascending array is a valid min-heap.
    empty = width - so_far.rows.shape[1]
    heap_scores[:, empty:], heap_rows[:, empty:] = (each[:, ::-1] for each in so_far)
    heap: Any = faiss.float_minheap_array_t()
    heap.nh, heap.k = len(scores), width
    heap.val, heap.ids = faiss.swig_ptr(heap_scores), faiss.swig_ptr(heap_rows)
    heap.addn(scores.shape[1], faiss.swig_ptr(scores), first_row, 0, len(scores))
    heap.reorder()
    return Ranked(heap_scores, heap_rows)


def _order_ties(scores: Embeddings, rows: Rows) -> Ranked:
    """Sort equal scores, which are adjacent, by ascending row."""
    # Ties are rare and sorting by two keys is slow, so only the lines with ties are sorted.
    swapped = (scores[:, 1:] == scores[:, :-1]) & (rows[:, 1:] < rows[:, :-1])
    if swapped.any():
        tied = np.flatnonzero(swapped.any(axis=1))
        # The last key of lexsort is the primary key.
        sequence = np.lexsort((rows[tied], -scores[tied]), axis=-1)
        scores[tied], rows[tied] = _take(scores[tied], rows[tied], sequence)
    return Ranked(scores, rows)


def _take(scores: Embeddings, rows: Rows, sequence: NDArray[np.intp]) -> Ranked:
    lines = np.arange(len(sequence))[:, None]
    return Ranked(scores[lines, sequence], rows[lines, sequence])
