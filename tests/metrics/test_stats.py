"""Bounds: their worked values, and how often they say what is false."""

import math

import numpy as np
import pytest

from nestvec.errors import InvalidArgument
from nestvec.metrics.stats import lower_bound, queries_needed, ratio_lower_bounds


def found_or_lost(rng, n, kept):
    """Half of the queries are answered at full precision; of those the share ``kept`` is kept."""
    full = (rng.random(n) < 0.5).astype(float)
    return full * (rng.random(n) < kept), full


def moved_in_rank(rng, n, kept):
    """Answers at ranks 1 to 10 by ndcg's gains; some fall or rise, a few are lost."""
    gains = np.append(1 / np.log2(np.arange(10) + 2), 0.0)
    full = gains[rng.integers(0, 11, n)]
    nudge = np.where(full < 1, rng.normal(0, 0.02, n), 0.0)  # symmetric, away from the ends
    return np.clip(full + nudge * full, 0, 1) * (rng.random(n) < kept), full


@pytest.mark.parametrize("draw", [found_or_lost, moved_in_rank])
@pytest.mark.parametrize(("n", "trials"), [(5, 200), (60, 200), (150, 200), (400, 100)])
def test_rarely_says_more_than_is_true(draw, n, trials):
    """A studentized bootstrap fails this at 60 and 150 queries (20 % to 50 % false)."""
    true_retention, confidence = 0.98, 0.9
    false = 0
    for trial in range(trials):
        cheap, full = draw(np.random.default_rng(trial), n, true_retention)
        bound = ratio_lower_bounds(cheap[None], full, confidence=confidence, seed=trial)
        false += bound[0] > true_retention
    alpha = 1 - confidence
    assert false / trials <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)


def test_is_the_clopper_pearson_bound_on_zeros_and_ones():
    # 95 of 100: scipy.stats.binomtest(95, 100, alternative="greater").proportion_ci() = 0.8977
    values = np.r_[np.ones(95), np.zeros(5)]
    assert lower_bound(values, lowest=0.0) == pytest.approx(0.8977, abs=0.002)


def test_without_variance_says_what_rare_unseen_losses_leave_open():
    # All of 100 the same: with 95 % confidence, less than 1 - 0.05 ** (1 / 100) are otherwise.
    unseen = 1 - 0.05 ** (1 / 100)
    exact = 0.02 * (1 - unseen) - 0.98 * unseen
    assert lower_bound(np.full(100, 0.02), lowest=-0.98) == pytest.approx(exact, abs=0.002)


def test_nears_the_normal_bound_with_many_queries():
    values = np.random.default_rng(0).normal(0.1, 0.2, 20_000)
    normal = values.mean() - 1.645 * values.std() / math.sqrt(len(values))
    assert lower_bound(values) == pytest.approx(normal, abs=3e-4)


def test_retention_bound_is_where_the_difference_bound_is_zero():
    cheap, full = moved_in_rank(np.random.default_rng(5), 300, kept=0.97)
    (kept,) = ratio_lower_bounds(cheap[None], full, seed=3)
    difference = lower_bound(cheap - kept * full, lowest=-kept, seed=3)
    assert difference == pytest.approx(0, abs=1e-9)


def test_each_point_gets_the_bound_it_has_alone():
    rng = np.random.default_rng(0)
    full = rng.random(80)
    cheap = full * rng.random((3, 80))
    together = ratio_lower_bounds(cheap, full, seed=1)
    alone = [ratio_lower_bounds(line[None], full, seed=1)[0] for line in cheap]
    np.testing.assert_allclose(together, alone)


def test_the_same_seed_gives_the_same_bound_and_another_a_near_one():
    values = np.random.default_rng(0).uniform(-1, 1, 500)
    assert lower_bound(values, seed=1) == lower_bound(values, seed=1)
    assert lower_bound(values, seed=1) == pytest.approx(
        lower_bound(values, seed=2), abs=0.005
    )  # 0.2 standard errors


def test_more_confidence_says_less():
    values = np.random.default_rng(0).uniform(-1, 1, 50)
    bounds = [lower_bound(values, confidence=confidence) for confidence in (0.8, 0.95, 0.99)]
    assert bounds[0] > bounds[1] > bounds[2] > -1


@pytest.mark.parametrize("kept", [0.995, 0.99])
def test_as_many_queries_as_needed_succeed_about_four_times_in_five(kept):
    many = found_or_lost(np.random.default_rng(0), 200_000, kept)
    needed = queries_needed(many[0] - 0.97 * many[1], lowest=-0.97)
    trials, passed = 120, 0
    for trial in range(trials):
        cheap, full = found_or_lost(np.random.default_rng(trial), needed, kept)
        passed += ratio_lower_bounds(cheap[None], full, seed=trial)[0] >= 0.97
    assert 0.65 <= passed / trials <= 0.95


def test_no_number_of_queries_shows_what_is_not_so():
    assert queries_needed(np.array([0.1, -0.2])) is None
    assert queries_needed(np.zeros(10)) is None


def test_flawless_queries_are_needed_in_the_number_that_rules_out_rare_losses():
    # All of 149 are kept by luck in less than 5 % of trials where 2 % are lost.
    assert queries_needed(np.full(10, 0.02), lowest=-0.98) >= 149


def test_what_cannot_be_bounded_is_refused():
    ones = np.ones(3)
    with pytest.raises(InvalidArgument, match="no queries"):
        lower_bound(np.array([]))
    with pytest.raises(InvalidArgument, match="limit -1"):
        lower_bound(np.array([-1.5, 0]))
    with pytest.raises(InvalidArgument, match="values from nan"):
        lower_bound(np.array([np.nan, 0]))
    with pytest.raises(InvalidArgument, match=r"limit \[0, 1\]"):
        ratio_lower_bounds(np.ones((1, 3)), 1.2 * ones)
    with pytest.raises(InvalidArgument, match="limit 0"):
        ratio_lower_bounds(np.full((1, 3), -0.1), ones)
    with pytest.raises(InvalidArgument, match=r"shape \(1, 2\) against \(3,\)"):
        ratio_lower_bounds(np.ones((1, 2)), ones)
    for confidence in (0.2, 1.0, float("nan")):
        with pytest.raises(InvalidArgument, match=r"outside \[0.5, 0.999\]"):
            lower_bound(ones, confidence=confidence)
