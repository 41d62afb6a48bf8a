"""Score thresholds worked by hand, and by the properties that they must have."""

from dataclasses import asdict

import numpy as np
import pytest

from nestvec.errors import InvalidArgument
from nestvec.operate.thresholds import ScoreThreshold, fit_threshold, map_threshold

SCORES = [[0.9, 0.7, 0.5], [0.8, 0.6, 0.1]]
RELEVANT = [[True, False, True], [True, False, False]]


def test_the_best_threshold_by_hand():
    """By score: .9 yes, .8 yes, .7 no, .6 no, .5 yes, .1 no. F1 of 2 results 4/5, of 5 results 6/8.

    The threshold is between .8 and .7.
    """
    found = fit_threshold(SCORES, RELEVANT)
    assert found.threshold == pytest.approx(0.75)
    assert (found.precision, found.recall) == (1, pytest.approx(2 / 3))
    assert found.f1 == pytest.approx(0.8)
    assert (found.queries, found.pairs, found.relevant, found.kept) == (2, 6, 3, 2)


def test_equal_scores_are_kept_or_dropped_together():
    found = fit_threshold([[0.5, 0.5, 0.5, 0.2]], [[True, False, True, False]])
    assert found.threshold == pytest.approx(0.35)
    assert (found.kept, found.precision, found.recall) == (3, pytest.approx(2 / 3), 1)


def test_the_highest_of_equal_thresholds_is_chosen():
    """One of 1 and two of 3 results: F1 is 2/3 for both, of 2 relevant ones."""
    scores, relevant = [[4.0, 3.0, 2.0, 1.0]], [[True, False, False, True]]
    assert fit_threshold(scores, relevant).threshold == pytest.approx(3.5)


def test_a_threshold_may_keep_everything():
    found = fit_threshold([[3.0, 2.0]], [[True, True]])
    assert (found.threshold, found.kept) == (2.0, 2)


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_has_a_larger_f1(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 20, (30, 8)) / 7  # many are equal
    relevant = rng.random(scores.shape) < 0.1 + scores / 5
    found = fit_threshold(scores.tolist(), relevant.tolist(), resamples=10)

    def f1(threshold):
        kept = scores >= threshold
        return 2 * (kept & relevant).sum() / (kept.sum() + relevant.sum())

    assert found.f1 == pytest.approx(f1(found.threshold))
    assert found.f1 == pytest.approx(max(f1(each) for each in scores.ravel()))


def sampled(n, rng):
    """Queries whose relevant results score .7 on average, and others .4."""
    relevant = rng.random((n, 10)) < 0.3
    difficulty = rng.normal(0, 0.08, (n, 1))
    scores = np.where(relevant, 0.7, 0.4) + difficulty + rng.normal(0, 0.1, relevant.shape)
    return scores, relevant


def test_the_intervals_contain_what_new_queries_reach():
    """At 95 %, at least 34 of 40 intervals contain the value of new queries (binomial, 99.9 %)."""
    rng = np.random.default_rng(1)
    new_scores, new_relevant = sampled(20_000, rng)
    contained = 0
    for _ in range(40):
        scores, relevant = sampled(60, rng)
        found = fit_threshold(scores.tolist(), relevant.tolist(), resamples=200)
        kept = new_scores >= found.threshold
        precision = (kept & new_relevant).sum() / kept.sum()
        low, high = found.precision_interval
        contained += low <= precision <= high
    assert contained >= 34
    assert found.recall_interval.low < found.recall_interval.high
    assert found.threshold_interval.low <= found.threshold <= found.threshold_interval.high


def test_more_queries_make_shorter_intervals_and_one_query_the_longest():
    rng = np.random.default_rng(1)
    widths = []
    for n in (30, 1_000):
        scores, relevant = sampled(n, rng)
        found = fit_threshold(scores.tolist(), relevant.tolist(), resamples=200)
        widths.append(found.precision_interval.high - found.precision_interval.low)
    assert widths[1] < widths[0] / 2
    assert fit_threshold([[2.0, 1.0]], [[True, False]]).precision_interval == (0, 1)


def test_a_fitted_threshold_is_read_back():
    found = fit_threshold(SCORES, RELEVANT)
    assert ScoreThreshold.from_json(asdict(found)) == found


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        ([[1.0, 0.5]], [[False, False]], "none of the 2 results is labeled relevant"),
        ([[1.0, 0.5]], [[True]], "numbers of scores and of labels differ"),
        ([[1.0, float("nan")]], [[True, False]], "NaN or infinite"),
        ([], [], "none of the 0 results"),
    ],
)
def test_input_that_fits_no_threshold_is_refused(scores, relevant, message):
    with pytest.raises(InvalidArgument, match=message):
        fit_threshold(scores, relevant)


# Mapping


def test_a_mapped_threshold_keeps_the_same_share_by_hand():
    """3 of 6 old results reach .65, so the new threshold keeps 30, 28 and 21."""
    mapped = map_threshold(SCORES, [[30, 20, 11], [28, 21, 10]], 0.65)
    assert (mapped.old_share, mapped.new_share) == (0.5, 0.5)
    assert mapped.new == 20.5
    assert (mapped.old_results, mapped.new_results, mapped.full_queries) == (6, 6, 0)
    assert mapped.before is mapped.after is None


def test_precision_and_recall_before_and_after_by_hand():
    new, new_relevant = [[30, 20, 11], [28, 21, 10]], [[True, True, False], [False, True, False]]
    mapped = map_threshold(SCORES, new, 0.65, old_relevant=RELEVANT, new_relevant=new_relevant)
    assert mapped.before == (pytest.approx(2 / 3), pytest.approx(2 / 3))  # .9, .8 of .9, .8, .7
    assert mapped.after == (pytest.approx(2 / 3), pytest.approx(2 / 3))  # 30, 21 of 30, 28, 21


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.62, 0.8])
def test_a_monotone_change_of_the_scores_is_inverted(threshold):
    rng = np.random.default_rng(0)
    old = rng.random((50, 10))
    new = np.exp(3 * old) - 7
    mapped = map_threshold(old.tolist(), new.tolist(), threshold)
    assert ((new >= mapped.new) == (old >= threshold)).all()


def test_another_number_of_results_keeps_the_share():
    rng = np.random.default_rng(0)
    old, new = rng.random((50, 10)), rng.random((50, 20)) + 3
    mapped = map_threshold(old.tolist(), new.tolist(), 0.75)
    assert mapped.new_share == pytest.approx(mapped.old_share, abs=0.001)


def test_equal_new_scores_report_the_share_that_is_reached():
    mapped = map_threshold([[4.0, 3.0, 2.0, 1.0]], [[7.0, 7.0, 7.0, 1.0]], 3.5)
    assert (mapped.old_share, mapped.new, mapped.new_share) == (0.25, 4.0, 0.75)


def test_queries_that_may_have_more_results_are_counted():
    assert map_threshold([[0.9, 0.8], [0.9, 0.1], []], [[3, 2], [2, 1], []], 0.5).full_queries == 1


@pytest.mark.parametrize(
    ("threshold", "message"),
    [(0.95, "above all 6 old scores .highest: 0.9"), (0.1, "keeps all 6 old results .lowest: 0.1")],
)
def test_a_threshold_outside_of_the_scores_is_refused(threshold, message):
    with pytest.raises(InvalidArgument, match=message):
        map_threshold(SCORES, SCORES, threshold)


def test_unequal_input_is_refused():
    with pytest.raises(InvalidArgument, match="2 queries have old scores, and 1 new scores"):
        map_threshold(SCORES, SCORES[:1], 0.65)
    with pytest.raises(InvalidArgument, match="labels are needed for both"):
        map_threshold(SCORES, SCORES, 0.65, old_relevant=RELEVANT)
    with pytest.raises(InvalidArgument, match="returned no results"):
        map_threshold(SCORES, [[], []], 0.65)
