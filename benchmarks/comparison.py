"""Score each query at several operating points, and compare two methods with intervals.

Two methods are compared on the same queries. Scores are averaged over seeds first; the intervals
are over queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.types import Embeddings, OperatingPoint

METRIC = "ndcg@10"
RESAMPLES = 10_000


def score_points(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Embeddings,
    judged: RelevanceLabels,
) -> NDArray[np.float64]:
    """Return the score of each query at each point, [n_points, n_queries]."""
    ranked = rank(points, queries, Representations(corpus, layer_norm=False), depth=10)
    found = [score(METRIC, judged.grades(ranked[point].rows), judged) for point in points]
    return np.array(found, dtype=np.float64)


def differences_with_intervals(
    scores: Sequence[NDArray[np.float64]], baseline: Sequence[NDArray[np.float64]]
) -> list[dict[str, float]]:
    """Return scores minus baseline at each point, averaged over seeds, with its 95 % interval.

    Args:
        scores: The scores of a method for each seed, [n_points, n_queries].
        baseline: The scores of the other method for each seed, [n_points, n_queries].
    """
    differences = np.mean(scores, axis=0) - np.mean(baseline, axis=0)
    rng = np.random.default_rng(0)
    n = differences.shape[1]
    drawn = np.stack(
        [differences[:, rng.integers(n, size=n)].mean(axis=1) for _ in range(RESAMPLES)]
    )
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [
        {"difference": float(mean), "low": float(low[i]), "high": float(high[i])}
        for i, mean in enumerate(differences.mean(axis=1))
    ]
