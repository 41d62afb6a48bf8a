"""Combine two rankings of the same queries: fusion by rank or score, and reranking.

Both rankings contain rows of one corpus, best first; -1 is an empty position. Equal results are
sorted by ascending row, as in ``ranking``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.metrics.ranking import Ranked, order
from nestvec.types import Rows, Scores

RRF_K = 60


def fuse_by_rank(one: Ranked, other: Ranked, *, k: int = RRF_K) -> Rows:
    """Fuse two rankings by reciprocal rank (Cormack, Clarke and Buettcher 2009).

    A document's score is the sum of 1 / (k + rank) over the rankings that contain it.

    Args:
        one: Ranking of each query, [n_queries, n].
        other: Another ranking of the same queries, [n_queries, m].
        k: Constant of the formula. The paper uses 60.

    Returns:
        Rows of both rankings, best first, [n_queries, n + m]; -1 in empty positions.
    """
    values = [
        np.broadcast_to(1 / (k + 1.0 + np.arange(each.rows.shape[1])), each.rows.shape)
        for each in (one, other)
    ]
    return _merge(one.rows, values[0], other.rows, values[1])


def fuse_by_score(one: Ranked, other: Ranked, *, weight: float = 0.5) -> Rows:
    """Fuse two rankings by a weighted sum of scores, each scaled to 0 to 1 (min-max) by query.

    A document that a ranking does not contain has the score 0 in this ranking. If all scores of a
    ranking are equal, they are scaled to 1.

    Args:
        one: Ranking of each query, [n_queries, n].
        other: Another ranking of the same queries, [n_queries, m].
        weight: Weight of ``one``, from 0 to 1; the weight of ``other`` is 1 - weight.

    Returns:
        As ``fuse_by_rank``.
    """
    scaled = weight * _scaled(one), (1 - weight) * _scaled(other)
    return _merge(one.rows, scaled[0], other.rows, scaled[1])


def rerank(ranked: Rows, scores: Scores, *, depth: int) -> Rows:
    """Reorder the best documents of each query by other scores.

    Documents without a score follow those with a score, in their order. So do documents below
    ``depth``.

    Args:
        ranked: Rows, best first, [n_queries, n].
        scores: Score of each of these rows, [n_queries, n]; NaN without a score.
        depth: Number of documents to reorder.

    Returns:
        The same rows in another order, [n_queries, n].
    """
    best, given = ranked[:, :depth], scores[:, :depth]
    unscored = np.isnan(given) | (best < 0)
    keys = np.where(unscored, np.inf, -given)
    ties = np.where(unscored, np.arange(best.shape[1]), best)
    sequence = np.lexsort((ties, keys), axis=-1)  # the last key is the primary key
    reordered = np.take_along_axis(best, sequence, axis=1)
    return np.hstack([reordered, ranked[:, depth:]])


def _scaled(ranked: Ranked) -> Scores:
    """Scale the scores of each query to 0 to 1; empty positions have any value."""
    scores = np.where(ranked.rows >= 0, ranked.scores.astype(np.float64), np.nan)
    filled = (ranked.rows >= 0).any(axis=1)
    scores[~filled] = 0.0
    low = np.nanmin(scores, axis=1, keepdims=True, initial=np.inf)
    high = np.nanmax(scores, axis=1, keepdims=True, initial=-np.inf)
    span = high - low
    scaled: Scores = np.where(span > 0, (scores - low) / np.where(span > 0, span, 1.0), 1.0)
    return np.nan_to_num(scaled)


def _merge(rows: Rows, values: NDArray[Any], other_rows: Rows, other_values: NDArray[Any]) -> Rows:
    """Add the values of rows that both rankings contain, and sort by descending sum."""
    all_rows, sums = np.hstack([rows, other_rows]), np.hstack([values, other_values])
    sequence = np.argsort(all_rows, axis=1, kind="stable")
    all_rows = np.take_along_axis(all_rows, sequence, axis=1)
    sums = np.take_along_axis(sums, sequence, axis=1)
    # A row appears at most once in each ranking, so two neighbors are equal at most.
    twice = all_rows[:, 1:] == all_rows[:, :-1]
    sums[:, :-1] += np.where(twice, sums[:, 1:], 0.0)
    all_rows[:, 1:][twice] = -1
    sums[all_rows < 0] = -np.inf
    return order(sums, all_rows).rows
