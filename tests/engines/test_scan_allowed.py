"""A scan with allowed rows equals a scan of a corpus of only these rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import can_code
from nestvec.engines.flat import scan as scan_module
from nestvec.engines.flat import scoring
from nestvec.engines.flat.scan import Allowed, Scan
from nestvec.engines.flat.scoring import best_of, score
from nestvec.engines.flat.sign_scan import SignScan
from nestvec.types import PRECISIONS

NONE = np.empty(0, dtype=np.int64)
N, DIM = 900, 16


def vectors(n, dim=DIM, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def made(corpus, precision, empty=NONE, dim=DIM):
    codec = Codec.fit(corpus, dim, precision)
    codes = codec.encode(corpus)
    return codec, codes, scan_of(codec, codes, empty)


def scan_of(codec, codes, empty):
    return (SignScan if codec.precision == "sign" else Scan)(codec, codes, empty=empty)


def mask_of(n, share, seed=3):
    """Allow a share of the rows, at least one; ``share`` above 1 is a count."""
    count = int(share) if share > 1 else max(1, round(n * share))
    mask = np.zeros(n, dtype=np.bool_)
    mask[np.random.default_rng(seed).choice(n, count, replace=False)] = True
    return mask


def alone(codec, codes, mask, empty=NONE):
    """Return a scan of only the allowed rows, and their row numbers in the corpus."""
    rows = np.flatnonzero(mask)
    own = np.flatnonzero(np.isin(rows, empty))
    return scan_of(codec, codes[mask], own), rows


def check(made_scan, queries, k, mask, empty=NONE):
    codec, codes, scan = made_scan
    scores, rows = scan.search(queries, k, allowed=Allowed(mask))
    only, back = alone(codec, codes, mask, empty)
    expected, expected_rows = only.search(queries, k)
    assert scores.shape == (len(queries), min(k, mask.sum()))
    np.testing.assert_array_equal(rows, back[expected_rows])
    np.testing.assert_array_equal(scores, expected)  # bit for bit
    assert scores.dtype == np.float32
    assert rows.dtype == np.int64


def by_hand(codec, codes, queries, k, mask, empty=NONE):
    """Score every decoded code in float64."""
    scores = codec.prepare(queries).astype(np.float64) @ codec.decode(codes).T.astype(np.float64)
    scores[:, empty] = 0
    scores[:, ~mask] = -np.inf
    rows = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, mask.sum())]
    return np.take_along_axis(scores, rows, axis=1), rows


def test_allowed_rows_are_counted_and_listed():
    allowed = Allowed(np.array([False, True, False, True]))
    assert allowed.count == 2
    assert allowed.rows.tolist() == [1, 3]
    assert Allowed(np.zeros(3, dtype=np.bool_)).count == 0


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("share", [1 / N, 0.01, 0.1, 0.5, 0.999, 1.0])
def test_the_result_equals_a_scan_of_only_the_allowed_rows(precision, share):
    scan = made(vectors(N), precision)
    mask, queries = mask_of(N, share), vectors(4, seed=1)
    for k in (1, 10, 200, N, N + 5):
        check(scan, queries, k, mask)
        scores, rows = scan[2].search(queries, k, allowed=Allowed(mask))
        expected, expected_rows = by_hand(*scan[:2], queries, k, mask)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert mask[rows].all()
        if precision == "float32":  # hardly a tie
            np.testing.assert_array_equal(rows, expected_rows)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_allowed_rows_return_no_results(precision):
    _, _, scan = made(vectors(50), precision)
    queries = vectors(3, seed=1)
    queries[1] = 0
    scores, rows = scan.search(queries, 10, allowed=Allowed(np.zeros(50, dtype=np.bool_)))
    assert scores.shape == rows.shape == (3, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n_allowed", [5, 200, 600])
def test_only_the_worst_rows_are_allowed(precision, n_allowed):
    corpus, query = vectors(N), vectors(1, seed=1)
    codec, codes, scan = made(corpus, precision)
    exact = (codec.prepare(query) @ codec.decode(codes).T)[0]
    mask = np.zeros(N, dtype=np.bool_)
    mask[np.argsort(exact)[:n_allowed]] = True
    for k in (1, 10, n_allowed):
        check((codec, codes, scan), np.concatenate((query, -query)), k, mask)


def test_candidates_that_are_not_allowed_are_requested_at_most_twice(monkeypatch):
    corpus, query = vectors(8000), vectors(1, seed=1)
    codec, codes, scan = made(corpus, "binary")
    exact = (codec.prepare(query) @ codec.decode(codes).T)[0]
    mask = np.zeros(8000, dtype=np.bool_)
    mask[np.argsort(exact)[:4000]] = True
    widths, original = [], scan._search_candidates
    monkeypatch.setattr(
        scan,
        "_search_candidates",
        lambda q, k, w, **n: (widths.append(w), original(q, k, w, **n))[1],
    )
    scan.search(query, 10, allowed=Allowed(mask))
    assert widths == [84, 336]  # less work than scoring 4,000 rows
    widths.clear()
    scan.search(query, 10, allowed=Allowed(mask_of(8000, 0.01)))
    assert widths == []


def test_a_few_deleted_rows_need_no_more_candidates(monkeypatch):
    corpus, queries = vectors(8000), vectors(8, seed=1)
    _, _, scan = made(corpus, "int8")
    mask = mask_of(8000, 0.999)
    widths, original = [], scan._search_candidates
    monkeypatch.setattr(
        scan,
        "_search_candidates",
        lambda q, k, w, **n: (widths.append(w), original(q, k, w, **n))[1],
    )
    scan.search(queries, 10, allowed=Allowed(mask))
    assert widths == [42]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_copies_are_in_ascending_order_of_row(precision):
    corpus = vectors(N)
    copies = np.random.default_rng(2).choice(N, 500, replace=False)
    corpus[copies] = corpus[copies[0]]
    scan = made(corpus, precision)
    queries = np.concatenate((corpus[copies[:1]], vectors(2, seed=1)))
    for share in (0.02, 0.5, 0.999):
        for k in (1, 50, 300):
            check(scan, queries, k, mask_of(N, share))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_allowed_empty_rows_score_0(precision, share):
    corpus = vectors(N)
    empty = np.sort(np.random.default_rng(1).choice(N, 300, replace=False))
    corpus[empty] = 0
    scan = made(corpus, precision, empty)
    queries = np.concatenate((vectors(3, seed=1), -corpus[:2]))
    mask = mask_of(N, share)
    for k in (1, 10, 400):
        check(scan, queries, k, mask, empty)
        scores, rows = scan[2].search(queries, k, allowed=Allowed(mask))
        assert (scores[np.isin(rows, empty)] == 0).all()


def test_only_empty_rows_are_allowed():
    corpus = vectors(300)
    empty = np.arange(100, 280)
    corpus[empty] = 0
    mask = np.zeros(300, dtype=np.bool_)
    mask[empty[5:]] = True
    for precision in PRECISIONS:
        _, _, scan = made(corpus, precision, empty)
        scores, rows = scan.search(vectors(2, seed=1), 4, allowed=Allowed(mask))
        assert not scores.any()
        np.testing.assert_array_equal(rows, [empty[5:9]] * 2)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_zero_query_scores_0_with_the_first_allowed_rows(precision, share):
    _, _, scan = made(vectors(N), precision)
    mask, queries = mask_of(N, share), vectors(3, seed=1)
    queries[1] = 0
    scores, rows = scan.search(queries, 5, allowed=Allowed(mask))
    assert not scores[1].any()
    np.testing.assert_array_equal(rows[1], np.flatnonzero(mask)[:5])
    assert scores[0].any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_results_of_many_queries_equal_those_of_each_query(precision, monkeypatch):
    monkeypatch.setattr(scan_module, "_CANDIDATES", 200)
    monkeypatch.setattr(scoring, "_QUERIES", 3)
    monkeypatch.setattr(scoring, "_BLOCK", 100)
    corpus, queries = vectors(N), vectors(10, seed=1)
    corpus[300:600] = corpus[0]
    queries[3], queries[4] = 0, corpus[0]
    _, _, scan = made(corpus, precision)
    for share in (0.01, 0.4, 1.0):
        allowed = Allowed(mask_of(N, share))
        for k in (3, 100):
            together = scan.search(queries, k, allowed=allowed)
            for line, query in enumerate(queries):
                one = scan.search(query[None], k, allowed=allowed)
                # Queries are rotated in one batch, which may round differently.
                np.testing.assert_allclose(together[0][line], one[0][0], atol=1e-6)
                np.testing.assert_array_equal(together[1][line], one[1][0])
    empty = scan.search(np.empty((0, DIM), np.float32), 3, allowed=allowed)
    assert empty[0].shape == empty[1].shape == (0, 3)


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 300),
    distinct=st.integers(1, 8),
    n_empty=st.integers(0, 3),
    share=st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0]),
    k=st.integers(1, 320),
    precision=st.sampled_from(PRECISIONS),
    dim=st.sampled_from([2, 3, 8, 16]),
    seed=st.integers(0, 1000),
)
def test_any_allowed_rows_of_any_mixture(n, distinct, n_empty, share, k, precision, dim, seed):
    rng = np.random.default_rng(seed)
    corpus = vectors(distinct, seed=seed)[rng.integers(0, distinct, n)]
    empty = np.unique(rng.integers(0, n, n_empty)).astype(np.int64)
    corpus[empty] = 0
    scan = made(corpus, precision, empty, dim + (not can_code(dim, precision)))
    queries = np.concatenate((corpus[:1], vectors(2, seed=seed + 1)))
    mask = rng.random(n) < share
    if mask.any():
        check(scan, queries, k, mask, empty)
    else:
        assert scan[2].search(queries, k, allowed=Allowed(mask))[1].shape == (3, 0)


@pytest.mark.parametrize("dim", [1, 2, 7, 32, 100, 300])
def test_shared_and_own_candidates_have_bitwise_equal_scores(dim):
    stored, queries = vectors(150, dim), vectors(5, dim, seed=1)
    empty, rows = np.array([3, 40]), np.arange(150)
    own = score(queries, np.tile(rows, (5, 1)), stored.__getitem__, empty=empty)
    shared = best_of(queries, rows, 150, stored.__getitem__, empty=empty)
    np.testing.assert_array_equal(shared.scores, np.take_along_axis(own, shared.rows, axis=1))


def test_a_search_does_not_change_the_mask():
    _, _, scan = made(vectors(N), "binary", np.array([5]))
    mask = mask_of(N, 0.5)
    before = mask.copy()
    mask.setflags(write=False)
    scan.search(vectors(3, seed=1), 10, allowed=Allowed(mask))
    np.testing.assert_array_equal(mask, before)
