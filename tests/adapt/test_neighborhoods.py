"""Batches of near vectors and losses, checked against the codec, by hand and by properties."""

import math

import numpy as np
import pytest
import torch

from nestvec.adapt.neighborhoods import (
    DistillationTarget,
    Neighborhoods,
    contrastive_loss,
    distillation_loss,
    prefix_similarities,
)
from nestvec.adapt.sample import Sample
from nestvec.codec.prefix import prefix

RNG = np.random.default_rng(0)


def vectors(n):
    return torch.from_numpy(prefix(RNG.standard_normal((n, 16)).astype(np.float32), 16))


def test_similarities_are_those_of_the_prefixes():
    anchors, candidates = vectors(5), vectors(9)
    found = prefix_similarities(anchors, candidates, [4, 8, 16])
    for dim, each in zip([4, 8, 16], found, strict=True):
        expected = prefix(anchors.numpy(), dim) @ prefix(candidates.numpy(), dim).T
        np.testing.assert_allclose(each.numpy(), expected, atol=1e-5)


def test_the_distillation_loss_is_zero_at_the_target_and_positive_elsewhere():
    anchors, candidates = vectors(5), vectors(9)
    target = DistillationTarget.of(anchors, candidates, 0.1)
    same = anchors @ candidates.T
    assert float(distillation_loss(same, target, torch.tensor(1.0))) == pytest.approx(0, abs=1e-5)
    assert float(distillation_loss(same, target, torch.tensor(0.5))) > 0.01
    assert float(distillation_loss(-same, target, torch.tensor(1.0))) > 0.1


def test_an_anchor_is_not_its_own_target():
    candidates = vectors(9)
    target = DistillationTarget.of(candidates[:3], candidates, 0.1)
    assert target.is_self.nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not target.probabilities[target.is_self].any()


def test_the_contrastive_loss_by_hand():
    # Two of three candidates are relevant, at temperature 1: -log((e^1 + e^0) / (e^1 + e^0 + e^0)).
    # The second query has no relevant candidate and does not count.
    similarities = torch.tensor([[1.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    positives = torch.tensor([[True, True, False], [False, False, False]])
    expected = -math.log((math.e + 1) / (math.e + 2))
    assert float(contrastive_loss(similarities, positives, 1.0)) == pytest.approx(
        expected, rel=1e-5
    )


def sample(hidden_order, *, labeled):
    documents, queries = hidden_order
    positives = tuple(np.array([row]) for row in range(len(queries))) if labeled else None
    return Sample(documents, queries, positives)


def test_a_batch_contains_the_nearest_of_its_seeds(hidden_order):
    documents, _ = hidden_order
    batch = Neighborhoods(Sample(documents, documents[:0]), 64, seed=0).draw()
    known = {row.tobytes(): number for number, row in enumerate(documents)}
    rows = [known[row.tobytes()] for row in batch.candidates.numpy()]
    scores = documents @ documents.T
    # One seed with its 64 nearest documents, including itself.
    assert any(set(np.argsort(-scores[row])[:64]) == set(rows) for row in rows)
    assert (batch.n_queries, batch.positives, len(batch.anchors)) == (0, None, 16)


def test_queries_are_anchors_and_their_positives_are_candidates(hidden_order):
    batch = Neighborhoods(sample(hidden_order, labeled=True), 256, seed=0).draw()
    assert batch.n_queries == 8
    assert batch.positives.any(dim=1).all()
    queries = batch.anchors[-batch.n_queries :].numpy()
    documents, all_queries = hidden_order
    known = {row.tobytes(): number for number, row in enumerate(all_queries)}
    for query, positives in zip(queries, batch.positives, strict=True):
        (answer,) = batch.candidates[positives].numpy()
        np.testing.assert_array_equal(answer, documents[known[query.tobytes()]])
