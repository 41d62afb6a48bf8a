"""What held-out vectors say, and what is taken for it."""

import numpy as np
import pytest

from nestvec.adapt.adaptor import Head
from nestvec.adapt.choosing import choose
from nestvec.adapt.measuring import Yardstick
from nestvec.adapt.sample import Parted, Sample, part
from nestvec.prefix import prefix

IDENTITY = Head(np.eye(16, dtype=np.float32))


@pytest.fixture
def parted(hidden_order):
    documents, _ = hidden_order
    return part(Sample(documents, prefix(documents[:500] + np.float32(0.05), 16)), seed=0)


def test_without_labels_it_is_the_share_of_the_top_10_that_stays(parted):
    held = parted.held_out
    yardstick = Yardstick.of(parted)
    exact = np.argsort(-held.queries @ held.documents.T)[:, :10]
    cut = np.argsort(-prefix(held.queries, 4) @ prefix(held.documents, 4).T)[:, :10]
    shares = [len({*one} & {*other}) / 10 for one, other in zip(exact, cut, strict=True)]
    found = yardstick.measure(None, None, [4, 16])
    assert yardstick.metric == "overlap@10"
    np.testing.assert_allclose(found, [shares, np.ones(len(shares))])
    np.testing.assert_allclose(yardstick.measure(IDENTITY, IDENTITY, [4, 16]), found)


def test_no_document_finds_itself(hidden_order):
    documents, _ = hidden_order
    parted = part(Sample(documents, documents[:0]), seed=0)
    yardstick = Yardstick.of(parted)
    assert not (yardstick.exact == parted.own_rows[:, None]).any()


def test_with_labels_it_is_ndcg():
    documents = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 0.5, 0, 0], [0, 0.5, 1, 0]], dtype=np.float32)
    held = Sample(documents, queries, (np.array([0]), np.array([1])))
    yardstick = Yardstick.of(Parted(held, held, None))
    found = yardstick.measure(None, None, [4])
    assert yardstick.metric == "ndcg@10"
    np.testing.assert_allclose(found, [[1, 1 / np.log2(3)]])


def scores(narrow, full=1.0, n=400):
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, n)
    return np.array([np.clip(narrow + noise, 0, 1), np.clip(narrow + 0.1 + noise, 0, 1),
                     np.full(n, full)])  # fmt: skip


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        ({"svd": 0.5}, "none"),  # equal
        ({"svd": 0.4}, "none"),
        ({"svd": 0.6}, "svd"),
        ({"svd": 0.6, "linear": 0.6}, "svd"),  # the cheaper of equals
        ({"svd": 0.6, "linear": 0.7}, "linear"),
        ({"svd": 0.7, "linear": 0.6}, "svd"),
    ],
)
def test_the_cheapest_is_taken_that_no_other_is_surely_better_than(found, taken):
    measured = {"none": scores(0.5)} | {name: scores(value) for name, value in found.items()}
    assert choose(measured, "overlap@10", seed=0) == taken


def test_what_is_worse_at_one_dim_is_not_taken_for_what_it_gains_at_another():
    better = scores(0.8)
    better[1] = scores(0.5)[1] - 0.02
    assert choose({"none": scores(0.5), "svd": better}, "ndcg@10", seed=0) == "none"


@pytest.mark.parametrize(("metric", "taken"), [("ndcg@10", "none"), ("overlap@10", "svd")])
def test_relevance_at_full_width_may_not_be_lost(metric, taken):
    measured = {"none": scores(0.5), "svd": scores(0.8, full=0.95)}
    assert choose(measured, metric, seed=0) == taken


def test_few_queries_show_nothing():
    few = {"none": scores(0.5, n=4), "svd": scores(0.55, n=4)}
    assert choose(few, "overlap@10", seed=0) == "none"
