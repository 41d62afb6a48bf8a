"""The best rows of a score matrix, with one order of ties everywhere.

Equal scores stand in ascending order of row. Whoever stores documents numbers them by descending
id, so that ties come out in descending id, as trec_eval orders them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings, Rows


def best(scores: Embeddings, k: int) -> tuple[Embeddings, Rows]:
    """Return the best ``k`` of each line of scores, best first, ties by ascending row.

    Args:
        scores: [n_queries, n_rows] float32, C-contiguous.
        k: How many to return; cut to n_rows.

    Returns:
        Scores and rows, both [n_queries, min(k, n_rows)].
    """
    import faiss

    n_queries, n_rows = scores.shape
    k = min(k, n_rows)
    # One more than asked shows whether equal scores straddle the cut: a heap keeps any of them.
    width = min(k + 1, n_rows)
    heap_scores = np.empty((n_queries, width), dtype=np.float32)
    heap_rows = np.empty((n_queries, width), dtype=np.int64)
    heap: Any = faiss.float_minheap_array_t()
    heap.nh, heap.k = n_queries, width
    heap.val, heap.ids = faiss.swig_ptr(heap_scores), faiss.swig_ptr(heap_rows)
    heap.heapify()
    heap.addn(n_rows, faiss.swig_ptr(scores), 0, 0, n_queries)
    heap.reorder()
    if width > k:
        straddles = heap_scores[:, k - 1] == heap_scores[:, k]
        for line in np.flatnonzero(straddles):
            cut = heap_scores[line, k - 1]
            above = int(np.count_nonzero(heap_scores[line, :k] > cut))
            heap_rows[line, above:k] = np.flatnonzero(scores[line] == cut)[: k - above]
    return order(heap_scores[:, :k], heap_rows[:, :k])


def order(scores: Embeddings, rows: Rows) -> tuple[Embeddings, Rows]:
    """Sort each line by descending score, ties by ascending row.

    Args:
        scores: [n_queries, k].
        rows: [n_queries, k].
    """
    sequence: NDArray[np.intp] = np.argsort(-scores, axis=-1)
    ordered, ordered_rows = _take(scores, rows, sequence)
    # Equal scores are rare, and sorting by two keys is slow: only for the lines that have some.
    tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    # lexsort's last key is its first criterion.
    sequence = np.lexsort((rows[tied], -scores[tied]), axis=-1)
    ordered[tied], ordered_rows[tied] = _take(scores[tied], rows[tied], sequence)
    return ordered, ordered_rows


def _take(scores: Embeddings, rows: Rows, sequence: NDArray[np.intp]) -> tuple[Embeddings, Rows]:
    return np.take_along_axis(scores, sequence, 1), np.take_along_axis(rows, sequence, 1)
