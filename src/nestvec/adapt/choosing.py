"""Choose an adaptor by what it keeps of held-out vectors, never one that may be worse than cutting.

A stronger one is taken where it is better in the mean over the dims asked, beyond what chance
explains, and at no dim worse than cutting by more than a margin. Else nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nestvec.adapt.measuring import Evidence
from nestvec.stats import lower_bound

CUTTING = "none"
MARGIN = 0.01
"""Of the metric: what no dim may lose against cutting, with confidence."""
FULL_MARGIN: Mapping[Evidence, float] = {"ndcg@10": MARGIN, "overlap@10": 0.1}
"""The same at full width. There the overlap is with the same vectors: any change lowers it."""
CONFIDENCE = 0.95

Scores = NDArray[np.float64]


def choose(scores: Mapping[str, Scores], metric: Evidence, *, seed: int) -> str:
    """Return the name of what to take.

    Args:
        scores: Of each adaptor that was fitted, from cheap to strong, [n_dims, n_queries] at the
            dims asked, the full width last; among them ``CUTTING``.
        metric: What they are.
        seed: Of the bounds.
    """
    cut = scores[CUTTING]
    margins = [MARGIN] * (len(cut) - 1) + [FULL_MARGIN[metric]]
    chosen = CUTTING
    for name, found in scores.items():
        if name == CUTTING or not _nowhere_worse(found, cut, margins, seed):
            continue
        if surely_better(found, scores[chosen], seed=seed):
            chosen = name
    return chosen


def surely_better(ours: Scores, theirs: Scores, *, seed: int) -> bool:
    """Tell whether the mean over the dims below the full width, the last, is higher.

    Beyond what chance explains: by the lower bound of the mean over queries.
    """
    gained = (ours - theirs)[:-1].mean(axis=0)
    return lower_bound(gained, confidence=CONFIDENCE, seed=seed) > 0


def _nowhere_worse(ours: Scores, cut: Scores, margins: list[float], seed: int) -> bool:
    return all(
        lower_bound(one - other, confidence=CONFIDENCE, seed=seed) > -margin
        for one, other, margin in zip(ours, cut, margins, strict=True)
    )
