"""The mean of the corpus: by hand, what it retains, and codes of earlier versions without it."""

import numpy as np
import pytest

from nestvec.codec.center import Center
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import normalize, prefix
from nestvec.engines.flat.scan import Scan

FIXED = ("int4", "int2", "binary")
NONE = np.empty(0, dtype=np.int64)


def clusters(n, dim, *, shift, seed=0):
    """Return unit vectors in 50 clusters; their common direction grows with ``shift``."""
    rng = np.random.default_rng(seed)
    direction = normalize(np.random.default_rng(7).standard_normal((1, dim)).astype(np.float32))
    centers = np.random.default_rng(8).standard_normal((50, dim)) / np.sqrt(dim)
    own = centers[rng.integers(0, 50, n)] + 0.7 * rng.standard_normal((n, dim)) / np.sqrt(dim)
    return normalize((own + shift * direction).astype(np.float32))


def overlap(found, exact):
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=True)]))


def test_the_center_of_two_vectors_equals_the_one_computed_by_hand():
    # The mean is (.8, 0); both vectors are .6 from the mean, so the scale is .6.
    corpus = np.array([[0.8, 0.6], [0.8, -0.6], [0, 0]], dtype=np.float32)
    center = Center.fit(corpus, 0.5 / 0.64)  # the mean has the squared length .64
    assert center.weight == pytest.approx(0.5)
    np.testing.assert_allclose(center.mean, [0.8, 0], atol=1e-7)
    assert center.scale == pytest.approx(0.6, abs=1e-6)
    np.testing.assert_allclose(center.residuals(corpus[:2]), [[0, 1], [0, -1]], atol=1e-6)
    # The part along the mean, .4, counts half: (.8, 0) + .6 * (.2, 1).
    decoded = np.array([[0.4, 1]], dtype=np.float32)
    np.testing.assert_allclose(center.vectors(decoded), [[0.92, 0.6]], atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0, 0.5, 9])
def test_queries_are_split_into_a_part_for_the_residual_and_the_score_of_the_mean(shrinkage):
    center = Center.fit(clusters(100, 24, shift=1), shrinkage)
    assert (center.weight == 1, center.weight == 0) == (shrinkage == 0, shrinkage == 9)
    queries, decoded = clusters(5, 24, shift=1, seed=1), clusters(9, 24, shift=0, seed=2)
    split, offsets = center.split_queries(queries)
    np.testing.assert_allclose(
        split @ decoded.T + offsets[:, None], queries @ center.vectors(decoded).T, atol=1e-6
    )


@pytest.mark.parametrize("n", [1, 2])
def test_equal_vectors_have_no_distance_from_their_mean(n):
    center = Center.fit(np.repeat(clusters(1, 8, shift=0), n, axis=0), 1)
    assert center.scale == 1


def test_a_corpus_of_zero_vectors_has_no_mean():
    center = Center.fit(np.zeros((3, 4), np.float32), 0)
    np.testing.assert_array_equal(center.to_array(), [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(center.vectors(np.eye(4, dtype=np.float32)), np.eye(4))


@pytest.mark.parametrize("precision", FIXED)
def test_codes_of_few_bits_retain_neighbors_of_vectors_with_a_common_direction(precision):
    def kept(shift, *, centered=True):
        corpus, queries = (clusters(n, 256, shift=shift, seed=n) for n in (4000, 100))
        exact = np.argsort(-(queries @ corpus.T), axis=1)[:, :10]
        codec = Codec.fit(corpus, 256, precision)
        if not centered:
            codec = Codec(256, precision, False, np.empty(0, np.float32))
        found = Scan(codec, codec.encode(corpus), empty=NONE).search(queries, 10)[1]
        return overlap(found, exact)

    assert kept(2) > 0.85 * kept(0)
    assert kept(2, centered=False) < 0.75 * kept(0)


@pytest.mark.parametrize("precision", FIXED)
def test_codes_of_earlier_versions_without_a_mean_are_read(precision):
    values = Codec.fit(clusters(50, 32, shift=1), 16, precision).to_json()
    earlier = Codec.from_json(values | {"calibration": []})
    assert earlier.center is None
    corpus = clusters(20, 32, shift=1, seed=3)
    codes = earlier.encode(corpus)
    np.testing.assert_array_equal(earlier.decode(codes), earlier.decode_quantized(codes))


@pytest.mark.parametrize("precision", FIXED)
def test_scores_are_close_to_the_cosine(precision):
    corpus, queries = clusters(2000, 128, shift=1), clusters(20, 128, shift=1, seed=1)
    codec = Codec.fit(corpus, 128, precision)
    scores = codec.prepare(queries) @ codec.decode(codec.encode(corpus)).T
    cosine = prefix(queries, 128) @ prefix(corpus, 128).T
    assert np.abs(scores - cosine).mean() < {"int4": 0.02, "int2": 0.04, "binary": 0.08}[precision]
