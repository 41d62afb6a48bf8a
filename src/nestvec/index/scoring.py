"""Score candidates exactly, from the vectors that their codes stand for.

FAISS proposes rows; what is returned, and in which order, is decided by these scores alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nestvec.types import Embeddings, Rows

_BLOCK = 16_384  # candidates decoded at a time: of one query, and not all of a large corpus


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
    scores = np.empty(rows.shape, dtype=np.float32)
    for line, query in enumerate(queries):
        for start in range(0, rows.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            vectors = vectors_of(np.maximum(rows[line, part], 0))
            # Not a matrix product: that may round equal vectors unequally, and part their ties.
            scores[line, part] = np.einsum("ij,j->i", vectors, query)
    if len(empty):
        scores[np.isin(rows, empty)] = 0
    scores[rows < 0] = -np.inf
    return scores
