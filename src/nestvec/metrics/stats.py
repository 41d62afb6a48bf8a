"""Confidence statements about means of bounded scores that hold at any number of queries.

One bound is used throughout, Gaffke's (2005; Learned-Miller and Thomas 2019, arXiv 1905.06208):
give the observations, and one more at the lowest value possible, random weights that are uniform
on the simplex; with confidence 1 - alpha, the mean exceeds the alpha quantile of the weighted
means. On 0/1 data it is the Clopper-Pearson bound; with many queries it nears the bootstrap.

Why not the studentized bootstrap: a cheap point loses few queries, but those wholly. Where 2 % are
lost on the whole, none may be lost of 100, and a bootstrap cannot draw what it has not seen. At a
level of 5 % it said "keeps at least 98 %" wrongly in 20 % of trials at 150 queries, in 50 % at 60.
The added observation stands for the loss that was not seen. That the bound holds for every
distribution is conjectured, with no counterexample known; the tests simulate it.

What to test, and in which order, is for ``plan`` to say.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.types import Scores

RESAMPLES = 4_000
_CHUNK = 250  # resamples at a time: 8 MB of weights for 4,000 queries


def lower_bound(
    differences: Scores, *, lowest: float = -1.0, confidence: float = 0.95, seed: int = 0
) -> float:
    """Give a value that the true mean exceeds, with the given confidence.

    Args:
        differences: One value for each query, [n_queries].
        lowest: The lowest value that a difference can take.
        confidence: One-sided.
        seed: Of the random weights.

    Raises:
        InvalidArgument: If there are no queries, a value is below ``lowest`` or not a number, or
            the confidence is outside [0.5, 0.999].
    """
    bounds = ratio_lower_bounds(
        differences[None],
        np.ones_like(differences),
        lowest=lowest,
        confidence=confidence,
        seed=seed,
    )
    return float(bounds[0])


def ratio_lower_bounds(
    numerators: NDArray[np.float64],
    denominators: Scores,
    *,
    lowest: float = 0.0,
    confidence: float = 0.95,
    seed: int = 0,
) -> Scores:
    """Give for each point a value that its ratio of true means exceeds, [n_points].

    It is the largest r for which mean(numerator - r * denominator) has a ``lower_bound`` of 0 or
    more, so that "keeps at least 98 %" and a test of the target 98 % are one statement. With the
    scores of full precision as denominators and a lowest of 0, the added observation is a query
    that full precision answers and the point loses.

    Args:
        numerators: Scores of each point's queries, [n_points, n_queries].
        denominators: What the same queries are measured by, [n_queries], in [0, 1].
        lowest: The lowest value that a numerator can take.
        confidence: One-sided, of each point's statement by itself.
        seed: Of the random weights.

    Raises:
        InvalidArgument: If there are no queries, a numerator is below ``lowest``, a denominator is
            outside [0, 1], one is not a number, or the confidence is outside [0.5, 0.999].
    """
    if numerators.ndim != 2 or numerators.shape[1:] != denominators.shape:
        shapes = f"{numerators.shape} against {denominators.shape}"
        raise InvalidArgument(f"numerators and denominators of shape {shapes}")
    _check_values("denominator", denominators, 0.0, 1.0)
    if len(numerators):
        _check_values("value", numerators, lowest, math.inf)
    lost = np.full((len(numerators), 1), lowest)
    ratios = _weighted_ratios(np.hstack([numerators, lost]), np.append(denominators, 1.0), seed)
    return _low_quantile(ratios, confidence)


def queries_needed(
    differences: Scores, *, lowest: float = -1.0, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Estimate how many queries would bring ``lower_bound`` above 0, were the mean as it seems.

    The larger of two counts: by the normal approximation, with the added observation and skewness
    taken off; and as many as must all be flawless to rule out that rare losses eat up the mean.

    Args:
        differences: One value for each query seen so far, [n_queries].
        lowest: The lowest value that a difference can take, below 0.
        confidence: One-sided.
        power: Chance of success that is wanted.

    Returns:
        The number of queries, or None where no number will do, as the mean is not above 0.

    Raises:
        InvalidArgument: As ``lower_bound``; or the power is outside [0.5, 0.999], or
            ``lowest`` is not below 0.
    """
    _check_values("difference", differences, lowest, math.inf)
    _check_confidence(confidence)
    if lowest >= 0:
        raise InvalidArgument(f"lowest {lowest} >= 0: no mean at or below 0 to rule out")
    if not 0.5 <= power <= 0.999:
        raise InvalidArgument(f"power {power} is outside [0.5, 0.999]")
    mean, deviation = float(differences.mean()), float(differences.std())
    if mean <= 0:
        return None
    z, z_power = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    noise = deviation * (z + z_power)
    fixed = mean - lowest + _skew_cost(differences, z, z_power)
    # The root of  mean * n - noise * sqrt(n) - fixed = 0,  solved for sqrt(n).
    root = (noise + math.sqrt(noise**2 + 4 * mean * fixed)) / (2 * mean)
    flawless = math.log(1 - confidence) / math.log1p(-mean / (mean - lowest))
    return math.ceil(max(root**2, flawless))


def _skew_cost(differences: Scores, z: float, z_power: float) -> float:
    """What rare large losses take from the sum: they stretch the bound, more so in unlucky draws.

    The first term is Cornish and Fisher's, the second the slope of the deviation in the mean.
    """
    centered = differences - differences.mean()
    variance, third = float((centered**2).mean()), float((centered**3).mean())
    if variance <= 0:
        return 0.0
    return max(-third / variance, 0.0) * ((z**2 - 1) / 6 + z * z_power / 2)


def _weighted_ratios(
    numerators: NDArray[np.float64], denominator: Scores, seed: int
) -> NDArray[np.float64]:
    """Divide weighted sums, [n_points, RESAMPLES]: one draw of weights serves all points."""
    rng = np.random.default_rng(seed)
    ratios = np.empty((len(numerators), RESAMPLES))
    for start in range(0, RESAMPLES, _CHUNK):
        # Exponentials are uniform on the simplex but for their sum, which a ratio cancels.
        weights = rng.standard_exponential((_CHUNK, len(denominator)))
        ratios[:, start : start + _CHUNK] = (numerators @ weights.T) / (weights @ denominator)
    return ratios


def _low_quantile(values: NDArray[np.float64], confidence: float) -> Scores:
    _check_confidence(confidence)
    place = math.floor(round((1 - confidence) * (RESAMPLES + 1), 9)) - 1
    quantile: Scores = np.partition(values, place, axis=1)[:, place]
    return quantile


def _check_confidence(confidence: float) -> None:
    if not 0.5 <= confidence <= 0.999:
        raise InvalidArgument(f"confidence {confidence} is outside [0.5, 0.999]")


def _check_values(what: str, values: NDArray[np.float64], low: float, high: float) -> None:
    if not values.size:
        raise InvalidArgument(f"no {what}s: nothing can be said of no queries")
    slack = 1e-9  # of rounding
    if not (values.min() >= low - slack and values.max() <= high + slack):  # NaN fails both
        limit = f"{low:g}" if math.isinf(high) else f"[{low:g}, {high:g}]"
        raise InvalidArgument(f"{what}s from {values.min()} to {values.max()}, limit {limit}")
