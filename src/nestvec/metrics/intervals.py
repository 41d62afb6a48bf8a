"""Where a retention lies, over queries like those measured: the paired percentile bootstrap.

For showing, point by point. What a plan says with confidence rests on the bounds of ``stats``,
which hold where few queries carry a loss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Scores

RESAMPLES = 1_000
_CHUNK = 250  # resamples at a time: 8 MB of counts for 4,000 queries


def retentions(cheap: NDArray[np.float64], full: Scores) -> Scores:
    """Give the share of the full score that each point keeps, [n_points].

    Where full precision itself scores 0, nothing can be said to be kept: 0.

    Args:
        cheap: Scores of each point's queries, [n_points, n_queries].
        full: Scores of the same queries at full precision, [n_queries].
    """
    return _ratios(cheap.mean(axis=1), full.mean())


def retention_intervals(
    cheap: NDArray[np.float64], full: Scores, *, confidence: float = 0.95, seed: int = 0
) -> NDArray[np.float64]:
    """Give both ends of the interval of each point's retention, [n_points, 2].

    A resample draws queries with replacement, the same for the point and for full precision, and
    for all points; an end is a percentile of the resampled retentions.

    Args:
        cheap: Scores of each point's queries, [n_points, n_queries].
        full: Scores of the same queries at full precision, [n_queries].
        confidence: Two-sided.
        seed: Of the resamples.
    """
    rng = np.random.default_rng(seed)
    n = len(full)
    drawn = np.empty((RESAMPLES, len(cheap)))
    for start in range(0, RESAMPLES, _CHUNK):
        picks = rng.integers(n, size=(_CHUNK, n)) + np.arange(_CHUNK)[:, None] * n
        counts = np.bincount(picks.ravel(), minlength=_CHUNK * n).reshape(_CHUNK, n).astype(float)
        drawn[start : start + _CHUNK] = _ratios(counts @ cheap.T, (counts @ full)[:, None])
    tail = (1 - confidence) / 2
    ends: NDArray[np.float64] = np.quantile(drawn, (tail, 1 - tail), axis=0).T
    return ends.round(12)  # the two products round differently, and full keeps exactly itself


def _ratios(
    part: NDArray[np.float64], whole: NDArray[np.float64] | np.float64
) -> NDArray[np.float64]:
    whole = np.broadcast_to(whole, part.shape)
    result: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return result
