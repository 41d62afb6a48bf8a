"""Fitting: what is learnt helps, is chosen by measurement, and is the same for the same seed."""

import numpy as np
import pytest

from nestvec.adapt.fitting import AdaptConfig, Base, fit
from nestvec.adapt.projections import fit_svd
from nestvec.adapt.sample import Sample, unit_vectors
from nestvec.adapt.training import Training, train_heads
from nestvec.errors import InvalidArgument
from nestvec.models.adapter import Head

BASE = Base("f" * 64, "a model")


def without_structure():
    rng = np.random.default_rng(0)
    return unit_vectors(rng.standard_normal((800, 16)).astype(np.float32))


@pytest.fixture
def sample(hidden_order):
    documents, queries = hidden_order
    return Sample(documents, queries)


def test_svd_finds_what_is_spread_over_all_dims(hidden_order):
    documents, _ = hidden_order
    adapter = fit(Sample(documents, documents[:0]), BASE, AdaptConfig(dims=(8, 4), method="svd"))
    means = adapter.fitted["means"]
    assert means["svd"]["4"] > means["none"]["4"] + 0.1
    assert means["svd"]["16"] == 1
    assert (adapter.method, adapter.dims, adapter.base) == ("svd", (16, 8, 4), "f" * 64)
    assert adapter.fitted["better_than_cutting"]


def test_training_improves_on_where_it_begins(hidden_order):
    documents, queries = hidden_order
    sample = Sample(documents, queries)
    start = Head(fit_svd(documents).matrix)
    head, other = train_heads(sample, start, Training(dims=(4,), steps=60, batch=256))
    assert other is head

    def lost(matrix):
        turned = unit_vectors((documents @ matrix)[:, :4])
        return float(((turned @ turned.T - documents @ documents.T) ** 2).mean())

    assert not np.allclose(head.matrix, start.matrix, atol=1e-3)
    assert lost(head.matrix) < lost(np.eye(16, dtype=np.float32))


def test_the_full_width_stays_what_it_was_where_the_sample_is_small(hidden_order):
    """Of texts that are like none of the sample, too, here directions that it hardly has."""
    documents, _ = hidden_order
    few = Sample(documents[:40], documents[:0])
    head, _ = train_heads(few, Head(fit_svd(few.documents).matrix), Training(dims=(8, 4)))
    others = unit_vectors(np.random.default_rng(1).standard_normal((200, 16)).astype(np.float32))
    turned = unit_vectors(head(others))
    moved = np.sqrt(((turned @ turned.T - others @ others.T) ** 2).mean())
    assert moved < 0.016, moved  # .006, and .047 where nothing holds the matrix


@pytest.mark.parametrize("asked", [{}, {"hidden": 32}, {"two_heads": True}], ids=str)
def test_prefixes_learn_what_the_full_width_learnt_of_answers(asked):
    """Four axes of sixteen tell what answers a query; the others, louder, tell nothing."""
    rng = np.random.default_rng(0)
    documents, noise = rng.standard_normal((2, 600, 16))
    noise[:, 12:] = 0
    documents[:, :12] *= 1.5
    queries = unit_vectors((documents * (np.arange(16) >= 12) + 1.5 * noise).astype(np.float32))
    documents = unit_vectors(documents.astype(np.float32))
    positives = tuple(np.array([row]) for row in range(600))

    def found(sample):
        training = Training(dims=(4,), steps=60, batch=256, rate=0.02, answers=1.0, **asked)
        heads = train_heads(sample, Head(fit_svd(documents).matrix), training)
        corpus, asking = (
            unit_vectors(head(each)[:, :4])
            for head, each in zip(heads, (documents, queries), strict=True)
        )
        ten = (asking @ corpus.T).argsort(axis=1)[:, -10:]
        return float((ten == np.arange(600)[:, None]).any(axis=1).mean())

    unlabeled = found(Sample(documents, queries))
    assert found(Sample(documents, queries, positives)) > 4 * unlabeled > 0, unlabeled


@pytest.mark.parametrize(
    "config",
    [
        AdaptConfig(dims=(8, 4), method="linear", steps=4),
        AdaptConfig(dims=(8, 4), method="linear", steps=4, schedule="sequential"),
        AdaptConfig(dims=(8, 4), method="linear", steps=4, two_heads=True),
        AdaptConfig(dims=(8, 4), method="mlp", steps=4),
        AdaptConfig(dims=(8, 4), method="whiten"),
    ],
    ids=["linear", "sequential", "two heads", "mlp", "whiten"],
)
def test_each_method_gives_an_adapter_that_the_seed_decides(sample, config):
    one, two = fit(sample, BASE, config), fit(sample, BASE, config)
    assert one.method == config.method
    assert one.digest() == two.digest()
    assert one.two_heads == config.two_heads
    assert one.documents.linear == (config.method != "mlp")
    assert np.isfinite(one.apply(sample.documents, "document")).all()


def test_vectors_without_structure_are_left_as_they_are():
    noise = without_structure()
    adapter = fit(Sample(noise, noise[:0]), BASE, AdaptConfig(dims=(8,), steps=2))
    assert adapter.method == "none"
    assert not adapter.fitted["better_than_cutting"]
    np.testing.assert_array_equal(adapter.apply(noise, "document"), noise)


def test_a_method_that_is_named_is_taken_and_said_to_be_no_better(caplog):
    noise = without_structure()
    adapter = fit(Sample(noise, noise[:0]), BASE, AdaptConfig(dims=(8,), method="svd"))
    assert adapter.method == "svd"
    assert "svd is not surely better than cutting" in caplog.text


def test_with_labels_they_are_tried_and_measured(hidden_order):
    documents, queries = hidden_order
    positives = tuple(np.array([row]) for row in range(len(queries)))
    adapter = fit(Sample(documents, queries, positives), BASE, AdaptConfig(dims=(8, 4), steps=2))
    assert adapter.fitted["metric"] == "ndcg@10"
    assert list(adapter.fitted["means"]) == ["none", "svd", "whiten", "linear", "linear, labels"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dims": (17,)}, "dim 17 is not within 1 and full_dim 16"),
        ({"dims": (16,)}, "at full width there is nothing to adapt"),
        ({"method": "magic"}, "method 'magic' is not one of svd, whiten"),
        ({"two_heads": True}, "name method linear or mlp"),
        ({"schedule": "never"}, "schedule 'never' is not one of joint, sequential"),
        ({"steps": 0}, "steps 0 < 1"),
        ({"sample": 0}, "sample 0 < 1"),
        ({"seed": -1}, "seed -1 < 0"),
        ({"method": "none"}, "method 'none' is not one of svd, whiten"),
    ],
)
def test_settings_out_of_range_are_refused(sample, asked, message):
    with pytest.raises(InvalidArgument, match=message):
        fit(sample, BASE, AdaptConfig(**asked))


def test_two_heads_need_queries(sample):
    config = AdaptConfig(dims=(8,), method="linear", two_heads=True)
    with pytest.raises(InvalidArgument, match="two heads need queries"):
        fit(Sample(sample.documents, sample.documents[:0]), BASE, config)


def test_dims_not_named_are_halvings(sample):
    assert fit(sample, BASE, AdaptConfig(method="svd")).dims == (16, 8, 4, 2, 1)
