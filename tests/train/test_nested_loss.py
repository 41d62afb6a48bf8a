"""The nested loss and its gradients: the formula's own, by autograd, and Sentence Transformers'."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.train import nested
from nestvec.train.nested import nested_ranking_loss

DIMS, WEIGHTS = (4, 7, 16), (0.3, 2.0, 1.0)


def vectors(n, *, seed=0, dim=16, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.randn(n, dim, generator=generator, dtype=dtype) * 3
    noise = torch.randn(n, dim, generator=generator, dtype=dtype)
    return anchors, anchors * 0.5 + noise


def formula(anchors, positives, dims, weights, scale):
    """Return the losses and the gradients of their weighted sum, by autograd of the definition."""
    anchors, positives = (side.clone().requires_grad_() for side in (anchors, positives))
    each = []
    for dim in dims:
        a, b = (side[:, :dim] / side[:, :dim].norm(dim=1)[:, None] for side in (anchors, positives))
        similarities = scale * a @ b.T
        each.append((similarities.logsumexp(1) - similarities.diagonal()).mean())
    sum(weight * loss for weight, loss in zip(weights, each, strict=True)).backward()
    return torch.stack(each).detach(), anchors.grad, positives.grad


@pytest.mark.parametrize("n", [1, 2, 9, 40])
@pytest.mark.parametrize(("dims", "weights"), [(DIMS, WEIGHTS), ((16,), (1.0,)), ((5,), (3.0,))])
def test_losses_and_gradients_are_the_formulas(n, dims, weights):
    anchors, positives = vectors(n)
    found = nested_ranking_loss(anchors, positives, dims=dims, weights=weights, scale=20.0)
    expected = formula(anchors, positives, dims, weights, 20.0)
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, msg=name)


def test_weights_are_one_each_where_none_are_given():
    anchors, positives = vectors(9)
    found = nested_ranking_loss(anchors, positives, dims=DIMS)
    expected = formula(anchors, positives, DIMS, (1, 1, 1), 20.0)
    torch.testing.assert_close(found.anchors, expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_the_chunk_size_changes_nothing(monkeypatch, chunk):
    anchors, positives = vectors(40)
    whole = nested_ranking_loss(anchors, positives, dims=DIMS, weights=WEIGHTS)
    monkeypatch.setattr(nested, "_CHUNK", chunk)
    parts = nested_ranking_loss(anchors, positives, dims=DIMS, weights=WEIGHTS)
    for ours, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_dimensions_beyond_the_widest_prefix_get_no_gradient():
    anchors, positives = vectors(9)
    found = nested_ranking_loss(anchors, positives, dims=(4, 7))
    assert found.anchors[:, :7].abs().min() > 0
    assert not found.anchors[:, 7:].any()
    assert not found.positives[:, 7:].any()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_it_equals_matryoshka_loss_of_sentence_transformers(weights):
    """Each word is one token, so that a text's vector, and its gradient, is a row of the table."""
    n = 12
    words = {f"w{number}": number for number in range(2 * n)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    anchors, positives = vectors(n, dtype=torch.float32)
    table = torch.cat([anchors, positives])
    module = StaticEmbedding(tokenizer, embedding_weights=table.numpy())
    model = SentenceTransformer(modules=[module], device="cpu")
    inner = losses.MultipleNegativesRankingLoss(model)
    outer = losses.MatryoshkaLoss(
        model, inner, matryoshka_dims=list(DIMS), matryoshka_weights=weights
    )
    texts = list(words)
    features = [model.preprocess(side) for side in (texts[:n], texts[n:])]
    loss = outer(features, labels=None)
    loss.backward()

    found = nested_ranking_loss(anchors, positives, dims=DIMS, weights=weights)
    weighted = (found.losses * torch.tensor(weights or (1.0, 1.0, 1.0))).sum()
    torch.testing.assert_close(weighted, loss.detach(), rtol=1e-5, atol=0)
    gradient = torch.cat([found.anchors, found.positives])
    theirs = module.embedding.weight.grad
    torch.testing.assert_close(gradient, theirs, rtol=1e-5, atol=1e-6)


def test_zero_vectors_give_finite_numbers_and_leave_the_others_alone():
    anchors, positives = vectors(9, dtype=torch.float32)
    anchors[2] = 0
    positives[5, :7] = 0  # the narrow prefixes only
    positives[7] = 0
    found = nested_ranking_loss(anchors, positives, dims=DIMS)
    assert all(torch.isfinite(each).all() for each in found)
    others = [row for row in range(9) if row != 2]
    assert found.anchors[others].abs().max() < 100


def test_a_chance_too_small_for_float32_is_a_large_loss_not_an_infinite_one():
    anchors, _ = vectors(8, dtype=torch.float32)
    found = nested_ranking_loss(anchors, -anchors, dims=(4, 16), scale=200.0)
    expected = formula(anchors.double(), -anchors.double(), (4, 16), (1, 1), 200.0)
    torch.testing.assert_close(found.losses.double(), expected[0], rtol=1e-5, atol=0)
