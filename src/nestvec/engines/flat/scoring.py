"""Score candidates exactly, from the vectors that their codes stand for.

FAISS proposes rows; what is returned, and in which order, is decided by these scores alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nestvec.metrics.ranking import Ranked, best
from nestvec.types import Embeddings, Rows

_BLOCK = 4_096  # candidates decoded at a time: of several queries, and not all of a large corpus
_QUERIES = 256  # scored together against a block of the same candidates


def empty_rows(embeddings: Embeddings) -> Rows:
    """Return the rows of zero vectors, as an encoder gives them for empty texts."""
    return np.flatnonzero(~embeddings.any(axis=1)).astype(np.int64)


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
    # Queries are decoded for together: a call for each waits for FAISS's threads each time.
    n_lines = max(1, _BLOCK // max(1, rows.shape[1]))
    for first in range(0, len(rows), n_lines):
        for start in range(0, rows.shape[1], _BLOCK):
            block = np.s_[first : first + n_lines, start : start + _BLOCK]
            own = np.maximum(rows[block], 0)
            vectors = vectors_of(own.ravel()).reshape(*own.shape, -1)
            # Not a matrix product: that may round equal vectors unequally, and part their ties.
            np.einsum("qwd,qd->qw", vectors, queries[first : first + n_lines], out=scores[block])
    if len(empty):
        scores[among(empty, rows)] = 0
    scores[rows < 0] = -np.inf
    return scores


def among(ascending: Rows, rows: Rows) -> NDArray[np.bool_]:
    """Tell which rows stand in a list, fast where that is long.

    Args:
        ascending: The list, not empty.
        rows: Of any shape, which is that of the answer.
    """
    at = np.minimum(np.searchsorted(ascending, rows), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[at] == rows
    return found


def best_of(
    queries: Embeddings,
    rows: Rows,
    k: int,
    vectors_of: Callable[[Rows], Embeddings],
    *,
    empty: Rows,
) -> Ranked:
    """Return the best ``k`` of the same candidates for every query, as positions among these.

    Each candidate is decoded once for many queries, and no more is held than a block of them.

    Args:
        queries: [n_queries, dim], in the space of the vectors.
        rows: Candidates, [width]; equal scores stand in their order.
        k: At most width.
        vectors_of: As in ``score``.
        empty: As in ``score``.
    """
    parts = [
        _best_of(queries[start : start + _QUERIES], rows, k, vectors_of, empty=empty)
        for start in range(0, len(queries), _QUERIES)
    ]
    return Ranked(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _best_of(
    queries: Embeddings,
    rows: Rows,
    k: int,
    vectors_of: Callable[[Rows], Embeddings],
    *,
    empty: Rows,
) -> Ranked:
    found = None
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        scores = np.empty((len(queries), len(block)), dtype=np.float32)
        np.einsum("id,qd->qi", vectors_of(block), queries, out=scores)
        if len(empty):
            scores[:, among(empty, block)] = 0
        found = best(scores, k, first_row=start, so_far=found)
    assert found is not None, "no queries or no candidates"
    return found
