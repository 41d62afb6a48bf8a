"""Choose an adaptor by what it keeps of held-out vectors, never one that may be worse than cutting.

The strongest is taken that is surely better than cutting in the mean over the dims asked, at no dim
worse, and not surely worse than a cheaper one; which is stronger is for the caller to say, by the
order. What learnt from labels must be surely better than the cheaper one: it learnt what these
queries ask, and others may not. If there is none, nothing is changed. Labels overrule agreement
wherever they can tell; those of few queries seldom can, at a single dim.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nestvec.adapt.measuring import Measured, Metric, Scores
from nestvec.metrics.stats import lower_bound

CUTTING = "none"
MARGIN: Mapping[Metric, float] = {"ndcg@10": 0.01, "nearest@10": 0.02}
"""What no dim may lose against cutting, with confidence."""
CONFIDENCE = 0.95


def choose(measured: Mapping[str, Measured], *, of_labels: Collection[str] = (), seed: int) -> str:
    """Return the name of what to take.

    Args:
        measured: Of each adaptor that was fitted, from cheap to strong, at the dims asked, the full
            width last; among them ``CUTTING``.
        of_labels: Those that learnt from labels.
        seed: Of the bounds.
    """
    cut = measured[CUTTING]
    chosen = CUTTING
    for name, found in measured.items():
        if name == CUTTING or not surely_better(found.said, cut.said, seed=seed):
            continue
        cheaper = measured[chosen].said
        if name in of_labels:
            holds = surely_better(found.said, cheaper, seed=seed)
        else:
            holds = not surely_better(cheaper, found.said, seed=seed)
        if holds and _nowhere_worse(found, cut, seed):
            chosen = name
    return chosen


def surely_better(ours: Scores, theirs: Scores, *, seed: int) -> bool:
    """Tell whether the mean over the dims below the full width, the last, is higher.

    Beyond what chance explains: by the lower bound of the mean over queries.
    """
    return _at_least((ours - theirs)[:-1].mean(axis=0), 0.0, seed)


def _nowhere_worse(ours: Measured, cut: Measured, seed: int) -> bool:
    """Tell whether no dim is worse: labels show it, or cannot tell and the nearest are found."""
    for dim in range(len(cut.nearest)):
        found = ours.nearest[dim] - cut.nearest[dim]
        holds = _at_least(found, -MARGIN["nearest@10"], seed)
        if ours.judged is not None and cut.judged is not None:
            gained = ours.judged[dim] - cut.judged[dim]
            holds = holds and not _at_least(-gained, 0.0, seed)
            holds = holds or _at_least(gained, -MARGIN["ndcg@10"], seed)
        if not holds:
            return False
    return True


def _at_least(differences: Scores, least: float, seed: int) -> bool:
    """Tell whether the mean over queries surely exceeds a value; equal is equal, of any number."""
    if not differences.any():
        return least < 0
    return lower_bound(differences, confidence=CONFIDENCE, seed=seed) > least
