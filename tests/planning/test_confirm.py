"""The order of the test: from safest to cheapest, one step for each size in memory."""

import numpy as np
import pytest

from nestvec.errors import InvalidArgument
from nestvec.planning.budget import Goal
from nestvec.planning.confirm import margins, sequence, split

GOAL = Goal("retention", "ndcg@10", 0.98)


def test_goes_from_the_safest_to_the_cheapest_without_dominated_rows():
    candidates = [(8, 0, 1), (16, 0, 1), (32, 0, 1), (64, 0, 1)]
    # The third is less safe than the second, which is cheaper.
    assert sequence(candidates, np.array([-2.0, 5.0, 4.0, 9.0])) == [3, 1, 0]


def test_retains_the_more_expensive_of_two_equally_safe_rows():
    """Otherwise one lost query in a small test would end the sequence at its first step."""
    assert sequence([(8, 0, 1), (16, 0, 1)], np.array([5.0, 5.0])) == [1, 0]


def test_least_disk_then_p95_break_a_tie_of_memory_among_safe_rows():
    candidates = [(8, 100, 1), (8, 50, 2), (8, 50, 1), (8, 10, 1)]
    assert sequence(candidates, np.array([9.0, 8.0, 7.0, 1.0])) == [2]


def test_the_safest_row_breaks_a_tie_of_memory_if_no_row_is_safe():
    assert sequence([(8, 100, 1), (8, 50, 1)], np.array([2.0, 1.0])) == [0]


def test_margins_count_a_loss_that_was_not_seen():
    full = np.ones(99)
    (few,) = margins(full[None, :9], full[:9], GOAL)
    (many,) = margins(full[None], full, GOAL)
    # By hand: 99 differences of 0.02 and one of -0.98: mean 0.01, deviation sqrt(0.0099).
    assert many == pytest.approx(0.01 / (np.sqrt(0.0099) / 10))
    assert few < 0 < many


def test_every_query_is_in_exactly_one_half():
    ordering, testing = split(np.ones(101), seed=0)
    assert sorted([*ordering, *testing]) == list(range(101))
    assert (len(ordering), len(testing)) == (50, 51)


def test_a_half_on_which_full_precision_scores_zero_is_rejected():
    with pytest.raises(InvalidArgument, match="retention is undefined"):
        split(np.eye(1, 40)[0], seed=0)
