"""Score candidates exactly, by inner product with their decoded codes.

FAISS finds candidates. Only the scores of this module decide which are returned, in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.metrics.ranking import Ranked, best
from nestvec.types import Embeddings, Rows

_BLOCK = 4_096  # candidates decoded at a time, to bound memory
_QUERIES = 256  # queries scored together against a block of the same candidates


@dataclass(frozen=True, eq=False)
class ZeroPrefixes:
    """The rows whose vectors begin with zeros. An encoder returns only zeros for an empty text.

    A prefix of zeros has no direction, but its code decodes to other values. Its score is 0.

    Attributes:
        rows: The rows, ascending.
        lengths: The number of zeros with which each of these rows begins.
    """

    rows: Rows
    lengths: Rows

    @classmethod
    def find(cls, stored: NDArray[np.floating]) -> ZeroPrefixes:
        """Find the rows in vectors that an index stores, [n, full_dim], rounded to float16."""
        rows = np.flatnonzero(stored[:, 0].astype(np.float16) == 0)
        nonzero = stored[rows].astype(np.float16) != 0
        lengths = np.where(nonzero.any(axis=1), nonzero.argmax(axis=1), stored.shape[1])
        return cls(rows.astype(np.int64), lengths.astype(np.int64))

    @classmethod
    def concatenated(cls, blocks: Iterable[tuple[int, ZeroPrefixes]]) -> ZeroPrefixes:
        """Join blocks in ascending order, each with the number of its first row."""
        rows, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start, each in blocks:
            rows.append(each.rows + start)
            lengths.append(each.lengths)
        return cls(np.concatenate(rows), np.concatenate(lengths))

    def within(self, dim: int) -> Rows:
        """Return the rows whose first ``dim`` values are zero, ascending."""
        return self.rows[self.lengths >= dim]


def score(
    queries: Embeddings, rows: Rows, vectors_of: Callable[[Rows], Embeddings], *, empty: Rows
) -> Embeddings:
    """Return the inner product of each query with each of its own candidates.

    Args:
        queries: [n_queries, dim], in the space of the vectors.
        rows: [n_queries, width]; -1 where there is no candidate.
        vectors_of: A function that returns the vectors of rows, [n] -> [n, dim].
        empty: Rows of zero vectors, ascending. Their score is 0, whatever their codes.

    Returns:
        [n_queries, width]; minus infinity where there is no candidate.
    """
    scores = np.empty(rows.shape, dtype=np.float32)
    # Candidates of several queries are decoded in one call: each call waits for FAISS's threads.
    n_lines = max(1, _BLOCK // max(1, rows.shape[1]))
    for first in range(0, len(rows), n_lines):
        for start in range(0, rows.shape[1], _BLOCK):
            block = np.s_[first : first + n_lines, start : start + _BLOCK]
            own = np.maximum(rows[block], 0)
            vectors = vectors_of(own.ravel()).reshape(*own.shape, -1)
            # A matrix product may round equal vectors differently and so break their ties.
            np.einsum("qwd,qd->qw", vectors, queries[first : first + n_lines], out=scores[block])
    if len(empty):
        scores[is_in(empty, rows)] = 0
    scores[rows < 0] = -np.inf
    return scores


def is_in(ascending: Rows, rows: Rows) -> NDArray[np.bool_]:
    """Return which rows are in a sorted list, by binary search.

    Args:
        ascending: The list, ascending and not empty.
        rows: An array of any shape; the result has the same shape.
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
    """Return the best ``k`` candidates of each query, if all queries have the same candidates.

    Candidates are decoded in blocks, each once for many queries.

    Args:
        queries: [n_queries, dim], in the space of the vectors.
        rows: Candidates, [width]. Candidates with equal scores are returned in this order.
        k: At most width.
        vectors_of: As in ``score``.
        empty: As in ``score``.

    Returns:
        Scores and positions in ``rows``, both [n_queries, k].
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
            scores[:, is_in(empty, block)] = 0
        found = best(scores, k, first_row=start, so_far=found)
    assert found is not None, "no queries or no candidates"
    return found
