"""Scores on held-out vectors, and the choice of an adapter by them."""

import numpy as np
import pytest

from nestvec.adapt.sample import HeldOutSplit, Sample, split_sample
from nestvec.adapt.selection import HeldOutEvaluator, HeldOutScores, choose
from nestvec.codec.prefix import prefix
from nestvec.models.adapter import Head

IDENTITY = Head(np.eye(16, dtype=np.float32))


@pytest.fixture
def split(hidden_order):
    documents, _ = hidden_order
    queries = np.concatenate(
        [documents + np.float32(step) for step in (0.03, 0.05, 0.07, 0.09, 0.11)]
    )
    return split_sample(Sample(documents, prefix(queries, 16)), seed=0)


def test_without_labels_the_metric_is_whether_the_nearest_is_found(split):
    held = split.held_out
    evaluator = HeldOutEvaluator.of(split)
    exact = np.argmax(held.queries @ held.documents.T, axis=1)
    truncated = np.argsort(-prefix(held.queries, 4) @ prefix(held.documents, 4).T)[:, :10]
    there = [float(one in rows) for one, rows in zip(exact, truncated, strict=True)]
    assert 0 < np.mean(there) < 1
    found = evaluator.measure(None, None, [4, 16])
    assert evaluator.metric == "nearest@10"
    assert found.ndcg is None
    np.testing.assert_array_equal(found.nearest, [there, np.ones(len(there))])
    again = evaluator.measure(IDENTITY, IDENTITY, [4, 16])
    np.testing.assert_array_equal(again.nearest, found.nearest)


def test_no_document_finds_itself(hidden_order):
    documents, _ = hidden_order
    split = split_sample(Sample(documents, documents[:0]), seed=0)
    evaluator = HeldOutEvaluator.of(split)
    assert not (evaluator.nearest == split.document_queries).any()


def test_documents_are_used_as_queries_if_labeled_queries_are_few(hidden_order):
    documents, queries = hidden_order
    positives = tuple(np.array([row]) for row in range(len(queries)))
    split = split_sample(Sample(documents, queries, positives), seed=0)
    found = HeldOutEvaluator.of(split).measure(None, None, [4, 16])
    assert found.nearest.shape == (2, len(split.held_out.documents))
    assert found.ndcg.shape == (2, len(split.held_out.queries))


def test_with_labels_the_metric_is_ndcg():
    documents = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 0.5, 0, 0], [0, 0.5, 1, 0]], dtype=np.float32)
    held = Sample(documents, queries, (np.array([0]), np.array([1])))
    evaluator = HeldOutEvaluator.of(HeldOutSplit(held, held, None))
    found = evaluator.measure(None, None, [4])
    assert evaluator.metric == "ndcg@10"
    np.testing.assert_allclose(found.ndcg, [[1, 1 / np.log2(3)]])
    assert found.primary is found.ndcg


def scores(narrow, full=1.0, n=400):
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, n)
    return np.array([np.clip(narrow + noise, 0, 1), np.clip(narrow + 0.1 + noise, 0, 1),
                     np.full(n, full)])  # fmt: skip


def nearest(*args, **kwargs):
    return HeldOutScores(scores(*args, **kwargs), None)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ({"svd": 0.5}, "none"),  # equal to truncation
        ({"svd": 0.4}, "none"),
        ({"svd": 0.6}, "svd"),
        ({"svd": 0.6, "linear": 0.6}, "linear"),  # the stronger of equals
        ({"svd": 0.6, "linear": 0.7}, "linear"),
        ({"svd": 0.7, "linear": 0.6}, "svd"),
    ],
)
def test_the_strongest_is_chosen_that_is_not_significantly_worse_than_a_cheaper_one(found, chosen):
    measured = {"none": nearest(0.5)} | {name: nearest(value) for name, value in found.items()}
    assert choose(measured, seed=0) == chosen


@pytest.mark.parametrize(("gain", "chosen"), [(0.0, "linear"), (0.1, "linear, labels")])
def test_an_adapter_fitted_on_labels_must_be_significantly_better(gain, chosen):
    measured = {"none": nearest(0.5), "linear": nearest(0.6), "linear, labels": nearest(0.6 + gain)}
    assert choose(measured, label_fitted={"linear, labels"}, seed=0) == chosen


def test_a_gain_at_one_dim_does_not_outweigh_a_loss_at_another():
    better = scores(0.8)
    better[1] = scores(0.5)[1] - 0.02
    assert choose({"none": nearest(0.5), "svd": HeldOutScores(better, None)}, seed=0) == "none"


@pytest.mark.parametrize(("full", "chosen"), [(0.98, "none"), (0.995, "svd")])
def test_the_full_width_may_not_lose(full, chosen):
    assert choose({"none": nearest(0.5), "svd": nearest(0.8, full=full)}, seed=0) == chosen


def ndcg_scores(narrow, gain, n):
    """Like ``scores``, with a gain at one dim that is not significant for few queries."""
    spread = np.random.default_rng(1).uniform(-0.3, 0.3, n)
    return np.array([scores(narrow, n=n)[0], np.clip(0.5 + gain * np.sign(spread), 0, 1),
                     np.ones(n)])  # fmt: skip


def test_nearest_decides_if_the_difference_of_ndcg_is_not_significant():
    n = 60
    truncated = ndcg_scores(0.5, 0, n)
    adapted = ndcg_scores(0.7, 0.1, n)  # half of the queries gain at the second dim, half lose
    better, worse = scores(0.6, n=n), scores(0.6, n=n)
    worse[1] = scores(0.5, n=n)[1] - 0.05
    measured = {"none": HeldOutScores(scores(0.5, n=n), truncated)}
    assert choose(measured | {"svd": HeldOutScores(better, adapted)}, seed=0) == "svd"
    assert choose(measured | {"svd": HeldOutScores(worse, adapted)}, seed=0) == "none"


def test_ndcg_overrules_nearest():
    worse = scores(0.8)
    worse[1] = scores(0.5)[1] - 0.03
    measured = {"none": HeldOutScores(scores(0.5), scores(0.5))}
    assert choose(measured | {"svd": HeldOutScores(scores(0.8), worse)}, seed=0) == "none"
    assert choose(measured | {"svd": HeldOutScores(worse, scores(0.8))}, seed=0) == "svd"


def test_a_difference_on_few_queries_is_not_significant():
    few = {"none": nearest(0.5, n=4), "svd": nearest(0.55, n=4)}
    assert choose(few, seed=0) == "none"
