"""The nested loss and its gradients equal those of the formula by autograd."""

import pytest
import torch

from nestvec.errors import InvalidArgument
from nestvec.train import nested
from nestvec.train.nested import nested_ranking_loss
from nestvec.train.objective import Prefixes, Ranking, Relations

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
def test_losses_and_gradients_equal_the_formula(n, dims, weights):
    anchors, positives = vectors(n)
    found = nested_ranking_loss(anchors, positives, Prefixes(dims, weights))
    expected = formula(anchors, positives, dims, weights, 20.0)
    for name, actual, reference in zip(found._fields, found, expected, strict=True):
        torch.testing.assert_close(actual, reference, rtol=1e-12, atol=1e-12, msg=name)


def test_default_weights_are_one():
    anchors, positives = vectors(9)
    found = nested_ranking_loss(anchors, positives, Prefixes(DIMS))
    expected = formula(anchors, positives, DIMS, (1, 1, 1), 20.0)
    torch.testing.assert_close(found.anchors, expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_the_chunk_size_has_no_effect(monkeypatch, chunk):
    anchors, positives = vectors(40)
    whole = nested_ranking_loss(anchors, positives, Prefixes(DIMS, WEIGHTS))
    monkeypatch.setattr(nested, "_CHUNK_ITEMS", 0)
    monkeypatch.setattr(nested, "_MIN_CHUNK", chunk)
    parts = nested_ranking_loss(anchors, positives, Prefixes(DIMS, WEIGHTS))
    for actual, reference in zip(parts, whole, strict=True):
        torch.testing.assert_close(actual, reference, rtol=1e-12, atol=1e-12)


def test_dimensions_beyond_the_widest_prefix_get_no_gradient():
    anchors, positives = vectors(9)
    found = nested_ranking_loss(anchors, positives, Prefixes((4, 7)))
    assert found.anchors[:, :7].abs().min() > 0
    assert not found.anchors[:, 7:].any()
    assert not found.candidates[:, 7:].any()


def test_zero_vectors_give_finite_values_and_do_not_affect_others():
    anchors, positives = vectors(9, dtype=torch.float32)
    anchors[2] = 0
    positives[5, :7] = 0  # the narrow prefixes only
    positives[7] = 0
    found = nested_ranking_loss(anchors, positives, Prefixes(DIMS))
    assert all(torch.isfinite(each).all() for each in found)
    others = [row for row in range(9) if row != 2]
    assert found.anchors[others].abs().max() < 100


def test_a_probability_too_small_for_float32_gives_a_finite_loss():
    anchors, _ = vectors(8, dtype=torch.float32)
    found = nested_ranking_loss(anchors, -anchors, Prefixes((4, 16)), Ranking(200.0))
    expected = formula(anchors.double(), -anchors.double(), (4, 16), (1, 1), 200.0)
    torch.testing.assert_close(found.losses.double(), expected[0], rtol=1e-5, atol=0)


def test_a_tiny_probability_beside_an_excluded_candidate_gives_the_formula():
    """All similarities are negative, so an excluded one must not count as 0."""
    anchors, noise = vectors(8, dtype=torch.float32)
    anchors = anchors.abs()
    positives = -anchors.mean(0) - 0.1 * noise
    positives[0] = -anchors[0]  # the positive of the first anchor is its least similar candidate
    labels = torch.tensor([0, 0, 2, 3, 4, 5, 6, 7])
    found = nested_ranking_loss(
        anchors, positives, Prefixes((16,)), Ranking(2000.0), relations=Relations(labels=labels)
    )
    unit = [side.double() / side.double().norm(dim=1)[:, None] for side in (anchors, positives)]
    similarities = 2000 * unit[0] @ unit[1].T
    assert similarities.max() < 0
    positive = similarities.diagonal().clone()
    same = labels == labels[:, None]
    similarities[same & ~torch.eye(8, dtype=torch.bool)] = -torch.inf
    assert (similarities.softmax(1).diagonal() < 1e-30).any()
    expected = (similarities.logsumexp(1) - positive).mean()
    torch.testing.assert_close(found.losses[0].double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("weights", [(0.3, 2.0, 0.0), (0.0, 0.0, 2.0)])
def test_weights_of_zero_give_the_gradients_of_the_formula(weights):
    anchors, positives = vectors(40)
    found = nested_ranking_loss(anchors, positives, Prefixes(DIMS, weights))
    expected = formula(anchors, positives, DIMS, weights, 20.0)
    torch.testing.assert_close(found.anchors, expected[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.candidates, expected[2], rtol=1e-12, atol=1e-12)
    widest = max((dim for dim, weight in zip(DIMS, weights, strict=True) if weight), default=0)
    for gradients in (found.anchors, found.candidates):  # not even a rounding, as Adam scales it
        assert not gradients[:, widest:].any()


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_float32_gradients_are_exact_to_rounding_for_any_ratio_of_lengths(factor):
    """The narrow prefixes are ``factor`` times as long."""
    anchors, positives = vectors(40, dtype=torch.float32)
    for side in (anchors, positives):
        side[:, :4] *= factor
    found = nested_ranking_loss(anchors, positives, Prefixes(DIMS, WEIGHTS))
    expected = formula(anchors.double(), positives.double(), DIMS, WEIGHTS, 20.0)
    for actual, reference in zip(found[1:], expected[1:], strict=True):
        for low, high in ((0, 4), (4, 16)):  # their gradients differ in magnitude
            size = reference[:, low:high].abs().max().item()
            torch.testing.assert_close(
                actual[:, low:high].double(), reference[:, low:high], rtol=0, atol=1e-4 * size
            )


def test_a_number_of_candidates_that_does_not_fit_is_rejected():
    anchors, positives = vectors(4)
    with pytest.raises(InvalidArgument, match="3 candidates do not fit 4 anchors"):
        nested_ranking_loss(anchors, positives[:3], Prefixes((4,)))
