"""Sign bits: codes, scores, ties and zeros, against NumPy and FAISS's Hamming distance."""

import faiss
import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.flat.sign_scan import SignScan

N, FULL_DIM = 500, 48
VECTORS = np.random.default_rng(0).standard_normal((N, FULL_DIM)).astype(np.float32)
QUERIES = np.random.default_rng(1).standard_normal((7, FULL_DIM)).astype(np.float32)
DIMS = (8, 12, 16, 32, 48)


def codec(dim):
    return Codec.fit(VECTORS, dim, "sign")


@pytest.mark.parametrize("dim", DIMS)
def test_scores_are_equal_signs_minus_different_signs(dim):
    each = codec(dim)
    codes = each.encode(VECTORS)
    assert codes.shape == (N, each.bytes_per_vector) == (N, -(-dim // 8))
    signs, query_signs = (np.where(x[:, :dim] > 0, 1, -1) for x in (VECTORS, QUERIES))
    scores = each.prepare(QUERIES) @ each.decode(codes).T
    np.testing.assert_array_equal(scores, query_signs @ signs.T)
    assert len(each.calibration) == 0


@pytest.mark.parametrize("dim", (8, 16, 32, 48))
def test_the_hamming_distance_equals_that_of_faiss(dim):
    each = codec(dim)
    index = faiss.IndexBinaryFlat(dim)
    index.add(each.encode(VECTORS))
    distances, _ = index.search(each.encode(QUERIES), 10)
    scores, _ = SignScan(each, each.encode(VECTORS), empty=np.empty(0, np.int64)).search(
        QUERIES, 10
    )
    np.testing.assert_array_equal(scores, dim - 2 * distances)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("k", (1, 10, N, N + 5))
def test_a_scan_equals_brute_force_with_ties_by_row(dim, k):
    each = codec(dim)
    empty = np.array([3, 77])
    scores = each.prepare(QUERIES) @ each.decode(each.encode(VECTORS)).T
    scores[:, empty] = 0
    mask = np.random.default_rng(2).random(N) < 0.3
    for allowed in (None, mask, np.zeros(N, bool)):
        rows = np.arange(N) if allowed is None else np.flatnonzero(allowed)
        found = SignScan(each, each.encode(VECTORS), empty=empty).search(
            QUERIES, k, allowed=None if allowed is None else Allowed(allowed)
        )
        order = np.argsort(-scores[:, rows], axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(found[1], rows[order])
        np.testing.assert_array_equal(found[0], np.take_along_axis(scores[:, rows], order, 1))


def test_a_zero_query_scores_zero_with_every_row():
    each = codec(16)
    queries = QUERIES[:2].copy()
    queries[0, :16] = 0
    scores, rows = SignScan(each, each.encode(VECTORS), empty=np.empty(0, np.int64)).search(
        queries, 3
    )
    assert scores[0].tolist() == [0, 0, 0] and rows[0].tolist() == [0, 1, 2]
    assert (scores[1] > 0).all()
