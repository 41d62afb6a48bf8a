"""Long lists of candidates: the best ones equal those of exact scores of all."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import normalize
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.filters.where import Where
from nestvec.engines.flat.candidates import Scorer
from nestvec.engines.flat.scan import Allowed, Scan
from nestvec.engines.flat.scoring import score
from nestvec.engines.flat.views import FLOAT_ERROR, CodeViews, vector_view
from nestvec.engines.manifest import Manifest
from nestvec.metrics.ranking import order
from nestvec.types import PRECISIONS, Document, ModelInfo, OperatingPoint

N, DIM, K = 6_000, 32, 20
NO_ROWS = np.empty(0, np.int64)


def vectors_like_texts(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, DIM)) * np.linspace(1, 0.2, DIM) + 0.3
    return normalize(values.astype(np.float32))


VECTORS, QUERIES = vectors_like_texts(N, 0), vectors_like_texts(7, 1)
VECTORS[3_000:3_100] = VECTORS[0]  # more equal vectors than the margin


@pytest.fixture(scope="module", params=[each for each in PRECISIONS if each != "sign"])
def codec(request):
    return Codec.fit(VECTORS, DIM, request.param)


def scorer(codec: Codec, *, empty: np.ndarray = NO_ROWS) -> Scorer:
    codes, views = codec.encode(VECTORS), CodeViews(codec)
    return Scorer(
        vectors_of=lambda rows: codec.decode(codes[rows]),
        search_rows=lambda rows, queries, k: views.search(codes[rows], queries, k),
        tolerance=FLOAT_ERROR,
        empty=empty,
    )


def all_scored(each: Scorer, queries: np.ndarray, rows: np.ndarray):
    return order(score(queries, rows, each.vectors_of, empty=each.empty), rows)


def test_the_scores_of_codes_are_inner_products_with_decoded_codes(codec):
    codes, queries = codec.encode(VECTORS), codec.prepare(QUERIES)
    expected = queries.astype(np.float64) @ codec.decode(codes).T.astype(np.float64)
    scores, lines = CodeViews(codec).search(codes, queries, N)
    assert np.allclose(scores, np.take_along_axis(expected, lines, axis=1), atol=FLOAT_ERROR)
    assert np.array_equal(np.sort(lines), np.tile(np.arange(N), (len(queries), 1)))


@pytest.mark.parametrize("width", [K, 60, 2_000])
def test_the_best_candidates_equal_those_of_all_scores(codec, width):
    each, queries = scorer(codec), codec.prepare(QUERIES)
    rng = np.random.default_rng(2)
    rows = np.array([rng.choice(N, width, replace=False) for _ in QUERIES])
    found, expected = each.best(queries, rows, K), all_scored(each, queries, rows)
    assert np.array_equal(found.rows[:, :K], expected.rows[:, :K])
    assert np.array_equal(found.scores[:, :K], expected.scores[:, :K])
    assert found.rows.shape[1] < 100  # few exact scores


def test_all_candidates_are_scored_if_more_than_the_margin_are_equal(codec):
    each, query = scorer(codec), codec.prepare(VECTORS[:1])
    rows = np.arange(2_000, 5_000)[None]
    found = each.best(query, rows, K)
    assert np.array_equal(found.rows, all_scored(each, query, rows).rows)
    assert np.array_equal(found.rows[0, :100], np.arange(3_000, 3_100))


@pytest.mark.parametrize(("row", "expected_score"), [(-1, -np.inf), (5_000, 0.0)])
def test_missing_candidates_and_zero_vectors_have_their_own_scores(codec, row, expected_score):
    each, queries = scorer(codec, empty=np.array([5_000])), codec.prepare(QUERIES)
    rows = np.tile(np.arange(1_000), (len(queries), 1))
    rows[:, 500] = row
    found = each.best(queries, rows, K)
    assert np.array_equal(found.rows, all_scored(each, queries, rows).rows)
    assert set(found.scores[found.rows == row].tolist()) == {expected_score}


@pytest.mark.parametrize("share", [None, 0.02, 0.3])
@pytest.mark.parametrize("empty", [NO_ROWS, np.arange(0, N, 500)])
@pytest.mark.parametrize("k", [1, 200, 1_500])
def test_a_shortlist_contains_the_rows_of_a_search(codec, share, empty, k):
    scan = Scan(codec, codec.encode(VECTORS), empty=empty)
    allowed = None if share is None else Allowed(np.random.default_rng(3).random(N) < share)
    scores, rows = scan.search(QUERIES, k, allowed=allowed)
    _, found = scan.shortlist(QUERIES, k, allowed=allowed)
    assert np.array_equal(np.sort(found), np.sort(rows))
    assert (np.diff(scores) <= 0).all()


def test_codes_of_a_repeated_filter_are_read_once(codec):
    scan = Scan(codec, codec.encode(VECTORS), empty=NO_ROWS)
    allowed = Allowed(np.arange(N) % 100 == 0)
    _, expected = scan.search(QUERIES, K, allowed=allowed)
    if len(scan._gathered):  # not for precisions whose scan selects rows
        scan._plain = np.zeros_like(scan._plain)
    assert np.array_equal(scan.search(QUERIES, K, allowed=allowed)[1], expected)
    assert (codec.precision in ("binary", "int2", "int4", "pq4")) == bool(len(scan._gathered))
    del allowed
    assert not len(scan._gathered)


def test_a_view_keeps_its_vectors():
    indexes = [vector_view(VECTORS.astype(np.float16)) for _ in range(20)]
    junk = [np.ones((N, DIM), np.float16) for _ in range(20)]  # in freed memory, if any
    for index in indexes:
        assert index.search(VECTORS[7:8], 1)[1] == 7
    assert len(junk) == 20


def built(folder: Path, point: str, *, parts: int) -> EmbeddedEngine:
    model = ModelInfo("models/any", "a" * 64, DIM, (DIM, 16), "config.json", True)
    manifest = Manifest(model, "float16", OperatingPoint.parse(point))
    index = EmbeddedEngine.create(str(folder), manifest)
    size = N // parts
    for start in range(0, N, size):
        rows = range(start, start + size)
        documents = {f"d{row:04}": Document("", metadata={"n": row % 50}) for row in rows}
        index.add(documents, VECTORS[start : start + size])
        index.build_codes()
    return index


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("where", [None, "n = 7", "n > 20"])
@pytest.mark.parametrize("middle", ["", f">{DIM}:int4@150"])
def test_stages_with_long_shortlists_equal_exact_scores(tmp_path, parts, where, middle):
    point = f"16:int2@900{middle}>{DIM}:float16"
    condition = None if where is None else Where.parse(where)
    with closing(built(tmp_path / "index", point, parts=parts)) as index:
        found = index.search(QUERIES, K, where=condition)
        traced = index.explain(QUERIES, K, where=condition)
        first = index.search(QUERIES, 900, where=condition, point=OperatingPoint.parse("16:int2"))
        exact = index.search(QUERIES, N, where=condition, exact=True)
    assert traced.hits == found
    assert traced.stages[0].hits.ids == first.ids  # in order, with exact scores
    assert traced.stages[0].hits.scores == first.scores
    for line, last in enumerate(traced.stages[-2].hits.ids):
        kept = set(last)
        expected = [each for each in exact.ids[line] if each in kept][:K]
        assert found.ids[line] == expected


def test_a_repeated_filter_is_not_computed_again(tmp_path, monkeypatch):
    with closing(built(tmp_path / "index", f"{DIM}:int8", parts=1)) as index:
        calls: list[object] = []
        mask = index._filter.mask
        monkeypatch.setattr(
            index._filter, "mask", lambda *given: (calls.append(given), mask(*given))[1]
        )
        search = partial(index.search, QUERIES, K)
        once = search(where=Where.parse("n = 7"))
        assert search(where=Where.parse("n = 7")) == once
        assert len(calls) == 1
        search(where=Where.parse("n = 7.5 or n = 8"))
        assert len(calls) == 2
        index.add({"new": Document("", metadata={"n": 7})}, VECTORS[7:8])  # a new snapshot
        (ids,) = index.search(VECTORS[7:8], K, where=Where.parse("n = 7")).ids
        assert "new" in ids
        assert len(calls) == 3
