"""Prefixes: computed by hand, by property, against PyTorch, and all prefixes from one product."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codec.prefix import (
    as_float32,
    as_stored,
    layer_normalize,
    normalize,
    prefix,
    prefix_scores,
)
from nestvec.errors import InvalidArgument


def vectors(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def test_a_vector_by_hand_is_truncated_then_normalized():
    # (3, 4, 12, 84): the first two dims have length 5, the first three 13, all four 85.
    vector = np.array([[3, 4, 12, 84]], dtype=np.float32)
    np.testing.assert_allclose(prefix(vector, 2), [[0.6, 0.8]], rtol=1e-7)
    np.testing.assert_allclose(prefix(vector, 3), [[3 / 13, 4 / 13, 12 / 13]], rtol=1e-6)
    np.testing.assert_allclose(prefix(vector, 4), [[3 / 85, 4 / 85, 12 / 85, 84 / 85]], rtol=1e-6)


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 10))
def test_the_prefix_of_the_full_vector_is_the_prefix(full_dim, dim, layer_norm, seed):
    dim = min(dim, full_dim)
    embeddings = 10 * vectors(5, full_dim, seed) + 1
    full = prefix(embeddings, full_dim, layer_norm=layer_norm)
    np.testing.assert_allclose(
        prefix(full, dim), prefix(embeddings, dim, layer_norm=layer_norm), atol=1e-5
    )


@pytest.mark.parametrize("dim", [1, 7, 64])
def test_prefixes_have_unit_length(dim):
    lengths = np.linalg.norm(prefix(100 * vectors(20, 64), dim).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_zero_vectors_stay_zero():
    embeddings = vectors(3, 8)
    embeddings[1] = 0
    embeddings[2, :4] = 0
    assert not prefix(embeddings, 8)[1].any()
    assert not prefix(embeddings, 4)[[1, 2]].any()
    assert not prefix(embeddings, 8, layer_norm=True)[1].any()
    for dim, scores in prefix_scores(embeddings, embeddings, [4, 8]):
        assert not scores[1].any()
        assert not scores[:, 1].any()
        assert scores[2].any() == (dim == 8)


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30])
def test_very_small_and_very_large_vectors_are_normalized(size):
    unit = normalize(np.array([[3, 4]]).astype(np.float32) * np.float32(size))
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-4)


def test_layer_normalize_equals_pytorch():
    embeddings = 3 * vectors(50, 96) + 1
    embeddings[7] = 0.25
    expected = torch.nn.functional.layer_norm(torch.from_numpy(embeddings), (96,)).numpy()
    np.testing.assert_allclose(layer_normalize(embeddings), expected, atol=2e-6)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 48), min_size=1, max_size=6), st.booleans(), st.integers(0, 5))
def test_prefix_scores_equal_products_of_prefixes(dims, layer_norm, seed):
    queries, corpus = vectors(4, 48, seed), 5 * vectors(9, 48, seed + 100)
    found = list(prefix_scores(queries, corpus, dims, layer_norm=layer_norm))
    assert [dim for dim, _ in found] == sorted(set(dims))
    for dim, scores in found:
        left, right = (prefix(each, dim, layer_norm=layer_norm) for each in (queries, corpus))
        np.testing.assert_allclose(scores, left @ right.T, atol=1e-6)
        assert scores.dtype == np.float32


def test_prefixes_do_not_change_their_input():
    embeddings = vectors(6, 16)
    before = embeddings.copy()
    prefix(embeddings, 16)
    prefix(embeddings, 8, layer_norm=True)
    list(prefix_scores(embeddings, embeddings, [4, 16], layer_norm=True))
    np.testing.assert_array_equal(embeddings, before)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_stored_vectors_are_unit_vectors_and_have_the_same_prefixes(layer_norm):
    embeddings = 10 * vectors(20, 48) + 1
    stored = as_stored(embeddings, layer_norm=layer_norm)
    np.testing.assert_allclose(np.linalg.norm(stored.astype(np.float64), axis=1), 1, atol=1e-6)
    for dim in (1, 7, 48):
        expected = prefix(embeddings, dim, layer_norm=layer_norm)
        np.testing.assert_allclose(prefix(stored, dim), expected, atol=1e-5)


def test_values_beyond_float32_become_infinite_without_a_warning():
    taken = as_float32(np.array([[1.5, 1e300, -1e300, np.nan]]))
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, [[1.5, np.inf, -np.inf, np.nan]])
    strided = as_float32(np.arange(12, dtype=np.float64).reshape(2, 6)[:, ::2])
    assert strided.flags.c_contiguous
    np.testing.assert_array_equal(strided, [[0, 2, 4], [6, 8, 10]])


def test_a_dim_outside_the_limits_raises():
    corpus = vectors(3, 8)
    for dim, message in (
        (9, "dim=9 is larger than full_dim=8"),
        (0, "dim=0 is"),
        (-1, "dim=-1 is"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            prefix(corpus, dim)
        with pytest.raises(InvalidArgument, match=message):
            list(prefix_scores(corpus, corpus, [dim]))


def test_one_dimensional_arrays_raise_and_empty_arrays_do_not():
    with pytest.raises(InvalidArgument, match=r"shape \(8,\). Pass an array of shape \[n, dim\]"):
        prefix(vectors(1, 8)[0], 4)
    assert prefix(np.empty((0, 8), dtype=np.float32), 4).shape == (0, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dim", [3, 8])
def test_truncation_does_not_change_the_vectors_of_the_caller(dtype, dim):
    wide = np.random.default_rng(0).standard_normal((6, 16)).astype(dtype)
    for own in (wide[:, :8], np.ascontiguousarray(wide[:, :8]), wide[::2, :8], wide[:1, :8]):
        before = own.copy()
        prefix(own, dim)
        np.testing.assert_array_equal(own, before)
