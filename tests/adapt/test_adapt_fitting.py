"""Fitting: adapters improve prefixes, are chosen by measurement, and depend only on the seed."""

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


def test_svd_finds_axes_that_are_spread_over_all_dims(hidden_order):
    documents, _ = hidden_order
    adapter = fit(Sample(documents, documents[:0]), BASE, AdaptConfig(dims=(8, 4), method="svd"))
    means = adapter.fitted["means"]
    assert means["svd"]["4"] > means["none"]["4"] + 0.1
    assert means["svd"]["16"] == 1
    assert (adapter.method, adapter.dims, adapter.base) == ("svd", (16, 8, 4), "f" * 64)
    assert adapter.fitted["better_than_cutting"]


def test_training_improves_on_its_initial_head(hidden_order):
    documents, queries = hidden_order
    sample = Sample(documents, queries)
    start = Head(fit_svd(documents).matrix)
    head, other = train_heads(sample, start, Training(dims=(4,), steps=60, batch=256))
    assert other is head

    def cosine_error(matrix):
        truncated = unit_vectors((documents @ matrix)[:, :4])
        return float(((truncated @ truncated.T - documents @ documents.T) ** 2).mean())

    assert not np.allclose(head.matrix, start.matrix, atol=1e-3)
    assert cosine_error(head.matrix) < cosine_error(np.eye(16, dtype=np.float32))


def test_full_width_cosines_hardly_change_if_the_sample_is_small(hidden_order):
    """The vectors measured have directions that hardly occur in the sample."""
    documents, _ = hidden_order
    few = Sample(documents[:40], documents[:0])
    head, _ = train_heads(few, Head(fit_svd(few.documents).matrix), Training(dims=(8, 4)))
    others = unit_vectors(np.random.default_rng(1).standard_normal((200, 16)).astype(np.float32))
    transformed = unit_vectors(head(others))
    error = np.sqrt(((transformed @ transformed.T - others @ others.T) ** 2).mean())
    assert error < 0.016, error  # measured: 0.006; 0.047 without the orthogonality penalty


@pytest.mark.parametrize("settings", [{}, {"hidden": 32}, {"two_heads": True}], ids=str)
def test_prefixes_are_trained_on_the_ranking_that_the_full_width_fitted_on_labels(settings):
    """Four of sixteen axes show which document is relevant; the others, larger, are noise."""
    rng = np.random.default_rng(0)
    documents, noise = rng.standard_normal((2, 600, 16))
    noise[:, 12:] = 0
    documents[:, :12] *= 1.5
    queries = unit_vectors((documents * (np.arange(16) >= 12) + 1.5 * noise).astype(np.float32))
    documents = unit_vectors(documents.astype(np.float32))
    positives = tuple(np.array([row]) for row in range(600))

    def found(sample):
        training = Training(
            dims=(4,), steps=60, batch=256, learning_rate=0.02, contrastive_weight=1.0, **settings
        )
        heads = train_heads(sample, Head(fit_svd(documents).matrix), training)
        corpus, query_vectors = (
            unit_vectors(head(each)[:, :4])
            for head, each in zip(heads, (documents, queries), strict=True)
        )
        ten = (query_vectors @ corpus.T).argsort(axis=1)[:, -10:]
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
def test_each_method_is_deterministic_for_a_seed(sample, config):
    one, two = fit(sample, BASE, config), fit(sample, BASE, config)
    assert one.method == config.method
    assert one.digest() == two.digest()
    assert one.two_heads == config.two_heads
    assert one.documents.linear == (config.method != "mlp")
    assert np.isfinite(one.apply(sample.documents, "document")).all()


def test_vectors_without_structure_are_not_changed():
    noise = without_structure()
    adapter = fit(Sample(noise, noise[:0]), BASE, AdaptConfig(dims=(8,), steps=2))
    assert adapter.method == "none"
    assert not adapter.fitted["better_than_cutting"]
    np.testing.assert_array_equal(adapter.apply(noise, "document"), noise)


def test_a_named_method_is_returned_with_a_warning_if_it_is_not_better(caplog):
    noise = without_structure()
    adapter = fit(Sample(noise, noise[:0]), BASE, AdaptConfig(dims=(8,), method="svd"))
    assert adapter.method == "svd"
    assert "svd is not significantly better than truncation" in caplog.text


def test_labels_are_used_to_fit_and_to_measure(hidden_order):
    documents, queries = hidden_order
    positives = tuple(np.array([row]) for row in range(len(queries)))
    adapter = fit(Sample(documents, queries, positives), BASE, AdaptConfig(dims=(8, 4), steps=2))
    assert adapter.fitted["metric"] == "ndcg@10"
    assert list(adapter.fitted["means"]) == ["none", "svd", "whiten", "linear", "linear, labels"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dims": (17,)}, "dim 17 is not within 1 and full_dim 16"),
        ({"dims": (16,)}, "No dim is less than full_dim=16"),
        ({"method": "magic"}, "method='magic' is not one of svd, whiten"),
        ({"two_heads": True}, "Set method to 'linear' or 'mlp'"),
        ({"schedule": "never"}, "schedule='never' is not one of joint, sequential"),
        ({"steps": 0}, "steps=0 is less than 1"),
        ({"sample": 0}, "sample=0 is less than 1"),
        ({"seed": -1}, "seed=-1 is less than 0"),
        ({"method": "none"}, "method='none' is not one of svd, whiten"),
    ],
)
def test_settings_out_of_range_are_rejected(sample, settings, message):
    with pytest.raises(InvalidArgument, match=message):
        fit(sample, BASE, AdaptConfig(**settings))


def test_two_heads_need_queries(sample):
    config = AdaptConfig(dims=(8,), method="linear", two_heads=True)
    with pytest.raises(InvalidArgument, match="two_heads needs queries"):
        fit(Sample(sample.documents, sample.documents[:0]), BASE, config)


def test_default_dims_are_halvings(sample):
    assert fit(sample, BASE, AdaptConfig(method="svd")).dims == (16, 8, 4, 2, 1)
