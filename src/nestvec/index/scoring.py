"""Score candidates exactly, from the vectors that their codes stand for.

FAISS proposes rows; what is returned, and in which order, is decided by these scores alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nestvec.types import Embeddings, Rows

_BLOCK = 16_384  # candidates decoded at a time, so that memory does not grow with the batch


def score(
    queries: Embeddings, rows: Rows, vectors_of: Callable[[Rows], Embeddings], *, empty: Rows
) -> Embeddings:
    """Return the inner product of each query with each of its own candidates.

    Args:
        queries: [n_queries, dim], in the space of the vectors.
        rows: [n_queries, width]; -1 where there is no candidate.
        vectors_of: Returns the vectors of rows, [n] -> [n, dim].
        empty: Rows of zero vectors, which score 0 whatever their codes say.

    Returns:
        [n_queries, width]; minus infinity where there is no candidate.
    """
    flat = rows.ravel()
    query_of = np.repeat(np.arange(len(rows)), rows.shape[1])
    scores = np.empty(len(flat), dtype=np.float32)
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        vectors = vectors_of(np.maximum(flat[part], 0))
        # Not a matrix product: that may round equal vectors unequally, and so part their ties.
        scores[part] = np.einsum("ij,ij->i", vectors, queries[query_of[part]])
    if len(empty):
        scores[np.isin(flat, empty)] = 0
    scores[flat < 0] = -np.inf
    return scores.reshape(rows.shape)
