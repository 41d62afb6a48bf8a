"""The best rows of a score matrix equal those of a stable sort, also with many ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nestvec.metrics.ranking import TopRows, best, order

FEW_DISTINCT = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0])


def reference(scores, k):
    rows = np.array([sorted(range(len(s)), key=lambda i, s=s: (-s[i], i))[:k] for s in scores])
    return np.take_along_axis(scores, rows, axis=1), rows


@settings(deadline=None)  # FAISS's threads may wait for each other
@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FEW_DISTINCT),
    st.integers(1, 45),
)
def test_best_equals_a_stable_sort_with_many_ties(scores, k):
    expected_scores, expected_rows = reference(scores, k)
    found_scores, found_rows = best(scores, k)
    np.testing.assert_array_equal(found_rows, expected_rows)
    np.testing.assert_array_equal(found_scores, expected_scores)


@settings(deadline=None)  # FAISS's threads may wait for each other
@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FEW_DISTINCT),
    st.integers(1, 45),
    st.integers(1, 15),
)
def test_best_of_blocks_equals_a_stable_sort_of_all_with_many_ties(scores, k, size):
    so_far = None
    for first in range(0, scores.shape[1], size):
        block = np.ascontiguousarray(scores[:, first : first + size])
        so_far = best(block, k, first_row=first, so_far=so_far)
    expected_scores, expected_rows = reference(scores, k)
    np.testing.assert_array_equal(so_far.rows, expected_rows)
    np.testing.assert_array_equal(so_far.scores, expected_scores)


@settings(deadline=None)  # FAISS's threads may wait for each other
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 30)),
        elements=st.floats(-1024, 1024, width=32),
    ),
    st.integers(1, 35),
)
def test_best_equals_a_stable_sort_on_any_scores(scores, k):
    expected_scores, expected_rows = reference(scores, k)
    found_scores, found_rows = best(scores, k)
    np.testing.assert_array_equal(found_rows, expected_rows)
    np.testing.assert_array_equal(found_scores, expected_scores)


@settings(deadline=None)  # FAISS's threads may wait for each other
@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.integers(1, 8))
def test_rare_high_scores_of_large_blocks_are_found_with_ties(seed, distinct, k):
    scores = np.random.default_rng(seed).integers(0, distinct, (3, 700)).astype(np.float32)
    rows = np.arange(0, 2100, 3)
    top = TopRows(3, k)
    for start in range(0, 700, 150):
        block = np.ascontiguousarray(scores[:, start : start + 150])
        top.add(block, rows[start : start + 150])
    expected_scores, expected_places = reference(scores, k)
    found_scores, found_rows = top.ranked()
    np.testing.assert_array_equal(found_rows, rows[expected_places])
    np.testing.assert_array_equal(found_scores, expected_scores)


@pytest.mark.parametrize("k", [1, 10, 99, 100, 5000, 6000])
def test_of_rows_tied_at_rank_k_the_first_are_returned(k):
    scores = np.zeros((2, 5000), dtype=np.float32)
    scores[0, 4000:4050] = 1
    scores[1, ::2] = 2
    expected_scores, expected_rows = reference(scores, k)
    found_scores, found_rows = best(scores, k)
    np.testing.assert_array_equal(found_rows, expected_rows)
    np.testing.assert_array_equal(found_scores, expected_scores)


def test_best_does_not_change_its_input():
    scores = np.random.default_rng(0).integers(0, 3, (3, 50)).astype(np.float32)
    before = scores.copy()
    best(scores, 7)
    np.testing.assert_array_equal(scores, before)


def test_best_of_no_queries_is_empty():
    scores, rows = best(np.empty((0, 9), np.float32), 3)
    assert scores.shape == rows.shape == (0, 3)


@settings(deadline=None)  # FAISS's threads may wait for each other
@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 20)), elements=FEW_DISTINCT),
    st.randoms(use_true_random=False),
)
def test_order_sorts_candidates_by_score_then_row(scores, random):
    rows = np.array([random.sample(range(1000), scores.shape[1]) for _ in scores])
    before = scores.copy(), rows.copy()
    found_scores, found_rows = order(scores, rows)
    for line in range(len(scores)):
        pairs = sorted(zip(-scores[line], rows[line], strict=True))
        np.testing.assert_array_equal(found_scores[line], [-score for score, _ in pairs])
        np.testing.assert_array_equal(found_rows[line], [row for _, row in pairs])
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(rows, before[1])


def test_one_row_is_the_best():
    scores, rows = best(np.array([[-3.5]], dtype=np.float32), 10)
    assert scores.tolist() == [[-3.5]]
    assert rows.tolist() == [[0]]
