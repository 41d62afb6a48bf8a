"""How far a cheaper search ranks as exact search at full precision does, query by query.

It is no measure of relevance: a search can lose documents that nobody needs, or keep wrong ones.
``metrics`` names these beside those that rest on relevance labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.types import Rows, Scores

_RBO_P = 0.9  # how likely a reader goes on to the next place: 86 % of the weight is in the top 10


def overlap(ranked: Rows, exact: Rows, k: int) -> Scores:
    """Give the share of the exact top k that a cheaper search has in its own, [n_queries].

    A query without exact results scores 0.

    >>> overlap(np.array([[4, 7, 2]]), np.array([[7, 4, 9]]), k=3)
    array([0.66666667])

    Raises:
        InvalidArgument: If the two are not about the same queries.
    """
    shared, _ = _shared(ranked[:, :k], exact[:, :k])
    share: Scores = shared.sum(axis=1) / np.maximum((exact[:, :k] >= 0).sum(axis=1), 1)
    return share


def rbo(ranked: Rows, exact: Rows, k: int) -> Scores:
    """Rank-biased overlap, extrapolated from depth k (Webber et al. 2010, eq. 23), [n_queries].

    With X(d) the documents that the first d places of both rankings share and p = 0.9,

        rbo = X(k)/k p^k  +  (1 - p)/p  sum over d = 1..k of  X(d)/d p^d

    which is 1 for equal rankings. Where the exact ranking is shorter than k, its length is k.

    >>> rbo(np.array([[4, 7, 2]]), np.array([[7, 4, 9]]), k=3).round(5)  # X = 0, 2, 2
    array([0.63])

    Raises:
        InvalidArgument: If the two are not about the same queries.
    """
    exact = exact[:, :k]
    shared, found = _shared(ranked[:, :k], exact)
    places = np.arange(exact.shape[1])
    # A shared document counts from the depth at which both rankings have come to it.
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
    """Say of each exact place whether the cheaper search found it, and at which place of its own.

    Both are of the shape of ``exact``; the place is 0 where it was not found.
    """
    if len(ranked) != len(exact):
        raise InvalidArgument(f"{len(ranked)} ranked queries against {len(exact)} exact ones")
    if not ranked.size:
        return np.zeros(exact.shape, dtype=np.bool_), np.zeros(exact.shape, dtype=np.int64)
    # An empty place, -1, gets the lowest key of its own query.
    stride = 2 + max(int(rows.max(initial=0)) for rows in (ranked, exact))
    offset = np.arange(len(ranked))[:, None] * stride + 1
    keys, wanted = (ranked + offset).ravel(), exact + offset
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    shared = (keys[found] == wanted) & (exact >= 0)
    return shared, np.where(shared, found % ranked.shape[1], 0)
