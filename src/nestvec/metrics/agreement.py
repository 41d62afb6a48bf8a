"""Per-query agreement of an approximate ranking with the exact full-precision ranking.

Agreement does not measure relevance: a search can lose irrelevant documents, or return the same
irrelevant documents as exact search. ``relevance`` has the metrics that use relevance labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.types import Rows, Scores
from nestvec.wording import count_text

_RBO_P = 0.9  # persistence: 86 % of the weight is on the top 10


def overlap(ranked: Rows, exact: Rows, k: int) -> Scores:
    """Return the share of the exact top k that is in the approximate top k, [n_queries].

    A query without exact results scores 0.

    Args:
        ranked: Rows of the approximate ranking, best first, [n_queries, depth]; -1 is empty.
        exact: Rows of the exact ranking, in the same form.
        k: Cutoff.

    >>> overlap(np.array([[4, 7, 2]]), np.array([[7, 4, 9]]), k=3)
    array([0.66666667])

    Raises:
        InvalidArgument: If the two rankings have different numbers of queries.
    """
    shared, _ = _shared(ranked[:, :k], exact[:, :k])
    share: Scores = shared.sum(axis=1) / np.maximum((exact[:, :k] >= 0).sum(axis=1), 1)
    return share


def rbo(ranked: Rows, exact: Rows, k: int) -> Scores:
    """Return rank-biased overlap, extrapolated from depth k, [n_queries].

    Webber et al. (2010), eq. 23: let X(d) be the number of documents that are in the top d of
    both rankings, and p = 0.9. Then

        rbo = X(k)/k p^k  +  (1 - p)/p  sum over d = 1..k of  X(d)/d p^d

    Equal rankings score 1. If the exact ranking is shorter than k, its length replaces k.

    Args:
        ranked: As in ``overlap``.
        exact: As in ``overlap``.
        k: Depth.

    >>> rbo(np.array([[4, 7, 2]]), np.array([[7, 4, 9]]), k=3).round(5)  # X = 0, 2, 2
    array([0.63])

    Raises:
        InvalidArgument: If the two rankings have different numbers of queries.
    """
    exact = exact[:, :k]
    shared, found = _shared(ranked[:, :k], exact)
    places = np.arange(exact.shape[1])
    # A shared document counts from the deeper of its two ranks.
    query, place = np.nonzero(shared)
    common = np.zeros(exact.shape)
    np.add.at(common, (query, np.maximum(found[query, place], place)), 1)
    agreed = common.cumsum(axis=1) / (places + 1)
    lengths = (exact >= 0).sum(axis=1)[:, None]
    weights = (1 - _RBO_P) * _RBO_P**places * (places < lengths)
    weights = weights + _RBO_P ** (places + 1) * (places == lengths - 1)
    result: Scores = (agreed * weights).sum(axis=1)
    return result


def _shared(ranked: Rows, exact: Rows) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return whether each exact result is in ``ranked``, and its position there.

    Both arrays have the shape of ``exact``. The position is 0 if the result is not in ``ranked``.
    """
    if len(ranked) != len(exact):
        queries = count_text(len(ranked), "query")
        raise InvalidArgument(f"ranked has {queries}, but exact has {len(exact)}.")
    if not ranked.size:
        return np.zeros(exact.shape, dtype=np.bool_), np.zeros(exact.shape, dtype=np.int64)
    # Keys are unique over all queries. An empty position, -1, gets the lowest key of its query.
    stride = 2 + max(int(rows.max(initial=0)) for rows in (ranked, exact))
    offset = np.arange(len(ranked))[:, None] * stride + 1
    keys, wanted = (ranked + offset).ravel(), exact + offset
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    shared = (keys[found] == wanted) & (exact >= 0)
    return shared, np.where(shared, found % ranked.shape[1], 0)
