"""Bounds: known values, and how often a bound is wrong."""

import math

import numpy as np
import pytest

from nestvec.errors import InvalidArgument
from nestvec.metrics.stats import lower_bound, queries_needed, ratio_lower_bounds


def found_or_lost(rng, n, kept):
    """Full precision answers half of the queries; the share ``kept`` of them is retained."""
    full = (rng.random(n) < 0.5).astype(float)
    return full * (rng.random(n) < kept), full


def moved_in_rank(rng, n, kept):
    """Answers have nDCG gains of ranks 1 to 10; some ranks change and a few are lost."""
    gains = np.append(1 / np.log2(np.arange(10) + 2), 0.0)
    full = gains[rng.integers(0, 11, n)]
    nudge = np.where(full < 1, rng.normal(0, 0.02, n), 0.0)  # symmetric; scores of 0 and 1 stay
    return np.clip(full + nudge * full, 0, 1) * (rng.random(n) < kept), full


@pytest.mark.parametrize("draw", [found_or_lost, moved_in_rank])
@pytest.mark.parametrize(("n", "trials"), [(5, 200), (60, 200), (150, 200), (400, 100)])
def test_the_bound_rarely_exceeds_the_true_retention(draw, n, trials):
    """A studentized bootstrap fails this test at 60 and 150 queries (20 % to 50 % wrong)."""
    true_retention, confidence = 0.98, 0.9
    wrong = 0
    for trial in range(trials):
        cheap, full = draw(np.random.default_rng(trial), n, true_retention)
        bound = ratio_lower_bounds(cheap[None], full, confidence=confidence, seed=trial)
        wrong += bound[0] > true_retention
    alpha = 1 - confidence
    assert wrong / trials <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)


def test_is_the_clopper_pearson_bound_on_zeros_and_ones():
    # 95 of 100: scipy.stats.binomtest(95, 100, alternative="greater").proportion_ci() = 0.8977
    values = np.r_[np.ones(95), np.zeros(5)]
    assert lower_bound(values, lowest=0.0) == pytest.approx(0.8977, abs=0.002)


def test_without_variance_the_bound_allows_for_rare_unseen_losses():
    # 100 equal values: with 95 % confidence, a share below 1 - 0.05 ** (1 / 100) differs.
    unseen = 1 - 0.05 ** (1 / 100)
    exact = 0.02 * (1 - unseen) - 0.98 * unseen
    assert lower_bound(np.full(100, 0.02), lowest=-0.98) == pytest.approx(exact, abs=0.002)


def test_with_many_queries_the_bound_is_near_the_normal_bound():
    values = np.random.default_rng(0).normal(0.1, 0.2, 20_000)
    normal = values.mean() - 1.645 * values.std() / math.sqrt(len(values))
    assert lower_bound(values) == pytest.approx(normal, abs=3e-4)


def test_retention_bound_is_where_the_difference_bound_is_zero():
    cheap, full = moved_in_rank(np.random.default_rng(5), 300, kept=0.97)
    (kept,) = ratio_lower_bounds(cheap[None], full, seed=3)
    difference = lower_bound(cheap - kept * full, lowest=-kept, seed=3)
    assert difference == pytest.approx(0, abs=1e-9)


def test_the_bound_of_a_point_does_not_depend_on_other_points():
    rng = np.random.default_rng(0)
    full = rng.random(80)
    cheap = full * rng.random((3, 80))
    together = ratio_lower_bounds(cheap, full, seed=1)
    alone = [ratio_lower_bounds(line[None], full, seed=1)[0] for line in cheap]
    np.testing.assert_allclose(together, alone)


def test_equal_seeds_return_equal_bounds_and_other_seeds_similar_ones():
    values = np.random.default_rng(0).uniform(-1, 1, 500)
    assert lower_bound(values, seed=1) == lower_bound(values, seed=1)
    assert lower_bound(values, seed=1) == pytest.approx(
        lower_bound(values, seed=2), abs=0.005
    )  # 0.2 standard errors


def test_more_confidence_lowers_the_bound():
    values = np.random.default_rng(0).uniform(-1, 1, 50)
    bounds = [lower_bound(values, confidence=confidence) for confidence in (0.8, 0.95, 0.99)]
    assert bounds[0] > bounds[1] > bounds[2] > -1


@pytest.mark.parametrize("kept", [0.995, 0.99])
def test_the_estimated_number_of_queries_has_the_requested_power(kept):
    many = found_or_lost(np.random.default_rng(0), 200_000, kept)
    needed = queries_needed(many[0] - 0.97 * many[1], lowest=-0.97)
    trials, passed = 120, 0
    for trial in range(trials):
        cheap, full = found_or_lost(np.random.default_rng(trial), needed, kept)
        passed += ratio_lower_bounds(cheap[None], full, seed=trial)[0] >= 0.97
    assert 0.65 <= passed / trials <= 0.95


def test_no_number_of_queries_is_enough_for_a_mean_that_is_not_positive():
    assert queries_needed(np.array([0.1, -0.2])) is None
    assert queries_needed(np.zeros(10)) is None


def test_enough_queries_without_loss_are_needed_to_rule_out_rare_losses():
    # If 2 % of queries are lost, 149 queries contain no loss in less than 5 % of trials.
    assert queries_needed(np.full(10, 0.02), lowest=-0.98) >= 149


def test_invalid_values_raise():
    ones = np.ones(3)
    with pytest.raises(InvalidArgument, match="at least one query"):
        lower_bound(np.array([]))
    with pytest.raises(InvalidArgument, match="at least -1"):
        lower_bound(np.array([-1.5, 0]))
    with pytest.raises(InvalidArgument, match="values range from nan"):
        lower_bound(np.array([np.nan, 0]))
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        ratio_lower_bounds(np.ones((1, 3)), 1.2 * ones)
    with pytest.raises(InvalidArgument, match="at least 0"):
        ratio_lower_bounds(np.full((1, 3), -0.1), ones)
    with pytest.raises(InvalidArgument, match=r"shape \(1, 2\) and denominators \(3,\)"):
        ratio_lower_bounds(np.ones((1, 2)), ones)
    for confidence in (0.2, 1.0, float("nan")):
        with pytest.raises(InvalidArgument, match=r"outside \[0.5, 0.999\]"):
            lower_bound(ones, confidence=confidence)
