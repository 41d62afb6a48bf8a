"""Move a cut-off of scores: they change with dims and codes, and people have thresholds.

The new cut-off lets through as many wrong results of the queries as the old one did at full
float32; where nothing is judged, as many results. Only results that the curve kept are counted,
the best few of each query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.errors import InvalidArgument
from nestvec.types import OperatingPoint

_RESAMPLES = 500
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Cutoff:
    """The threshold on a point's scores that does what an old one did at full float32.

    Attributes:
        old: On the scores of full float32.
        new: On the scores of the point.
        low: Lower end of the 95 % interval of ``new``, over queries.
        high: Upper end of the same.
        accepted: Wrong results that either lets through, for each query; all results where
            nothing is judged.
        judged: Whether wrong results were told from right ones.
        depth: How many results of each query were looked at.
    """

    old: float
    new: float
    low: float
    high: float
    accepted: float
    judged: bool
    depth: int

    def __str__(self) -> str:
        """Write it as a sentence."""
        what = "wrong results" if self.judged else "results, right or wrong (nothing is judged),"
        return (
            f"A cut-off of {self.old:g} on scores of full precision becomes {self.new:.4f} "
            f"({self.low:.4f} to {self.high:.4f} with 95 % confidence): it lets through as many "
            f"{what} of the best {self.depth}, {self.accepted:.2f} for each query."
        )


def move_cutoff(
    curve: Curve, point: OperatingPoint | str, cutoff: float, *, seed: int = 0
) -> Cutoff:
    """Find the cut-off on a point's scores that accepts as many wrong results as an old one.

    Args:
        curve: What was measured, with the scores of the results.
        point: Whose scores are to be cut.
        cutoff: The old one, on the scores of full float32.
        seed: Of the bootstrap over queries, for the interval.

    Raises:
        InvalidArgument: If the curve has no scores of results, the point was not measured, or the
            old cut-off lets through nothing or everything.
    """
    if not curve.scores.top_scores.size:
        raise InvalidArgument("this curve has no scores of results: evaluate again")
    full = _Hits.of(curve, curve.full.point)
    ours = _Hits.of(curve, point)
    accepted = full.scores >= cutoff
    if not accepted.any() or accepted.all():
        what = "nothing" if not accepted.any() else "everything that was kept"
        raise InvalidArgument(
            f"cutoff {cutoff:g} lets through {what} of full precision: its scores of "
            f"{full.what} go from {full.scores[-1]:.4f} to {full.scores[0]:.4f}"
        )
    n = len(curve.scores.query_ids)
    let_through = np.bincount(full.queries[accepted], minlength=n).astype(np.float64)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    drawn = [ours.cutoff(let_through, each.astype(np.float64)) for each in weights]
    low, high = np.percentile(drawn, _INTERVAL).tolist()
    return Cutoff(
        old=cutoff,
        new=ours.cutoff(let_through, np.ones(n)),
        low=low,
        high=high,
        accepted=float(let_through.mean()),
        judged=full.judged,
        depth=curve.scores.top.shape[2],
    )


@dataclass(frozen=True)
class _Hits:
    """Wrong results of all queries at one point, best first; all results where none is judged."""

    scores: NDArray[np.float64]
    queries: NDArray[np.int64]
    judged: bool

    @classmethod
    def of(cls, curve: Curve, point: OperatingPoint | str) -> _Hits:
        row, kept = curve.row_number(point), curve.scores
        counted = kept.top[row] >= 0
        judged = bool(kept.top_relevant.size)
        if judged:
            counted &= ~kept.top_relevant[row]
        scores = kept.top_scores[row][counted].astype(np.float64)
        if not len(scores):
            raise InvalidArgument(f"{point}: every result that was kept is right, nothing to cut")
        order = np.argsort(-scores, kind="stable")
        return cls(scores[order], np.nonzero(counted)[0][order], judged)

    @property
    def what(self) -> str:
        return "wrong results" if self.judged else "results"

    def cutoff(self, let_through: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        """Return the score at which as many are let through, each query with its weight."""
        wanted = float(let_through @ weights)
        accepted = np.cumsum(weights[self.queries])
        last = int(np.searchsorted(accepted, wanted - 0.5))
        # Between the last that is let through and the next, so that rounding decides nothing.
        return float(
            self.scores[last : last + 2].mean() if last < len(self.scores) else self.scores[-1]
        )
