"""Score thresholds: fit one from relevance labels, and map one to the scores of another index.

A threshold keeps the results whose score is at least the threshold. Scores of two models, or of
two operating points, are not comparable, so a threshold must be mapped when either changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import Interval
from nestvec.errors import InvalidArgument

RESAMPLES = 1_000
_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]


class PrecisionRecall(NamedTuple):
    """Precision and recall of the results that a threshold keeps."""

    precision: float
    recall: float


@dataclass(frozen=True)
class ScoreThreshold:
    """A threshold that maximizes F1, and what it reaches on new queries.

    A pair is a query with one of its results. A result without a label counts as not relevant.

    Attributes:
        threshold: Results with at least this score are kept.
        precision: Share of the kept pairs that are relevant.
        recall: Share of the relevant pairs that are kept.
        f1: Harmonic mean of precision and recall.
        threshold_interval: 95 % interval of the threshold.
        precision_interval: 95 % interval of the precision on new queries.
        recall_interval: 95 % interval of the recall on new queries.
        queries: Number of queries.
        pairs: Number of pairs.
        relevant: Number of relevant pairs.
        kept: Number of pairs that the threshold keeps.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    threshold_interval: Interval
    precision_interval: Interval
    recall_interval: Interval
    queries: int
    pairs: int
    relevant: int
    kept: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the values that ``dataclasses.asdict`` wrote."""
        names = ("threshold_interval", "precision_interval", "recall_interval")
        return cls(**{**values, **{name: Interval(*values[name]) for name in names}})


@dataclass(frozen=True)
class MappedThreshold:
    """A threshold for the scores of a new index that keeps as many results as an old one did.

    Attributes:
        old: The threshold of the old scores.
        new: The threshold of the new scores.
        old_share: Share of the old results that ``old`` keeps.
        new_share: Share of the new results that ``new`` keeps; equal scores can make it differ.
        old_results: Number of old results.
        new_results: Number of new results.
        full_queries: Number of queries whose old results are all kept. Such a query may have more
            results above the threshold than were searched for. If there are many, the mapping
            needs more results for each query.
        before: Precision and recall of ``old``; None without labels.
        after: Precision and recall of ``new``; None without labels.
    """

    old: float
    new: float
    old_share: float
    new_share: float
    old_results: int
    new_results: int
    full_queries: int
    before: PrecisionRecall | None = None
    after: PrecisionRecall | None = None


class _RankedPairs:
    """All pairs by descending score, and the places where a threshold can separate them."""

    def __init__(self, scores: Sequence[Sequence[float]]) -> None:
        values = np.array([score for each in scores for score in each], dtype=np.float64)
        if not np.isfinite(values).all():
            raise InvalidArgument("a score is NaN or infinite. Pass finite scores.")
        self.order = np.argsort(-values, kind="stable")
        self.scores = values[self.order]
        owners = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
        self.queries: NDArray[np.int64] = owners[self.order]
        # The last pair of each distinct score.
        self.ends = np.flatnonzero(np.append(np.diff(self.scores) != 0, len(values) > 0))

    def threshold(self, end: int) -> float:
        """Return the threshold that keeps all pairs up to the place ``ends[end]``.

        It is in the middle of two scores, so that rounding in a printed value keeps the same pairs.
        """
        kept = float(self.scores[self.ends[end]])
        if end + 1 == len(self.ends):
            return kept
        below = float(self.scores[self.ends[end + 1]])
        middle = (kept + below) / 2
        return middle if below < middle <= kept else kept

    def best(self, relevant: _Bools, weights: _Floats) -> int:
        """Return the place in ``ends`` with the largest F1; the highest threshold if several."""
        found = np.cumsum(relevant * weights)
        kept = np.cumsum(weights)[self.ends]
        # F1 = 2 * found / (kept + all relevant)
        return int(np.argmax(found[self.ends] / np.maximum(kept + found[-1], 1e-12)))


def fit_threshold(
    scores: Sequence[Sequence[float]],
    relevant: Sequence[Sequence[bool]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> ScoreThreshold:
    """Return the threshold that maximizes F1 over all pairs of a query and a result.

    The intervals are of a bootstrap over queries: each resample fits a threshold on the drawn
    queries, and measures precision and recall on the queries that were not drawn. So the intervals
    include that the threshold was fitted on few queries.

    >>> fitted = fit_threshold([[0.9, 0.6], [0.8, 0.2]], [[True, False], [True, False]])
    >>> round(fitted.threshold, 2), fitted.precision, fitted.recall
    (0.7, 1.0, 1.0)

    Args:
        scores: Scores of the results of each query, [n_queries][at most k].
        relevant: Whether each result is relevant, in the same order.
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Raises:
        InvalidArgument: If the numbers differ, a score is not finite, or no result is relevant.
    """
    flags = _flags(scores, relevant)
    pairs = _RankedPairs(scores)
    good = flags[pairs.order]
    if not good.any():
        problem = f"none of the {len(good):,} results is labeled relevant."
        raise InvalidArgument(f"{problem} Search for more results (-k), or check the ids.")
    end = pairs.best(good, np.ones(len(good)))
    threshold = pairs.threshold(end)
    kept = int(pairs.ends[end]) + 1
    reached = _measure(pairs.scores, good, threshold)
    drawn = _resample(pairs, good, len(scores), seed, resamples)
    return ScoreThreshold(
        threshold,
        *reached,
        f1=2 * reached.precision * reached.recall / sum(reached),
        threshold_interval=_interval(drawn[0]),
        precision_interval=_interval(drawn[1]),
        recall_interval=_interval(drawn[2]),
        queries=len(scores),
        pairs=len(good),
        relevant=int(good.sum()),
        kept=kept,
    )


def map_threshold(
    old_scores: Sequence[Sequence[float]],
    new_scores: Sequence[Sequence[float]],
    threshold: float,
    *,
    old_relevant: Sequence[Sequence[bool]] | None = None,
    new_relevant: Sequence[Sequence[bool]] | None = None,
) -> MappedThreshold:
    """Return the threshold of new scores that keeps the same share of results (quantile matching).

    >>> mapped = map_threshold([[0.9, 0.5], [0.8, 0.1]], [[40, 10], [30, 20]], 0.6)
    >>> mapped.new, mapped.new_share
    (25.0, 0.5)

    Args:
        old_scores: Scores of the results of the old index, [n_queries][at most k].
        new_scores: Scores of the new index for the same queries and the same k.
        threshold: The threshold of the old scores.
        old_relevant: Whether each old result is relevant, in the same order; None without labels.
        new_relevant: The same for the new results.

    Raises:
        InvalidArgument: If the numbers differ, a score is not finite, only one side has labels, or
            the threshold keeps no old result or all of them.
    """
    if len(old_scores) != len(new_scores):
        problem = f"{len(old_scores)} queries have old scores, and {len(new_scores)} new scores."
        raise InvalidArgument(f"{problem} Search both indexes for the same queries.")
    if (old_relevant is None) != (new_relevant is None):
        raise InvalidArgument("labels are needed for both indexes, or for none of them.")
    old, new = _RankedPairs(old_scores), _RankedPairs(new_scores)
    if not len(new.scores):
        raise InvalidArgument("the new index returned no results. Check its documents.")
    share = _kept_share(old, threshold)
    counts = new.ends + 1
    end = int(np.argmin(np.abs(counts - share * len(new.scores))))
    chosen = new.threshold(end)
    full = sum(bool(each) and min(each) >= threshold for each in old_scores)
    before = after = None
    if old_relevant is not None and new_relevant is not None:
        before = _labeled(old_scores, old_relevant, threshold)
        after = _labeled(new_scores, new_relevant, chosen)
    return MappedThreshold(
        threshold,
        chosen,
        share,
        float(counts[end] / len(new.scores)),
        len(old.scores),
        len(new.scores),
        full,
        before,
        after,
    )


def _kept_share(pairs: _RankedPairs, threshold: float) -> float:
    """Return the share of the results that a threshold keeps, which must not be 0 or 1."""
    n = len(pairs.scores)
    kept = int(np.count_nonzero(pairs.scores >= threshold))
    if not kept:
        highest = f"{pairs.scores[0]:.4g}" if n else "none"
        problem = f"threshold={threshold:g} is above all {n:,} old scores (highest: {highest})."
        raise InvalidArgument(f"{problem} Pass a threshold that some results reach.")
    if kept == n:
        lowest = f"(lowest: {pairs.scores[-1]:.4g})"
        problem = f"threshold={threshold:g} keeps all {n:,} old results {lowest}."
        raise InvalidArgument(f"{problem} Search for more results of each query: raise k.")
    return kept / n


def _resample(
    pairs: _RankedPairs, relevant: _Bools, n_queries: int, seed: int, resamples: int
) -> tuple[_Floats, _Floats, _Floats]:
    """Return threshold, precision and recall of each resample; NaN where they are undefined."""
    rng = np.random.default_rng(seed)
    thresholds, precisions, recalls = np.full((3, resamples), np.nan)
    for number in range(resamples):
        drawn = np.bincount(rng.integers(n_queries, size=n_queries), minlength=n_queries)
        weights = drawn[pairs.queries].astype(np.float64)
        if not (relevant * weights).any():
            continue
        thresholds[number] = pairs.threshold(pairs.best(relevant, weights))
        rest = weights == 0
        reached = _measure(pairs.scores[rest], relevant[rest], thresholds[number])
        precisions[number], recalls[number] = reached
    return thresholds, precisions, recalls


def _measure(scores: _Floats, relevant: _Bools, threshold: float) -> PrecisionRecall:
    """Return precision and recall; NaN if nothing is kept, or nothing is relevant."""
    kept = scores >= threshold
    found, n_kept, n_relevant = (int(each.sum()) for each in (kept & relevant, kept, relevant))
    precision = found / n_kept if n_kept else np.nan
    return PrecisionRecall(precision, found / n_relevant if n_relevant else np.nan)


def _labeled(
    scores: Sequence[Sequence[float]], relevant: Sequence[Sequence[bool]], threshold: float
) -> PrecisionRecall:
    flags = _flags(scores, relevant)
    values = np.array([score for each in scores for score in each], dtype=np.float64)
    return _measure(values, flags, threshold)


def _flags(scores: Sequence[Sequence[float]], relevant: Sequence[Sequence[bool]]) -> _Bools:
    if [len(each) for each in scores] != [len(each) for each in relevant]:
        raise InvalidArgument("the numbers of scores and of labels differ. Pass one label a score.")
    return np.array([flag for each in relevant for flag in each], dtype=np.bool_)


def _interval(values: _Floats) -> Interval:
    defined = values[~np.isnan(values)]
    if not len(defined):  # one query only
        return Interval(0.0, 1.0)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(float(low), float(high))
