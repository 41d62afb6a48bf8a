"""One pass over blocks of vectors finds the exact answers, for each metric and filter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.engines.filters.where import Where
from nestvec.operate.exact import ExactSearch, LiveQueries, ScannedRows, score_one

DIM, CONDITIONS = 7, [Where.parse("a = 1"), Where.parse("b = 1")]


def expected(queries, vectors, metric):
    """Scores in float64, minus infinity for zero vectors."""
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    products = queries @ vectors.T
    if metric == "cosine":
        scale = np.linalg.norm(queries, axis=1)[:, None] * np.where(lengths > 0, lengths, 1)
        scores = products / scale
    elif metric == "ip":
        scores = products
    else:
        scores = 2 * products - lengths**2
    return np.where(lengths > 0, scores, -np.inf)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 90),
    k=st.integers(1, 20),
    block=st.integers(1, 40),
    metric=st.sampled_from(["cosine", "ip", "l2"]),
)
def test_blocks_of_any_size_give_the_answers_of_numpy(seed, n, k, block, metric):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, DIM)).astype(np.float32)
    vectors[rng.random(n) < 0.1] = 0
    matches = rng.random((n, 2)) < 0.5
    queries = rng.standard_normal((6, DIM)).astype(np.float32)
    groups = np.array([-1, 0, 1, -1, 0, 1])
    rows = np.sort(rng.choice(10 * n, n, replace=False))

    search = ExactSearch(LiveQueries(queries, CONDITIONS, groups), k, metric)
    for start in range(0, n, block):
        part = slice(start, start + block)
        search.add(ScannedRows(rows[part], vectors[part], matches[part]))
    found = search.result()

    scores = expected(queries, vectors, metric)
    for group in (0, 1):
        scores[np.ix_(groups == group, ~matches[:, group])] = -np.inf
    nonzero = vectors.any(axis=1)
    assert found.total == nonzero.sum()
    assert found.zeros == n - nonzero.sum()
    assert found.counts.tolist() == (matches & nonzero[:, None]).sum(axis=0).tolist()
    for query in range(len(queries)):
        n_answers = min(k, np.isfinite(scores[query]).sum())
        own = rows[np.argsort(-scores[query], kind="stable")][:n_answers]
        assert found.rows[query][: len(own)].tolist() == own.tolist()
        assert (found.rows[query][len(own) :] == -1).all()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_one_score_equals_that_of_the_pass(metric):
    rng = np.random.default_rng(0)
    vectors, queries = (rng.standard_normal((n, DIM)).astype(np.float32) for n in (1, 3))
    search = ExactSearch(LiveQueries(queries, [], np.full(3, -1)), 1, metric)
    search.add(ScannedRows(np.array([5]), vectors, np.empty((1, 0), dtype=bool)))
    own = [score_one(query, vectors[0], metric) for query in queries]
    np.testing.assert_allclose(search.result().scores[:, 0], own, atol=1e-6)


def test_lengths_tell_whether_all_metrics_agree():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    search = ExactSearch(LiveQueries(vectors[:1], [], np.array([-1])), 1, "ip")
    search.add(ScannedRows(np.arange(3), vectors, np.empty((3, 0), dtype=bool)))
    assert search.result().lengths == pytest.approx((1, 5))
