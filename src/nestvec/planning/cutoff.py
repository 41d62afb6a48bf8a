"""Convert a score cutoff from full float32 to another operating point.

Scores change with dims and precision, so an existing cutoff must change too. The new cutoff
accepts as many non-relevant results as the old cutoff did at full float32. Without relevance
labels, it accepts as many results. Only the top results that the curve stores are counted.
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
    """A score cutoff of full float32 and the equivalent cutoff of a point.

    Attributes:
        old: Cutoff on the scores of full float32.
        new: Cutoff on the scores of the point.
        low: Lower end of the 95 % interval of ``new``, over queries.
        high: Upper end of the interval.
        accepted: Mean number of non-relevant results per query that both cutoffs accept; of all
            results if there are no relevance labels.
        judged: Whether there are relevance labels.
        depth: Number of stored results per query.
    """

    old: float
    new: float
    low: float
    high: float
    accepted: float
    judged: bool
    depth: int

    def __str__(self) -> str:
        """Return both cutoffs in two or three sentences."""
        counted = "non-relevant results" if self.judged else "results"
        text = (
            f"A score cutoff of {self.old:g} at full precision corresponds to {self.new:.4f} at "
            f"this point (95 % interval: {self.low:.4f} to {self.high:.4f}). Both accept "
            f"{self.accepted:.2f} {counted} per query, counting the top {self.depth}."
        )
        return text if self.judged else f"{text} The curve has no relevance labels."


def move_cutoff(
    curve: Curve, point: OperatingPoint | str, cutoff: float, *, seed: int = 0
) -> Cutoff:
    """Find the cutoff of a point that accepts as many non-relevant results as an old cutoff.

    Args:
        curve: The measured curve, with the scores of the results.
        point: The point whose cutoff is wanted.
        cutoff: The old cutoff, on the scores of full float32.
        seed: Seed of the bootstrap over queries, from which the interval is computed.

    Raises:
        InvalidArgument: If the curve stores no result scores, the point was not measured, or the
            old cutoff accepts no result or every result.
    """
    if not curve.scores.top_scores.size:
        raise InvalidArgument("this curve stores no result scores. Evaluate again.")
    full = _Hits.of(curve, curve.full.point)
    cheap = _Hits.of(curve, point)
    accepted = full.scores >= cutoff
    if not accepted.any() or accepted.all():
        what = "none" if not accepted.any() else "all"
        raise InvalidArgument(
            f"cutoff={cutoff:g} accepts {what} of the {full.counted} at full precision. Choose a "
            f"value from {full.scores[-1]:.4f} to {full.scores[0]:.4f}."
        )
    n = len(curve.scores.query_ids)
    n_accepted = np.bincount(full.queries[accepted], minlength=n).astype(np.float64)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    resampled = [cheap.cutoff(n_accepted, each.astype(np.float64)) for each in weights]
    low, high = np.percentile(resampled, _INTERVAL).tolist()
    return Cutoff(
        old=cutoff,
        new=cheap.cutoff(n_accepted, np.ones(n)),
        low=low,
        high=high,
        accepted=float(n_accepted.mean()),
        judged=full.labeled,
        depth=curve.scores.top.shape[2],
    )


@dataclass(frozen=True)
class _Hits:
    """Non-relevant results of all queries at one point, highest score first.

    Without relevance labels: all results.
    """

    scores: NDArray[np.float64]
    queries: NDArray[np.int64]
    labeled: bool

    @classmethod
    def of(cls, curve: Curve, point: OperatingPoint | str) -> _Hits:
        row, stored = curve.row_number(point), curve.scores
        counted = stored.top[row] >= 0
        labeled = bool(stored.top_relevant.size)
        if labeled:
            counted &= ~stored.top_relevant[row]
        scores = stored.top_scores[row][counted].astype(np.float64)
        if not len(scores):
            raise InvalidArgument(
                f"every result stored for {point} is relevant, so there is nothing to reject"
            )
        order = np.argsort(-scores, kind="stable")
        return cls(scores[order], np.nonzero(counted)[0][order], labeled)

    @property
    def counted(self) -> str:
        return "non-relevant results" if self.labeled else "results"

    def cutoff(self, n_accepted: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
        """Return the score above which as many results are accepted, with weighted queries."""
        wanted = float(n_accepted @ weights)
        accepted = np.cumsum(weights[self.queries])
        last = int(np.searchsorted(accepted, wanted - 0.5))
        # Midway between the last accepted score and the next, so that rounding changes nothing.
        return float(
            self.scores[last : last + 2].mean() if last < len(self.scores) else self.scores[-1]
        )
