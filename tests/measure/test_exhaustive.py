"""Exhaustive ranking equals FAISS at every width, and the deployed index at every point."""

import tempfile

import faiss
import numpy as np
import pytest

from fakes import FAKE_INFO, assert_same_ranking
from made_index import build
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored, layer_normalize, prefix
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.flat import code_store, representations
from nestvec.engines.flat.representations import Representations
from nestvec.measure import candidate_scores, first_stage
from nestvec.measure.exhaustive import ExhaustiveSearch, count_steps, rank
from nestvec.types import PRECISIONS, Document, OperatingPoint

N, DEPTH = 500, 20
DIMS = (64, 33, 16, 3)
STAGED = (
    "16:binary@40>64:int8",
    "32:binary@40>64:int8",
    "32:int4@25>64:float32",
    "32:int2@10>64:float16",
    "64:int8@30>64:float32",
    "32:float16@5>48:int8",
    "16:int2@100>32:int4@30>64:float16",
    "16:int4@100>32:float32@100>64:float32",
)
POINTS = tuple(map(OperatingPoint.parse, STAGED)) + tuple(
    OperatingPoint.single(dim, precision) for dim in (64, 32, 16) for precision in PRECISIONS
)


def vectors(n, seed, shift=0.0):
    """Vectors of decaying variance, lengths far from 1, and optionally means far from 0."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, 65) ** -0.5 * rng.uniform(0.1, 30, (n, 1))
    return ((rng.standard_normal((n, 64)) + shift) * scale).astype(np.float32)


CORPUS, QUERIES = vectors(N, 1), vectors(25, 2)


def rank_one(point, queries=QUERIES, corpus=CORPUS, *, layer_norm=False, depth=DEPTH):
    (ranked,) = rank(
        [OperatingPoint.parse(point)],
        queries,
        Representations(corpus, layer_norm=layer_norm),
        depth=depth,
    ).values()
    return ranked.rows


def last_scores(point, queries, corpus, *, layer_norm=False):
    """Scores of the last stage of a point, in float64 NumPy."""
    last = point.stages[-1]
    stored = as_stored(corpus, layer_norm=layer_norm)
    codec = Codec.fit_stored(stored, last.dim, last.precision, layer_norm=layer_norm)
    decoded = codec.decode(codec.encode_stored(stored)).astype(np.float64)
    decoded[~corpus.any(axis=1)] = 0
    return codec.prepare(queries).astype(np.float64) @ decoded.T


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("dim", DIMS)
def test_float_prefixes_equal_faiss_on_truncated_and_renormalized_vectors(dim, layer_norm):
    points = [OperatingPoint.single(each, "float32") for each in DIMS]
    corpus, queries = vectors(N, 3, shift=0.5), vectors(25, 4, shift=0.5)
    ranked = rank(points, queries, Representations(corpus, layer_norm=layer_norm), depth=DEPTH)
    truncated = [
        np.ascontiguousarray((layer_normalize(side) if layer_norm else side)[:, :dim])
        for side in (corpus, queries)
    ]
    for side in truncated:
        faiss.normalize_L2(side)
    flat = faiss.IndexFlatIP(dim)
    flat.add(truncated[0])
    expected = flat.search(truncated[1], DEPTH)[1]
    scores = truncated[1].astype(np.float64) @ truncated[0].astype(np.float64).T
    assert_same_ranking(ranked[OperatingPoint.single(dim, "float32")].rows, expected, scores)


@pytest.fixture(scope="module")
def all_ranked():
    return rank(POINTS, QUERIES, Representations(CORPUS, layer_norm=False), depth=DEPTH)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_every_point_equals_the_index_that_it_deploys(tmp_path, all_ranked, point):
    corpus = {f"d{N - row:03}": Document("") for row in range(N)}  # rows ascend as ids descend
    build(tmp_path / "idx", model=FAKE_INFO, corpus=corpus, embeddings=CORPUS, point=point)
    index = EmbeddedEngine(tmp_path / "idx")
    hits = index.search(QUERIES, DEPTH)
    index.close()
    found = [[N - int(id_[1:]) for id_ in ids] for ids in hits.ids]
    scores = last_scores(point, QUERIES, CORPUS)
    assert_same_ranking(all_ranked[point].rows, found, scores)
    expected = np.take_along_axis(scores, np.array(found), 1)
    np.testing.assert_allclose(all_ranked[point].scores, expected, atol=1e-6)
    np.testing.assert_allclose(hits.scores, expected, atol=1e-6)


def test_points_do_not_depend_on_other_points(all_ranked):
    for point in POINTS[:8]:
        np.testing.assert_array_equal(rank_one(str(point)), all_ranked[point].rows)


def assert_same(found, expected):
    """Compare scores, and rows whose scores differ by more than rounding."""
    assert found.keys() == expected.keys()
    for point, (scores, rows) in expected.items():
        np.testing.assert_allclose(found[point].scores, scores, atol=1e-6)
        assert_same_ranking(found[point].rows, rows, last_scores(point, QUERIES, CORPUS))


@pytest.mark.parametrize(
    ("document_bytes", "score_bytes"),
    [(4 * 64 * 70, 4 * 70 * 7), (10**6, 1)],
    ids=["some of each", "one query"],
)
def test_the_block_size_has_no_effect(monkeypatch, all_ranked, document_bytes, score_bytes):
    monkeypatch.setattr(first_stage, "DOCUMENT_BYTES", document_bytes)
    monkeypatch.setattr(first_stage, "SCORE_BYTES", score_bytes)
    corpus = Representations(CORPUS, layer_norm=False)
    assert_same(rank(POINTS, QUERIES, corpus, depth=DEPTH), all_ranked)


def test_a_block_contains_at_least_one_document(monkeypatch):
    few = CORPUS[:30]
    whole = rank_one("16:binary@9>64:int8", corpus=few)
    monkeypatch.setattr(first_stage, "DOCUMENT_BYTES", 1)
    np.testing.assert_array_equal(rank_one("16:binary@9>64:int8", corpus=few), whole)


def test_a_memory_mapped_corpus_with_codes_in_files_ranks_alike(monkeypatch, tmp_path, all_ranked):
    np.save(tmp_path / "corpus.npy", CORPUS)
    monkeypatch.setattr(first_stage, "DOCUMENT_BYTES", 4 * 64 * 100)
    monkeypatch.setattr(representations, "BLOCK_BYTES", 4 * 64 * 70)
    monkeypatch.setattr(code_store, "MEMORY_BYTES", 10_000)  # some codes, not all
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "codes"))
    (tmp_path / "codes").mkdir()
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    with Representations(mapped, layer_norm=False) as corpus:
        assert_same(rank(POINTS, QUERIES, corpus, depth=DEPTH), all_ranked)
        (folder,) = (tmp_path / "codes").iterdir()
        assert len(list(folder.iterdir())) > 5
        assert not isinstance(corpus[16, "binary"].codes, np.memmap)
    assert not list((tmp_path / "codes").iterdir())


def test_a_part_is_ranked_with_the_codecs_of_the_whole():
    whole = CORPUS.copy()
    whole[[7, 400]] = 0
    rows = np.sort(np.random.default_rng(9).choice(N, 200, replace=False))
    rows[0] = 7
    corpus = Representations(whole, layer_norm=False)
    part = corpus.part(rows)
    points = [OperatingPoint.parse(each) for each in ("48:float32", "32:int8", "16:int4@9>64:int8")]
    ranked = rank(points, QUERIES[:9], part, depth=DEPTH)
    for point in points[:2]:
        scores = last_scores(point, QUERIES[:9], whole)[:, rows]
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        assert_same_ranking(ranked[point].rows, expected, scores)
        assert (
            np.take_along_axis(scores, ranked[point].rows, 1) - ranked[point].scores < 1e-6
        ).all()
    assert part.empty.tolist() == [0]
    assert len(part) == 200
    np.testing.assert_array_equal(part[32, "int8"].codes, corpus[32, "int8"].codes[rows])
    assert part[32, "int8"].codec is corpus[32, "int8"].codec
    np.testing.assert_array_equal(
        part.part(np.arange(50, 100)).decoded((64, "int4")),
        corpus.decoded((64, "int4"))[rows[50:100]],
    )


@pytest.mark.parametrize("matrix_bytes", [0, 2**30])
def test_parts_are_ranked_like_a_corpus_of_their_own(monkeypatch, matrix_bytes):
    monkeypatch.setattr(candidate_scores, "MATRIX_BYTES", matrix_bytes)
    corpus, numbers = Representations(CORPUS, layer_norm=False), np.array([7, 3, 20])
    of_row = np.random.default_rng(3).integers(0, 4, N)
    parts = [np.flatnonzero(of_row == part) for part in range(4)]
    search = ExhaustiveSearch(POINTS, QUERIES, corpus, depth=DEPTH, parts=parts)
    assert_same(search.rank(POINTS), rank(POINTS, QUERIES, corpus, depth=DEPTH))
    for chosen in ([2], [3, 0]):
        rows = np.sort(np.concatenate([parts[number] for number in chosen]))
        alone = rank(POINTS, QUERIES[numbers], corpus.part(rows), depth=DEPTH)
        found = search.rank(POINTS, parts=chosen, queries=numbers)
        for point, (scores, places) in alone.items():
            np.testing.assert_allclose(found[point].scores, scores, atol=1e-6)
            exact = last_scores(point, QUERIES[numbers], CORPUS)
            assert_same_ranking(found[point].rows, rows[places], exact)


def test_only_new_candidates_are_scored(monkeypatch):
    monkeypatch.setattr(candidate_scores, "MATRIX_BYTES", 0)
    scored = []

    class Watched(Representations):
        def decoded(self, key, rows=slice(None)):
            scored.extend(rows.tolist())
            return super().decoded(key, rows)

    corpus = Watched(CORPUS, layer_norm=False)
    later = candidate_scores.CandidateScores((64, "int8"), QUERIES, corpus)
    first = np.arange(50).reshape(25, 2)
    later.scores([first, first])
    assert sorted(scored) == list(range(50))
    later.scores([np.append(first, np.full((25, 1), 99), axis=1)])
    assert sorted(scored) == [*range(50), 99]  # row 99 is decoded once for 25 queries
    exact = last_scores(OperatingPoint.parse("64:int8"), QUERIES, CORPUS)
    (scores,) = later.scores([first[[5, 2]]], np.array([5, 2]))
    np.testing.assert_allclose(scores, exact[[[5], [2]], first[[5, 2]]], atol=1e-6)


def test_codes_do_not_depend_on_codes_encoded_in_the_same_pass():
    whole = CORPUS.copy()
    whole[[7, 400]] = 0
    keys = [(dim, precision) for dim in (64, 32) for precision in PRECISIONS]
    together = Representations(whole, layer_norm=True)
    together.encode(keys)
    for key in keys:
        alone = Representations(whole, layer_norm=True)
        np.testing.assert_array_equal(together[key].codes, alone[key].codes)
        stored = as_stored(whole, layer_norm=True)
        codec = Codec.fit_stored(stored, *key, layer_norm=True)
        np.testing.assert_array_equal(alone[key].codes, codec.encode_stored(stored))
    assert together.empty.tolist() == [7, 400]


def test_the_number_of_steps_equals_the_count():
    taken = []
    corpus = Representations(CORPUS, layer_norm=False)
    rank(POINTS, QUERIES, corpus, depth=5, on_step=lambda: taken.append(1))
    assert len(taken) == count_steps(POINTS)


@pytest.mark.parametrize("point", ["64:float32", "32:int8", "64:binary", "32:int4@8>64:float16"])
def test_zero_vectors_score_0(point):
    corpus = CORPUS.copy()
    corpus[[3, 400]] = 0
    queries = np.concatenate([QUERIES[:2], np.zeros((1, 64), np.float32)])
    rows = rank_one(point, queries, corpus, depth=N)
    if ">" not in point:
        scores = last_scores(OperatingPoint.parse(point), queries, corpus)
        in_order = np.take_along_axis(scores, rows, 1)
        assert (np.diff(in_order, axis=1) <= 1e-6).all()
        assert in_order[0, 0] > 0 > in_order[0, -1]
    # Everything scores 0 with a query of zeros: the order is that of ties.
    np.testing.assert_array_equal(rows[2], np.arange(rows.shape[1]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_equal_documents_are_in_ascending_row(precision):
    corpus = np.repeat(CORPUS[:40], 3, axis=0)
    for dim in (64, 32 if precision == "pq4" else 33):  # pq4 codes pairs of dims
        rows = rank_one(f"{dim}:{precision}", corpus=corpus, depth=120)
        for line in rows:
            places = np.argsort(line).reshape(40, 3)
            np.testing.assert_array_equal(places[:, 1:] - places[:, :-1], 1)


def test_a_corpus_smaller_than_every_list():
    rows = rank_one("16:binary@200>64:int8", corpus=CORPUS[:3], depth=100)
    assert rows.shape == (25, 3)
    assert (np.sort(rows, axis=1) == np.arange(3)).all()
    assert rank_one("64:int4", QUERIES[:1], CORPUS[:1]).tolist() == [[0]]


def test_layer_norm_of_the_model_is_used_in_codes():
    corpus, queries = vectors(N, 5, shift=1.0), vectors(10, 6, shift=1.0)
    rows = rank_one("32:int8", queries, corpus, layer_norm=True)
    by_hand = prefix(layer_normalize(queries), 32) @ prefix(layer_normalize(corpus), 32).T
    agree = [len({*a} & {*b}) for a, b in zip(rows, np.argsort(-by_hand)[:, :DEPTH], strict=True)]
    assert np.mean(agree) > 0.95 * DEPTH
