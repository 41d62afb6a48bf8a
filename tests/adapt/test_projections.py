"""Projections: axes equal to NumPy's SVD and PCA, unchanged cosines, zero vectors stay zero."""

import numpy as np
import pytest

from nestvec.adapt import projections
from nestvec.adapt.projections import fit_pca, fit_svd, random_dims
from nestvec.codec.prefix import normalize
from nestvec.errors import InvalidArgument


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((400, 16)) * np.arange(16, 0, -1) @ rng.standard_normal((16, 16))
    return (mixed + 3).astype(np.float32)


def assert_same_axes(actual, reference):
    """Axes have no sign."""
    np.testing.assert_allclose(np.abs((actual * reference).sum(axis=0)), 1, atol=1e-3)


def test_svd_gives_the_right_singular_vectors_of_the_unit_vectors(vectors, monkeypatch):
    monkeypatch.setattr(projections, "_BLOCK", 64)
    right = np.linalg.svd(normalize(vectors).astype(np.float64))[2].T
    assert_same_axes(fit_svd(vectors).matrix, right)


def test_pca_gives_the_axes_of_centered_unit_vectors_and_subtracts_their_mean(vectors):
    unit = normalize(vectors).astype(np.float64)
    fitted = fit_pca(vectors)
    assert_same_axes(fitted.matrix, np.linalg.svd(unit - unit.mean(axis=0))[2].T)
    np.testing.assert_allclose(fitted.apply(vectors).mean(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("make", [fit_svd, lambda vectors: random_dims(vectors.shape[1], seed=3)])
def test_without_centering_full_width_cosines_do_not_change(vectors, make):
    unit, projected = normalize(vectors), make(vectors).apply(vectors)
    np.testing.assert_allclose(projected @ projected.T, unit @ unit.T, atol=1e-5)
    assert not np.allclose(projected, unit, atol=1e-2)


def test_random_dims_depend_on_the_seed(vectors):
    one, same, other = (random_dims(16, seed=seed).matrix for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_array_equal(one.sum(axis=0), 1)


def test_zero_vectors_stay_zero_and_do_not_change_the_mean(vectors):
    padded = np.vstack([vectors, np.zeros((100, 16), dtype=np.float32)])
    with_zeros, without = fit_pca(padded), fit_pca(vectors)
    np.testing.assert_allclose(with_zeros.mean, without.mean, atol=1e-6)
    assert not with_zeros.apply(padded)[400:].any()


def test_a_large_corpus_is_sampled_with_the_seed(vectors, monkeypatch):
    monkeypatch.setattr(projections, "FITTED_ROWS", 50)
    first, again, other = (fit_pca(vectors, seed=seed).mean for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_vectors_and_another_width_are_rejected(vectors):
    with pytest.raises(InvalidArgument, match="0 vectors"):
        fit_svd(vectors[:0])
    with pytest.raises(InvalidArgument, match=r"\(400, 16\) do not fit a projection of 8"):
        random_dims(8).apply(vectors)
