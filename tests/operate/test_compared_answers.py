"""Overlap with exact answers, worked by hand."""

import numpy as np
import pytest

from nestvec.operate.answers import ComparedResults, compare, without_own
from nestvec.operate.live.database import ExactAnswers

QUERY = np.array([[1.0, 0.0]], dtype=np.float32)


def answers(ids, scores):
    return ExactAnswers([ids], [scores], [], 9, 0, unit=True)


def test_overlap_counts_the_first_k_of_both():
    compared = ComparedResults([[0.9, 0.5, 0.7]], [[0.9, 0.8, 0.7]])
    assert compared.overlap(1).tolist() == [1.0]
    assert compared.overlap(2).tolist() == [0.5]
    assert compared.overlap(3).tolist() == pytest.approx([2 / 3])


def test_a_document_as_near_as_the_last_answer_counts():
    """Two equal documents: the search may return either."""
    exact = answers(["a", "b"], [0.9, 0.8])
    near = np.array([0.8, 0.6], dtype=np.float32)  # its cosine is .8, as that of b
    compared = compare([["a", "twin"]], exact, QUERY, "cosine", vectors=lambda _: {"twin": near})
    assert compared.overlap(2).tolist() == [1.0]


def test_equal_documents_do_not_count_twice():
    compared = ComparedResults([[0.8, 0.8, 0.8]], [[0.9, 0.8]])
    assert compared.overlap(2).tolist() == [1.0]
    assert ComparedResults([[0.8]], [[0.9, 0.8]]).overlap(2).tolist() == [0.5]


def test_a_deleted_document_is_no_answer():
    compared = compare([["a", "gone"]], answers(["a", "b"], [0.9, 0.8]), QUERY, "cosine",
                       vectors=lambda _: {})  # fmt: skip
    assert compared.overlap(2).tolist() == [0.5]


def test_fewer_documents_than_k():
    """Two documents match: both found is complete, one is half and short."""
    exact = [[0.9, 0.8]]
    assert ComparedResults([[0.9, 0.8]], exact).overlap(10).tolist() == [1.0]
    half = ComparedResults([[0.9]], exact)
    assert half.overlap(10).tolist() == [0.5]
    assert half.short(10).tolist() == [True]
    assert not half.short(1).any()


def test_a_query_without_answers_loses_nothing():
    assert ComparedResults([[]], [[]]).overlap(10).tolist() == [1.0]


def test_the_worst_queries_are_those_that_a_mean_hides():
    exact = [[1.0]] * 200
    found = [[1.0]] * 198 + [[0.0]] * 2
    at = ComparedResults(found, exact).at(1)
    assert (at.mean, at.worst) == (0.99, 0.0)
    assert 0.9 < at.at_least < 0.99


def test_a_document_does_not_answer_itself():
    exact = answers(["me", "a", "b"], [1.0, 0.9, 0.8])
    assert without_own(exact, ["me"], 2).ids == [["a", "b"]]
    assert without_own(exact, ["other"], 2).scores == [[1.0, 0.9]]
