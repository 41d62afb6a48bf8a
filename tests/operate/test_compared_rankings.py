"""Changes of rankings: by hand, against a plain formula, and by property."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.operate.compared_rankings import compare_rankings

IDS = [f"d{number}" for number in range(20)]


def compare_one(old, new, k, **only):
    (changes,) = compare_rankings([old], [new], k, **only)
    return changes


def plain_rbo(old, new, p=0.9):
    """Webber et al. (2010), eq. 23, for two lists of the same length."""
    k = len(old)
    shared = [len({*old[:d]} & {*new[:d]}) for d in range(1, k + 1)]
    weighted = sum(x / d * p**d for d, x in enumerate(shared, 1))
    return shared[-1] / k * p**k + (1 - p) / p * weighted


def test_overlap_moves_and_rbo_of_a_ranking_by_hand():
    found = compare_one(["a", "b", "c", "d"], ["c", "a", "x", "d"], 4)
    assert found.overlap == 0.75  # a, c and d
    assert (found.entered, found.left) == (1, 1)  # x and b
    assert (found.moved, found.largest_move) == (2, 2)  # a by 1, c by 2; d stays
    assert found.rbo == pytest.approx(plain_rbo("abcd", "caxd"))
    assert not found.identical


@given(st.permutations(IDS), st.permutations(IDS), st.integers(1, 12))
def test_any_two_rankings_agree_with_a_plain_computation(old, new, k):
    found = compare_one(old, new, k)
    common = {*old[:k]} & {*new[:k]}
    assert found.overlap == pytest.approx(len(common) / k)
    assert found.rbo == pytest.approx(plain_rbo(old[:k], new[:k]))
    assert found.entered == found.left == k - len(common)
    moves = [abs(old.index(each) - new.index(each)) for each in common]
    assert found.moved == sum(move > 0 for move in moves)
    assert found.largest_move == max(moves, default=0)


@given(st.permutations(IDS), st.sets(st.sampled_from(IDS)), st.sets(st.sampled_from(IDS)))
def test_documents_that_one_side_lacks_are_no_changes_of_the_ranking(ranking, lacks, extra):
    k = 8
    old = [id_ for id_ in ranking if id_ not in extra][:k]
    new = [id_ for id_ in ranking if id_ not in lacks][:k]
    only_old, only_new = lacks - extra, extra - lacks
    found = compare_one(old, new, k, only_old=only_old, only_new=only_new)
    assert (found.entered, found.left, found.moved) == (0, 0, 0)
    assert found.only_old == len({*old} & only_old)
    assert found.only_new == len({*new} & only_new)
    assert found.overlap in (None, 1)
    if len(old) == len(new) == k:
        compared = k - max(found.only_old, found.only_new)
        assert (found.overlap is None) == (compared == 0)


def test_a_real_change_is_found_among_missing_documents():
    found = compare_one(["gone", "a", "b", "c"], ["b", "x", "c", "d"], 4, only_old={"gone"})
    assert found.only_old == 1
    assert found.overlap == pytest.approx(2 / 3)  # a, b, c became b, x, c
    assert (found.entered, found.left, found.moved) == (1, 1, 1)


def test_short_lists_count_as_losses_and_two_empty_lists_as_equal():
    assert compare_one(["a", "b"], ["a"], 2).overlap == 0.5
    filled = compare_one(["a"], ["a", "b"], 2)
    assert (filled.overlap, filled.entered, filled.identical) == (1, 1, False)
    assert compare_one([], ["a"], 2).overlap == 0
    empty = compare_one([], [], 2)
    assert (empty.overlap, empty.rbo, empty.identical) == (1, 1, True)
    assert math.isclose(compare_one(["a", "b"], ["b", "a"], 2).overlap, 1)


def test_a_query_whose_results_are_all_missing_is_not_compared():
    found = compare_one(["a", "b"], ["c", "d"], 2, only_old={"a", "b"})
    assert (found.overlap, found.rbo, found.only_old) == (None, None, 2)
