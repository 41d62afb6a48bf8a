"""Confidence statements about means of bounded scores that hold at any number of queries.

One bound is used throughout, Gaffke's (2005; Learned-Miller and Thomas 2019, arXiv 1905.06208):
give the observations, and one more at the lowest value possible, random weights that are uniform
on the simplex; with confidence 1 - alpha, the mean exceeds the alpha quantile of the weighted
means. On 0/1 data it is the Clopper-Pearson bound; with many queries it nears the bootstrap.

Why not the studentised bootstrap: a cheap point loses few queries, but those wholly. Where 2 % are
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
    _check_values("difference", differences, lowest, math.inf)
    values = np.append(differences, lowest)
    means = _weighted_ratios(values[None], np.ones_like(values), seed)
    return float(_low_quantile(means, confidence)[0])


def retention_lower_bounds(
    cheap: NDArray[np.float64], full: Scores, *, confidence: float = 0.95, seed: int = 0
) -> Scores:
    """Give for each point the share of the full score that it keeps at least, [n_points].

    It is the largest r for which mean(cheap - r * full) has a ``lower_bound`` of 0 or more, so that
    "keeps at least 98 %" and a test of the target 98 % are one statement. As cheap - r * full is
    never below -r, the added observation is a query that full answers and the point loses.

    Args:
        cheap: Scores of each point's queries, [n_points, n_queries], in [0, 1].
        full: Scores of the same queries at full precision, [n_queries], in [0, 1].
        confidence: One-sided, of each point's statement by itself.
        seed: Of the random weights.

    Raises:
        InvalidArgument: If there are no queries, a score is outside [0, 1], or the confidence is
            outside [0.5, 0.999].
    """
    if cheap.ndim != 2 or cheap.shape[1:] != full.shape:
        raise InvalidArgument(f"scores of shape {cheap.shape} against full ones of {full.shape}")
    _check_values("score", full, 0.0, 1.0)
    if len(cheap):
        _check_values("score", cheap, 0.0, 1.0)
    lost = np.zeros((len(cheap), 1))
    ratios = _weighted_ratios(np.hstack([cheap, lost]), np.append(full, 1.0), seed)
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
    centred = differences - differences.mean()
    variance, third = float((centred**2).mean()), float((centred**3).mean())
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
