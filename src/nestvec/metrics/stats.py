"""Confidence bounds for means of bounded scores, valid for any number of queries.

All functions use Gaffke's bound (2005; Learned-Miller and Thomas 2019, arXiv 1905.06208). Add one
observation at the lowest possible value. Draw random weights for all observations, uniform on the
simplex, and compute the weighted mean; repeat. With confidence 1 - alpha, the true mean exceeds
the alpha quantile of the weighted means. On 0/1 data this is the Clopper-Pearson bound. With many
queries it approaches the bootstrap.

The studentized bootstrap is not valid here. A cheap point typically loses a few queries
completely. If 2 % of all queries are lost, a sample of 100 may contain none of them, and a
bootstrap cannot draw a loss that is not in the sample. At a level of 5 % it claimed a retention
of at least 98 % wrongly in 20 % of trials with 150 queries and in 50 % with 60. The added
observation represents the unseen loss. That the bound is valid for every distribution is a
conjecture without a known counterexample; the tests simulate it.
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
    """Return a lower confidence bound of the true mean.

    Args:
        differences: One value for each query, [n_queries].
        lowest: Lowest possible value of a difference.
        confidence: One-sided confidence level.
        seed: Seed of the random weights.

    Raises:
        InvalidArgument: If there are no queries, a value is below ``lowest`` or NaN, or the
            confidence is outside [0.5, 0.999].
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
    """Return a lower confidence bound of each point's ratio of true means, [n_points].

    The bound is the largest r for which mean(numerator - r * denominator) has a ``lower_bound``
    of at least 0. So a bound of at least 0.98 and a passed test against a target of 0.98 are
    equivalent. If the denominators are full-precision scores and ``lowest`` is 0, the added
    observation is a query that full precision answers and the point loses.

    Args:
        numerators: Scores of the queries at each point, [n_points, n_queries].
        denominators: Reference scores of the same queries, [n_queries], in [0, 1].
        lowest: Lowest possible value of a numerator.
        confidence: One-sided confidence level of each bound on its own.
        seed: Seed of the random weights.

    Raises:
        InvalidArgument: If there are no queries, a numerator is below ``lowest``, a denominator is
            outside [0, 1], a value is NaN, or the confidence is outside [0.5, 0.999].
    """
    if numerators.ndim != 2 or numerators.shape[1:] != denominators.shape:
        raise InvalidArgument(
            f"numerators have shape {numerators.shape} and denominators {denominators.shape}. "
            "Pass [n_points, n_queries] and [n_queries]."
        )
    _check_values("denominator", denominators, 0.0, 1.0)
    if len(numerators):
        _check_values("value", numerators, lowest, math.inf)
    lost = np.full((len(numerators), 1), lowest)
    ratios = _weighted_ratios(np.hstack([numerators, lost]), np.append(denominators, 1.0), seed)
    return _low_quantile(ratios, confidence)


def queries_needed(
    differences: Scores, *, lowest: float = -1.0, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Estimate how many queries raise ``lower_bound`` above 0 if the sample mean is the true mean.

    The estimate is the larger of two numbers. The first follows from the normal approximation,
    corrected for skewness and for the added observation. The second is the number of queries
    without any loss that rules out rare losses large enough to cancel the mean.

    Args:
        differences: One value for each measured query, [n_queries].
        lowest: Lowest possible value of a difference, below 0.
        confidence: One-sided confidence level.
        power: Wanted probability that the bound is above 0.

    Returns:
        The number of queries; None if the mean is not above 0, so that no number is enough.

    Raises:
        InvalidArgument: As in ``lower_bound``, or if ``power`` is outside [0.5, 0.999] or
            ``lowest`` is not below 0.
    """
    _check_values("difference", differences, lowest, math.inf)
    _check_confidence(confidence)
    if lowest >= 0:
        raise InvalidArgument(f"lowest={lowest} is not below 0. Choose a negative value.")
    if not 0.5 <= power <= 0.999:
        raise InvalidArgument(f"power={power} is outside [0.5, 0.999].")
    mean, deviation = float(differences.mean()), float(differences.std())
    if mean <= 0:
        return None
    z, z_power = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    noise = deviation * (z + z_power)
    fixed = mean - lowest + _skew_cost(differences, z, z_power)
    # The root of  mean * n - noise * sqrt(n) - fixed = 0  in sqrt(n).
    root = (noise + math.sqrt(noise**2 + 4 * mean * fixed)) / (2 * mean)
    flawless = math.log(1 - confidence) / math.log1p(-mean / (mean - lowest))
    return math.ceil(max(root**2, flawless))


def _skew_cost(differences: Scores, z: float, z_power: float) -> float:
    """Return by how much skewness lowers the sum: rare large losses widen the bound.

    The first term is the Cornish-Fisher correction. The second accounts for samples with an
    unusually low mean, whose deviation is also larger.
    """
    centered = differences - differences.mean()
    variance, third = float((centered**2).mean()), float((centered**3).mean())
    if variance <= 0:
        return 0.0
    return max(-third / variance, 0.0) * ((z**2 - 1) / 6 + z * z_power / 2)


def _weighted_ratios(
    numerators: NDArray[np.float64], denominator: Scores, seed: int
) -> NDArray[np.float64]:
    """Return ratios of weighted sums, [n_points, RESAMPLES], with equal weights for all points."""
    rng = np.random.default_rng(seed)
    ratios = np.empty((len(numerators), RESAMPLES))
    for start in range(0, RESAMPLES, _CHUNK):
        # Normalized exponentials are uniform on the simplex. The ratio cancels the normalization.
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
        raise InvalidArgument(f"confidence={confidence} is outside [0.5, 0.999].")


def _check_values(what: str, values: NDArray[np.float64], low: float, high: float) -> None:
    if not values.size:
        raise InvalidArgument(f"There are no {what}s. Pass at least one query.")
    slack = 1e-9  # for rounding errors
    if not (values.min() >= low - slack and values.max() <= high + slack):  # NaN fails both
        limit = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
        found = f"{what}s range from {values.min()} to {values.max()}"
        raise InvalidArgument(f"{found}. All must be {limit}.")
