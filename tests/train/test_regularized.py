"""Optional terms of the nested ranking loss: equal to their definition by autograd."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from sentence_transformers import SentenceTransformer

from nestvec.errors import InvalidArgument
from nestvec.train.losses import NestedMultipleNegativesRankingLoss
from nestvec.train.nested import nested_ranking_loss
from nestvec.train.objective import Objective, Prefixes, Ranking
from nestvec.train.regularized import codes, correlation_penalty, regularized_ranking_loss

TEXTS = [" ".join(words) for words in permutations(["read", "csv", "table", "find"], 3)]
TEXTS = TEXTS[:9], TEXTS[9:18]  # anchors, positives; no two say the same
PREFIXES = Prefixes((4, 7, 16), (0.3, 2.0, 1.0))
N, WIDTH = 24, 18
ADDED = {"random_dims": 2, "straight_through": "binary", "orthogonality": 0.7}
EVERYTHING = Objective(PREFIXES, Ranking(5.0), **ADDED)


def vectors(n=N, *, n_candidates=None, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.randn(n, WIDTH, generator=generator, dtype=dtype) * 3
    noise = torch.randn(n_candidates or n, WIDTH, generator=generator, dtype=dtype)
    return anchors, anchors.repeat(len(noise) // n, 1) * 0.5 + noise


def by_definition(anchors, candidates, dims, weights, scale=5.0):
    """The weighted sum over prefixes, for autograd."""
    total = torch.zeros((), dtype=anchors.dtype)
    for dim, weight in zip(dims, weights, strict=True):
        a, b = (torch.nn.functional.normalize(each[:, :dim]) for each in (anchors, candidates))
        positives = torch.arange(len(a))
        total = total + weight * torch.nn.functional.cross_entropy(scale * a @ b.T, positives)
    return total


def gradients(function, *sides):
    leaves = [side.clone().requires_grad_() for side in sides]
    value = function(*leaves)
    value.backward()
    return value.detach(), *(leaf.grad for leaf in leaves)


def assert_close(found, expected):
    for actual, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, reference, rtol=1e-10, atol=1e-12)


def whole(found):
    """The total loss and its gradients."""
    return PREFIXES.weighted_sum(found.losses) + found.added, found.anchors, found.candidates


def test_without_optional_terms_the_loss_is_nested_ranking_bit_for_bit():
    anchors, candidates = vectors(n_candidates=2 * N, dtype=torch.float32)
    ranking = Ranking(teach=0.5)
    found = regularized_ranking_loss(anchors, candidates, Objective(PREFIXES, ranking))
    expected = nested_ranking_loss(anchors, candidates, PREFIXES, ranking)
    assert found.added == 0
    for name in expected._fields:
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_drawn_widths_have_the_mean_weight_and_are_not_reported():
    anchors, candidates = vectors()
    objective = Objective(PREFIXES, Ranking(5.0), random_dims=2)
    found = regularized_ranking_loss(anchors, candidates, objective, drawn=(5, 11))
    mean = sum(PREFIXES.weights) / 3

    def definition(a, b):
        return by_definition(a, b, (4, 5, 7, 11, 16), (0.3, mean, 2.0, mean, 1.0))

    assert_close(whole(found), gradients(definition, anchors, candidates))
    plain = nested_ranking_loss(anchors, candidates, PREFIXES, Ranking(5.0))
    assert_close([found.losses], [plain.losses])


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_codes_are_ranked_and_their_gradient_is_used_for_their_vectors(kind):
    anchors, candidates = vectors(n_candidates=2 * N)
    objective = Objective(PREFIXES, Ranking(5.0), straight_through=kind)
    found = regularized_ranking_loss(anchors, candidates, objective)

    def definition(a, b):
        straight = b + (codes(b, kind) - b).detach()
        plain, coded = (
            by_definition(a, each, PREFIXES.dims, PREFIXES.weights) for each in (b, straight)
        )
        return plain + coded

    assert_close(whole(found), gradients(definition, anchors, candidates))
    plain = nested_ranking_loss(anchors, candidates, PREFIXES, Ranking(5.0))
    assert_close([found.losses], [plain.losses])


def test_binary_codes_are_signs_as_long_as_their_vectors():
    found = codes(torch.tensor([[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), "binary")
    assert found.tolist() == [[2.5, -2.5, 2.5, 2.5], [0.0, 0.0, 0.0, 0.0]]


def test_int8_codes_are_the_nearest_of_255_steps():
    found = codes(torch.tensor([[-12.7, 0.16, 0.04], [0.0, 0.0, 0.0]]), "int8")
    torch.testing.assert_close(found, torch.tensor([[-12.7, 0.2, 0.0], [0.0, 0.0, 0.0]]))


def test_the_penalty_equals_numpys_squared_correlations_per_dim():
    sides = vectors()
    unit = torch.nn.functional.normalize(torch.cat(sides)).numpy()
    correlations = np.corrcoef(unit, rowvar=False)
    penalty, *_ = correlation_penalty(*sides)
    assert float(penalty) == pytest.approx((correlations**2).sum() / WIDTH - 1)


def test_the_penalty_gives_the_participation_ratio():
    """With each dim duplicated, the penalty is 1, and the ratio is half the dims."""
    signs = torch.from_numpy(hadamard(16)[:, 1:].astype(np.float64))  # no two are correlated
    assert float(correlation_penalty(signs)[0]) == pytest.approx(0)
    assert float(correlation_penalty(signs.repeat(1, 2))[0]) == pytest.approx(1)
    assert float(correlation_penalty(signs[:, :1].repeat(1, 5))[0]) == pytest.approx(4)


def test_the_gradient_of_the_penalty_equals_autograd():
    sides = vectors()

    def definition(*sides):
        unit = torch.nn.functional.normalize(torch.cat(sides))
        correlations = torch.corrcoef(unit.T)
        return correlations.square().sum() / WIDTH - 1

    assert_close(correlation_penalty(*sides), gradients(definition, *sides))


def test_a_constant_dim_and_a_zero_vector_give_finite_gradients():
    sides = vectors(dtype=torch.float32)
    sides[0][:, 3] = sides[1][:, 3] = 0
    sides[1][5] = 0
    penalty, *found = correlation_penalty(*sides)
    assert torch.isfinite(penalty)
    assert all(torch.isfinite(each).all() for each in found)


def test_dims_beyond_the_widest_prefix_get_no_gradient():
    found = regularized_ranking_loss(*vectors(), EVERYTHING, drawn=(5, 11))
    for gradient in (found.anchors, found.candidates):
        assert gradient[:, :16].abs().min() > 0
        assert not gradient[:, 16:].any()


def test_parts_of_the_rows_add_up_to_the_whole():
    """Terms over all vectors, such as correlations, count once for any split of the rows."""
    anchors, candidates = vectors()
    complete = regularized_ranking_loss(anchors, candidates, EVERYTHING, drawn=(5, 11))
    parts = [
        (
            share,
            regularized_ranking_loss(anchors, candidates, EVERYTHING, drawn=(5, 11), rows=part),
        )
        for share, part in ((0.25, slice(0, 6)), (0.75, slice(6, N)))
    ]
    for number, expected in enumerate(complete):
        found = sum(share * part[number] for share, part in parts)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_widths_are_drawn_from_all_untrained_widths_between_the_trained_ones():
    rng = np.random.default_rng(0)
    draws = [EVERYTHING.draw(rng) for _ in range(300)]
    assert all(len(set(drawn)) == 2 for drawn in draws)
    assert {dim for drawn in draws for dim in drawn} == set(range(5, 16)) - {7}


def test_no_widths_are_drawn_by_default():
    rng = np.random.default_rng(0)
    assert Objective(Prefixes((8,))).draw(rng) == ()
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_dims": -1}, "random_dims=-1 is out of range"),
        ({"random_dims": 12}, "Choose a value from 0 to 10, the number of untrained widths"),
        ({"straight_through": "int4"}, "straight_through='int4' is not one of int8, binary"),
        ({"orthogonality": -0.1}, "orthogonality=-0.1 is out of range"),
        ({"orthogonality": float("inf")}, "orthogonality=inf is out of range"),
    ],
)
def test_a_setting_out_of_range_is_rejected(settings, message):
    with pytest.raises(InvalidArgument, match=message):
        Objective(PREFIXES, **settings)


@pytest.fixture
def model(bert_folder):
    model = SentenceTransformer(str(bert_folder), device="cpu").eval()
    with torch.no_grad():  # a random transformer gives much the same for all texts
        model[0].auto_model.embeddings.word_embeddings.weight.mul_(30)
    return model


def value_and_gradients(model, *, seed=0, **settings):
    """The trainer's loss of some texts, and its gradients by the model's parameters."""
    loss = NestedMultipleNegativesRankingLoss(model, (8, 16), **settings)
    model.zero_grad()
    torch.manual_seed(seed)
    value = loss([model.preprocess(column) for column in TEXTS], None)
    value.backward()
    found = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    return value.detach(), found


def test_the_trainers_loss_equals_the_objective_and_logs_the_trained_widths(model):
    sides = [model.encode(column, convert_to_tensor=True) for column in TEXTS]
    added = {"straight_through": "binary", "orthogonality": 0.7}
    expected = regularized_ranking_loss(*sides, Objective(Prefixes((8, 16)), **added))
    loss = NestedMultipleNegativesRankingLoss(model, (8, 16), **added)
    value = loss([model.preprocess(column) for column in TEXTS], None)
    torch.testing.assert_close(value, expected.losses.sum() + expected.added)
    torch.testing.assert_close(loss.latest, expected.losses)
    assert expected.added > 0


def test_widths_are_drawn_with_pytorchs_generator_which_trainers_save(model):
    found = [value_and_gradients(model, seed=seed, random_dims=2)[0] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_no_widths_are_drawn_in_evaluation(model):
    plain, drawing = (
        NestedMultipleNegativesRankingLoss(model, (8, 16), random_dims=n) for n in (0, 2)
    )
    features = [model.preprocess(column) for column in TEXTS]
    before = torch.get_rng_state()
    with torch.no_grad():
        assert drawing(features, None) == plain(features, None)
    assert torch.equal(torch.get_rng_state(), before)


def test_cached_gradients_of_parts_equal_those_of_the_whole(model):
    expected = value_and_gradients(model, **ADDED)
    found = value_and_gradients(model, mini_batch_size=4, **ADDED)
    torch.testing.assert_close(found[0], expected[0])
    for actual, reference in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(actual, reference, rtol=1e-3, atol=1e-5)


def test_the_model_card_lists_the_optional_terms(model):
    settings = NestedMultipleNegativesRankingLoss(model, (8, 16), **ADDED).get_config_dict()
    assert {name: settings[name] for name in ADDED} == ADDED


def test_the_trainers_loss_rejects_settings_that_do_not_fit_its_widths(model):
    with pytest.raises(InvalidArgument, match="random_dims=8 is out of range"):
        NestedMultipleNegativesRankingLoss(model, (8, 16), random_dims=8)
