"""Confidence intervals of retention: the paired percentile bootstrap over queries.

The intervals are for display. Plans use the bounds of ``stats``, which are valid even if only a
few queries lose quality.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Scores

RESAMPLES = 1_000
_CHUNK = 250  # resamples at a time: 8 MB of counts for 4,000 queries


def retentions(cheap: NDArray[np.float64], full: Scores) -> Scores:
    """Return the retention of each point, [n_points]: mean score over mean full score.

    If the mean full score is 0, the retention is 0.

    Args:
        cheap: Scores of the queries at each point, [n_points, n_queries].
        full: Scores of the same queries at full precision, [n_queries].
    """
    return _ratios(cheap.mean(axis=1), full.mean())


def retention_intervals(
    cheap: NDArray[np.float64], full: Scores, *, confidence: float = 0.95, seed: int = 0
) -> NDArray[np.float64]:
    """Return the lower and upper end of each point's retention interval, [n_points, 2].

    Each resample draws queries with replacement. All points and full precision use the same
    resamples. The ends are percentiles of the resampled retentions.

    Args:
        cheap: Scores of the queries at each point, [n_points, n_queries].
        full: Scores of the same queries at full precision, [n_queries].
        confidence: Two-sided confidence level.
        seed: Seed of the resamples.
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
    return ends.round(12)  # removes rounding errors: full retains exactly 1


def _ratios(
    part: NDArray[np.float64], whole: NDArray[np.float64] | np.float64
) -> NDArray[np.float64]:
    whole = np.broadcast_to(whole, part.shape)
    result: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return result
