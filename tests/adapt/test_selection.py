"""What held-out vectors say, and what is taken for it."""

import numpy as np
import pytest

from nestvec.adapt.sample import Parted, Sample, part
from nestvec.adapt.selection import HeldOutScores, Yardstick, choose
from nestvec.codec.prefix import prefix
from nestvec.models.adapter import Head

IDENTITY = Head(np.eye(16, dtype=np.float32))


@pytest.fixture
def parted(hidden_order):
    documents, _ = hidden_order
    queries = np.concatenate(
        [documents + np.float32(step) for step in (0.03, 0.05, 0.07, 0.09, 0.11)]
    )
    return part(Sample(documents, prefix(queries, 16)), seed=0)


def test_without_labels_it_is_whether_the_nearest_is_still_found(parted):
    held = parted.held_out
    yardstick = Yardstick.of(parted)
    exact = np.argmax(held.queries @ held.documents.T, axis=1)
    cut = np.argsort(-prefix(held.queries, 4) @ prefix(held.documents, 4).T)[:, :10]
    there = [float(one in rows) for one, rows in zip(exact, cut, strict=True)]
    assert 0 < np.mean(there) < 1
    found = yardstick.measure(None, None, [4, 16])
    assert yardstick.metric == "nearest@10"
    assert found.judged is None
    np.testing.assert_array_equal(found.nearest, [there, np.ones(len(there))])
    again = yardstick.measure(IDENTITY, IDENTITY, [4, 16])
    np.testing.assert_array_equal(again.nearest, found.nearest)


def test_no_document_finds_itself(hidden_order):
    documents, _ = hidden_order
    parted = part(Sample(documents, documents[:0]), seed=0)
    yardstick = Yardstick.of(parted)
    assert not (yardstick.exact == parted.asking).any()


def test_documents_ask_for_the_nearest_where_labeled_queries_are_few(hidden_order):
    documents, queries = hidden_order
    positives = tuple(np.array([row]) for row in range(len(queries)))
    parted = part(Sample(documents, queries, positives), seed=0)
    found = Yardstick.of(parted).measure(None, None, [4, 16])
    assert found.nearest.shape == (2, len(parted.held_out.documents))
    assert found.judged.shape == (2, len(parted.held_out.queries))


def test_with_labels_it_is_ndcg():
    documents = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 0.5, 0, 0], [0, 0.5, 1, 0]], dtype=np.float32)
    held = Sample(documents, queries, (np.array([0]), np.array([1])))
    yardstick = Yardstick.of(Parted(held, held, None))
    found = yardstick.measure(None, None, [4])
    assert yardstick.metric == "ndcg@10"
    np.testing.assert_allclose(found.judged, [[1, 1 / np.log2(3)]])
    assert found.said is found.judged


def scores(narrow, full=1.0, n=400):
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, n)
    return np.array([np.clip(narrow + noise, 0, 1), np.clip(narrow + 0.1 + noise, 0, 1),
                     np.full(n, full)])  # fmt: skip


def nearest(*asked, **more):
    return HeldOutScores(scores(*asked, **more), None)


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        ({"svd": 0.5}, "none"),  # equal to cutting
        ({"svd": 0.4}, "none"),
        ({"svd": 0.6}, "svd"),
        ({"svd": 0.6, "linear": 0.6}, "linear"),  # the stronger of equals
        ({"svd": 0.6, "linear": 0.7}, "linear"),
        ({"svd": 0.7, "linear": 0.6}, "svd"),
    ],
)
def test_the_strongest_is_taken_that_is_not_surely_worse_than_a_cheaper_one(found, taken):
    measured = {"none": nearest(0.5)} | {name: nearest(value) for name, value in found.items()}
    assert choose(measured, seed=0) == taken


@pytest.mark.parametrize(("gain", "taken"), [(0.0, "linear"), (0.1, "linear, labels")])
def test_what_learnt_from_labels_must_be_surely_better(gain, taken):
    measured = {"none": nearest(0.5), "linear": nearest(0.6), "linear, labels": nearest(0.6 + gain)}
    assert choose(measured, of_labels={"linear, labels"}, seed=0) == taken


def test_what_is_worse_at_one_dim_is_not_taken_for_what_it_gains_at_another():
    better = scores(0.8)
    better[1] = scores(0.5)[1] - 0.02
    assert choose({"none": nearest(0.5), "svd": HeldOutScores(better, None)}, seed=0) == "none"


@pytest.mark.parametrize(("full", "taken"), [(0.98, "none"), (0.995, "svd")])
def test_the_full_width_may_not_be_lost(full, taken):
    assert choose({"none": nearest(0.5), "svd": nearest(0.8, full=full)}, seed=0) == taken


def judged(narrow, gain, n):
    """Like ``scores``, one dim gaining so little that few queries cannot tell."""
    spread = np.random.default_rng(1).uniform(-0.3, 0.3, n)
    return np.array([scores(narrow, n=n)[0], np.clip(0.5 + gain * np.sign(spread), 0, 1),
                     np.ones(n)])  # fmt: skip


def test_where_labels_cannot_tell_the_nearest_decide():
    n = 60
    cut = judged(0.5, 0, n)
    ours = judged(0.7, 0.1, n)  # half of the queries gain at the second dim, half lose
    kept, lost = scores(0.6, n=n), scores(0.6, n=n)
    lost[1] = scores(0.5, n=n)[1] - 0.05
    measured = {"none": HeldOutScores(scores(0.5, n=n), cut)}
    assert choose(measured | {"svd": HeldOutScores(kept, ours)}, seed=0) == "svd"
    assert choose(measured | {"svd": HeldOutScores(lost, ours)}, seed=0) == "none"


def test_labels_overrule_what_the_nearest_say():
    worse = scores(0.8)
    worse[1] = scores(0.5)[1] - 0.03
    measured = {"none": HeldOutScores(scores(0.5), scores(0.5))}
    assert choose(measured | {"svd": HeldOutScores(scores(0.8), worse)}, seed=0) == "none"
    assert choose(measured | {"svd": HeldOutScores(worse, scores(0.8))}, seed=0) == "svd"


def test_few_queries_show_nothing():
    few = {"none": nearest(0.5, n=4), "svd": nearest(0.55, n=4)}
    assert choose(few, seed=0) == "none"
