"""A scan is exact, with rounded scores of FAISS and with tied scores."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import can_code
from nestvec.engines.flat import fast_scan
from nestvec.engines.flat.scan import Scan
from nestvec.engines.flat.sign_scan import SignScan
from nestvec.types import PRECISIONS

NONE = np.empty(0, dtype=np.int64)


@pytest.fixture(autouse=True, scope="module", params=["cached", "from memory"])
def layout(request):
    """Run with the block size for codes in the processor's cache, and with the other."""
    limit = fast_scan._CACHED_BYTES
    fast_scan._CACHED_BYTES = limit if request.param == "cached" else 0
    yield
    fast_scan._CACHED_BYTES = limit


FAST_SCANNED = ("int4", "int2", "binary", "pq4")


def codable(dims, precisions):
    return [each for each in product(dims, precisions) if can_code(*each)]


def vectors(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def made(corpus, dim, precision, empty=NONE):
    codec = Codec.fit(corpus, dim, precision)
    codes = codec.encode(corpus)
    kind = SignScan if precision == "sign" else Scan
    return codec, codes, kind(codec, codes, empty=empty)


def reference(codec, codes, queries, k, empty=NONE):
    """Score every decoded code in float64, equal scores by ascending row."""
    scores = codec.prepare(queries).astype(np.float64) @ codec.decode(codes).T.astype(np.float64)
    scores[:, empty] = 0
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows, scores


def check(codec, codes, scan, queries, k, empty=NONE):
    expected, expected_rows, every = reference(codec, codes, queries, k, empty)
    scores, rows = scan.search(queries, k)
    assert scores.shape == rows.shape == (len(queries), min(k, len(codes)))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(scores, np.take_along_axis(every, rows, axis=1), atol=1e-5)
    for line in range(len(queries)):
        assert len(set(rows[line])) == rows.shape[1], "a row stands twice"
        # Sure of its place: nothing within 1e-6 above or below.
        near = np.abs(every[line][:, None] - expected[line]) <= 1e-6
        sure = near.sum(axis=0) == 1
        np.testing.assert_array_equal(rows[line][sure], expected_rows[line][sure])
        tied = scores[line][1:] == scores[line][:-1]
        assert (np.diff(rows[line])[tied] > 0).all(), "ties stand in ascending row"


@pytest.mark.parametrize(
    ("dim", "precision"), codable([1, 2, 3, 6, 7, 8, 12, 36, 64, 100], PRECISIONS)
)
def test_a_scan_equals_scoring_every_decoded_code(dim, precision):
    corpus, queries = vectors(301, 100), vectors(9, 100, seed=1)
    codec, codes, scan = made(corpus, dim, precision)
    assert len(scan) == 301
    for k in (1, 10, 100, 301):
        check(codec, codes, scan, queries, k)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 65])
def test_small_corpora_and_k_above_n(n, precision):
    corpus = vectors(n, 16)
    codec, codes, scan = made(corpus, 16, precision)
    for k in (1, n, n + 1, 1000):
        check(codec, codes, scan, vectors(3, 16, seed=1), k)


@pytest.mark.parametrize(("dim", "precision"), codable([6, 7, 32], PRECISIONS))
def test_duplicates_are_in_ascending_order_of_row(dim, precision):
    # 500 copies of one vector, more than any first guess of candidates, among others.
    corpus = vectors(900, 32)
    copies = np.random.default_rng(2).choice(900, 500, replace=False)
    corpus[copies] = corpus[copies[0]]
    codec, codes, scan = made(corpus, dim, precision)
    for k in (1, 5, 50, 499, 501):
        _, rows = scan.search(corpus[copies[:1]], k)
        near = vectors(2, 32, seed=3)
        check(codec, codes, scan, np.concatenate((corpus[copies[:1]], near)), k)
        if dim == 32 and precision != "binary":
            np.testing.assert_array_equal(rows[0, : min(k, 500)], np.sort(copies)[:k])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_corpus_of_equal_vectors_is_returned_from_its_first_row(precision):
    corpus = np.repeat(vectors(1, 24), 700, axis=0)
    _, _, scan = made(corpus, 24, precision)
    for queries in (corpus[:3], -corpus[:3], vectors(2, 24, seed=1)):
        scores, rows = scan.search(queries, 60)
        np.testing.assert_array_equal(rows, np.tile(np.arange(60), (len(queries), 1)))
        assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n", [1, 40, 300])
def test_a_zero_query_scores_0_with_the_first_rows(n, precision):
    _, _, scan = made(vectors(n, 16), 16, precision)
    queries = vectors(3, 16, seed=1)
    queries[1] = 0
    scores, rows = scan.search(queries, 10)
    assert (scores[1] == 0).all()
    np.testing.assert_array_equal(rows[1], np.arange(min(10, n)))
    assert scores[[0, 2]].any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_documents_opposite_to_the_query_are_found(precision):
    # Fast-scan drops rows whose rounded score is 0, the lowest there is.
    query = vectors(1, 32)
    corpus = np.concatenate((np.repeat(-query, 200, axis=0), query))
    codec, codes, scan = made(corpus, 32, precision)
    check(codec, codes, scan, query, 5)
    _, rows = scan.search(query, 5)
    np.testing.assert_array_equal(rows, [[200, 0, 1, 2, 3]])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n_empty", [1, 30, 150, 199])
def test_empty_rows_score_0(precision, n_empty):
    corpus = vectors(200, 16)
    empty = np.sort(np.random.default_rng(1).choice(200, n_empty, replace=False))
    corpus[empty] = 0
    codec, codes, scan = made(corpus, 16, precision, empty)
    queries = np.concatenate((vectors(4, 16, seed=1), -corpus[:4]))
    for k in (1, 10, 60, 200):
        check(codec, codes, scan, queries, k, empty)
        scores, rows = scan.search(queries, k)
        assert (scores[np.isin(rows, empty)] == 0).all()


def test_a_corpus_of_only_empty_rows():
    for precision in PRECISIONS:
        _, _, scan = made(np.zeros((50, 16), np.float32), 16, precision, np.arange(50))
        scores, rows = scan.search(vectors(2, 16), 3)
        assert not scores.any()
        np.testing.assert_array_equal(rows, [[0, 1, 2]] * 2)


def clustered(n, dim, spread, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((12, dim))
    noise = spread * rng.standard_normal((n, dim))
    return (centers[rng.integers(0, 12, n)] + noise).astype(np.float32)


@pytest.mark.parametrize("precision", FAST_SCANNED)
@pytest.mark.parametrize("spread", [0.01, 0.3, 1.0])
def test_tight_clusters_are_searched_exactly(precision, spread):
    # At spread .3, 1.25 k candidates lost one of the exact top 100 for half of the queries.
    corpus = clustered(6000, 256, spread)
    queries = clustered(20, 256, spread, seed=0)[:20]
    codec, codes, scan = made(corpus, 256, precision)
    check(codec, codes, scan, queries, 100)


def test_the_first_request_of_candidates_is_usually_enough(monkeypatch):
    # Widening is for the few: else the speed of fast-scan is lost.
    corpus, queries = vectors(20_000, 128), vectors(100, 128, seed=1)
    for precision in FAST_SCANNED:
        _, _, scan = made(corpus, 128, precision)
        tried = []
        original = scan._search_candidates
        monkeypatch.setattr(
            scan,
            "_search_candidates",
            lambda q, *rest, tried=tried, try_=original, **named: (
                tried.append(len(q)),
                try_(q, *rest, **named),
            )[1],
        )
        scan.search(queries, 10)
        assert sum(tried) <= 105, precision


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200),
    distinct=st.integers(1, 6),
    n_empty=st.integers(0, 3),
    k=st.integers(1, 220),
    precision=st.sampled_from(PRECISIONS),
    dim=st.sampled_from([2, 3, 8, 16]),
    seed=st.integers(0, 1000),
)
def test_any_mixture_of_copies_and_empty_rows(n, distinct, n_empty, k, precision, dim, seed):
    rng = np.random.default_rng(seed)
    corpus = rng.standard_normal((distinct, 16)).astype(np.float32)[rng.integers(0, distinct, n)]
    empty = np.unique(rng.integers(0, n, n_empty)).astype(np.int64)
    corpus[empty] = 0
    dim += not can_code(dim, precision)
    codec, codes, scan = made(corpus, dim, precision, empty)
    queries = np.concatenate((corpus[:1], rng.standard_normal((2, 16)).astype(np.float32)))
    check(codec, codes, scan, queries, k, empty)


def test_a_scan_does_not_change_its_inputs():
    corpus, queries = vectors(200, 16), vectors(3, 16, seed=1)
    queries[1] = 0
    empty = np.array([3, 50])
    for precision in PRECISIONS:
        _, codes, scan = made(corpus, 16, precision, empty)
        inputs = (codes, queries, empty)
        before = [each.copy() for each in inputs]
        for each in inputs:
            each.setflags(write=False)
        scan.search(queries, 20)
        for each, old in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(each, old)
            each.setflags(write=True)


def test_a_scan_of_no_queries_is_empty():
    _, _, scan = made(vectors(40, 16), 16, "binary")
    scores, rows = scan.search(np.empty((0, 16), np.float32), 3)
    assert scores.shape == rows.shape == (0, 3)
