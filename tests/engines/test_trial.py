"""The trial: compared with exact search, by hand, and with an index."""

import tempfile
from contextlib import closing

import numpy as np
import pytest

from made_index import build
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.embedded import trial as trial_module
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.sizes import planned_bytes
from nestvec.engines.embedded.trial import EmbeddedTrial
from nestvec.engines.flat import representations
from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.ranking import best
from nestvec.types import PRECISIONS, Document, OperatingPoint

N = 150
POINTS = ["32:float32", "16:int4", "16:binary@40>32:int8", "16:binary@40>32:int8@20>32:float16"]
POINTS += ["16:pq4@50>32:int8", "8:binary@50>30:pq4"]


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((N, 32)).astype(np.float32)


def ids_of(n):
    """Return ids whose descending order is the order of the rows."""
    return [f"{row:06}" for row in reversed(range(n))]


def searched(text, vectors, queries, k):
    """Return the scores and rows of the trial's search."""
    trial = EmbeddedTrial(Representations(vectors, layer_norm=False), ids_of(len(vectors)), {})
    hits = trial.searcher(OperatingPoint.parse(text))(queries, k)
    trial.close()
    rows = [[len(vectors) - 1 - int(id_) for id_ in line] for line in hits.ids]
    return np.array(hits.scores), np.array(rows)


def exact(text, vectors, queries):
    """Score every vector by only the last stage."""
    stage = OperatingPoint.parse(text).stages[-1]
    stored = as_stored(vectors)
    if stage.precision != "float32":
        stored = stored.astype(np.float16)
    codec = Codec.fit_stored(stored.astype(np.float32), stage.dim, stage.precision)
    return codec.prepare(queries) @ codec.decode(codec.encode_stored(stored)).T


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rescoring_the_whole_corpus_is_exact_search(precision, vectors, queries):
    text = f"8:binary@{N}>24:{precision}"
    scores, rows = searched(text, vectors, queries, 20)
    expected_scores, expected_rows = best(exact(text, vectors, queries), 20)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    np.testing.assert_array_equal(rows, expected_rows)


def test_each_stage_returns_its_best_candidates(vectors, queries):
    text = "8:binary@60>16:int8@15>32:float32"
    scores, rows = searched(text, vectors, queries, 5)
    _, shortlists = searched("8:binary", vectors, queries, 60)
    for line in range(len(queries)):
        query, left = queries[line : line + 1], shortlists[line]
        for stage, keep in (("16:int8", 15), ("32:float32", 5)):
            every = exact(stage, vectors, query)[0]
            left = np.array(sorted(left, key=lambda row, every=every: (-every[row], row))[:keep])
        np.testing.assert_array_equal(rows[line], left)
        expected = exact("32:float32", vectors, query)[0][left]
        np.testing.assert_allclose(scores[line], expected, atol=1e-6)


def test_a_shortlist_limits_what_is_found(vectors, queries):
    assert searched("8:binary@7>32:float32", vectors, queries, 20)[1].shape == (6, 7)
    assert searched("8:binary@900>32:float32", vectors, queries, 900)[1].shape == (6, N)


def test_ties_and_zero_vectors_by_hand():
    # Rows 0 and 2 are equal, so they tie; row 4 is zero and scores 0.
    corpus = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8], [0, 0]], dtype=np.float32)
    scores, rows = searched("2:int8@5>2:float32", corpus, np.array([[2, 0]], np.float32), 4)
    assert rows.tolist() == [[0, 2, 3, 1]]
    np.testing.assert_allclose(scores, [[1, 1, 0.6, 0]], atol=1e-7)


def test_zero_vectors_score_0_in_every_stage(vectors, queries):
    empty = np.array([3, 77])
    vectors[empty] = 0
    for text in ("16:int4", f"16:binary@{N}>32:int2", f"16:binary@{N}>32:int8@{N}>8:int4"):
        scores, rows = searched(text, vectors, queries, N)
        assert (scores[np.isin(rows, empty)] == 0).all()
        assert np.isin(rows, empty).sum() == 2 * len(queries)


@pytest.mark.parametrize("text", POINTS)
def test_an_index_and_its_trial_return_the_same_hits(
    tmp_path, model, corpus, embeddings, queries, text
):
    point = OperatingPoint.parse(text)
    ids = sorted(corpus, reverse=True)
    rows = {id_: row for row, id_ in enumerate(corpus)}
    in_order = embeddings[[rows[id_] for id_ in ids]]
    trial = EmbeddedTrial(Representations(in_order, layer_norm=False), ids, corpus)
    expected = trial.searcher(point)(queries, 10)
    trial.close()
    options = {"model": model, "corpus": corpus, "embeddings": embeddings, "point": point}
    build(tmp_path / "i", **options)
    index = EmbeddedEngine(tmp_path / "i", verify=True)
    assert index.search(queries, 10) == expected
    index.close()


def test_a_cold_search_returns_the_same_hits_and_leaves_no_file(
    monkeypatch, tmp_path, vectors, queries
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trial = EmbeddedTrial(Representations(vectors, layer_norm=False), ids_of(N), {})
    for text in ("16:binary@40>32:int8", "16:binary@40>32:int8@20>32:float16"):
        point = OperatingPoint.parse(text)
        warm = trial.searcher(point)(queries, 5)
        for _ in range(2):
            assert trial.cold_searcher(point)(queries, 5) == warm
    assert trial.cold_searcher(OperatingPoint.parse("16:binary")) is None
    assert list(tmp_path.iterdir()) != []
    trial.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["16:binary@40>32:float16", "8:int8@60>16:int8@30>24:float16"])
def test_vectors_stored_while_encoding_are_not_computed_again(vectors, queries, text):
    vectors[[3, 77]] = 0
    point, ids = OperatingPoint.parse(text), ids_of(N)
    with closing(EmbeddedTrial(Representations(vectors, layer_norm=False), ids, {})) as trial:
        expected = trial.searcher(point)(queries, 5)
    (ranked,) = rank([point], queries, Representations(vectors, layer_norm=False), depth=5).values()
    halves, some = as_stored(vectors).astype(np.float16), np.arange(0, N, 7)
    with Representations(vectors, layer_norm=False) as corpus:
        corpus.encode([stage.representation for stage in point.stages[:-1]], with_vectors=True)
        file = corpus.vectors_file
        np.testing.assert_array_equal(np.fromfile(file, np.float16).reshape(N, 32), halves)
        vectors[:] = 1  # everything is read from the files
        with closing(EmbeddedTrial(corpus, ids, {})) as trial:
            assert trial.searcher(point)(queries, 5) == expected
            assert trial._vector_file("float16") == file
            assert trial._vector_file("float32") != file
        (again,) = rank([point], queries, corpus, depth=5).values()
        np.testing.assert_array_equal(again.rows, ranked.rows)
        np.testing.assert_array_equal(again.scores, ranked.scores)
        part = corpus.part(some)
        assert part.vectors_file is None
        np.testing.assert_array_equal(
            part.decoded((32, "float16")), corpus.decoded((32, "float16"), some)
        )
    assert not file.exists()


def test_the_vectors_of_an_empty_corpus_can_be_stored():
    with Representations(np.empty((0, 8), np.float32), layer_norm=False) as corpus:
        corpus.encode([], with_vectors=True)
        assert corpus.vectors_file.stat().st_size == 0


def test_codes_larger_than_memory_are_scanned_in_part(monkeypatch, vectors, queries):
    vectors[[3, 140]] = 0
    monkeypatch.setattr(trial_module, "SCANNED_BYTES", 100 * 16)
    with closing(EmbeddedTrial(Representations(vectors, layer_norm=False), ids_of(N), {})) as trial:
        wide, narrow = map(OperatingPoint.parse, ("16:int8@100>32:float16", "16:binary@40>32:int8"))
        assert trial.scanned_share(wide) == 100 / N
        assert trial.scanned_share(narrow) == 1
        rows = [[N - 1 - int(id_) for id_ in line] for line in trial.searcher(wide)(queries, 5).ids]
        scores = exact("32:float16", vectors, queries)[:, :100]
        scores[:, 3] = 0
        assert np.max(rows) < 100
        np.testing.assert_array_equal(rows, np.argsort(-scores)[:, :5])
        found = trial.searcher(narrow)(queries, 40).ids
        assert np.max([N - 1 - int(id_) for line in found for id_ in line]) >= 100


def test_only_the_scanned_codes_of_float32_are_stored(monkeypatch, vectors, queries):
    monkeypatch.setattr(representations, "BLOCK_BYTES", 4 * 32 * 20)
    monkeypatch.setattr(representations, "FLOAT_CODES_BYTES", 4 * 16 * 50)
    corpus = Representations(vectors, layer_norm=False)
    with closing(EmbeddedTrial(corpus, ids_of(N), {})) as trial:
        point = OperatingPoint.parse("16:float32")
        assert trial.scanned_share(point) == 40 / N  # two blocks of 20
        rows = [
            [N - 1 - int(id_) for id_ in line] for line in trial.searcher(point)(queries, 5).ids
        ]
        scores = exact("16:float32", vectors, queries)[:, :40]
        np.testing.assert_array_equal(rows, np.argsort(-scores)[:, :5])
    (ranked,) = rank([point], queries, corpus, depth=N).values()
    assert ranked.rows.shape == (len(queries), N)


def test_lookup_ms_is_measured_if_there_are_documents(vectors):
    corpus, ids = Representations(vectors, layer_norm=False), ids_of(N)
    without = EmbeddedTrial(corpus, ids, {})
    assert without.lookup_ms(10) == 0
    assert without.bytes(OperatingPoint.parse("16:binary")).text_per_vector == 0
    documents = {id_: Document("a text " * 50) for id_ in ids}
    trial = EmbeddedTrial(corpus, ids, documents)
    assert trial.lookup_ms(10) > 0
    assert trial.bytes(OperatingPoint.parse("16:binary")).text_per_vector > 350
    for each in (without, trial):
        each.close()


@pytest.mark.parametrize(
    ("text", "ram", "codes", "read"),
    [
        ("100:binary", 13, 13, 0),
        ("64:int4", 32, 32, 0),
        ("64:binary@200>512:int8", 8, 8 + 512, 200 * 512),
        ("64:binary@1000>256:int8@100>512:float16", 8, 8 + 256, 1000 * 256 + 100 * 1024),
        ("64:int8@10>64:int8", 64, 64, 640),  # one file of codes serves both
        ("512:float16", 1024, 1024, 0),
    ],
)
def test_bytes_by_hand(text, ram, codes, read):
    found = planned_bytes(
        OperatingPoint.parse(text), "float16", 512, id_bytes=7.5, text_bytes=100.0
    )
    assert found.ram_per_vector == ram
    # Full vectors, codes, a row number and an offset of 8 bytes each, the id.
    assert found.disk_per_vector == 1024 + codes + 16 + 7.5
    assert found.read_per_query == read
    assert found.text_per_vector == 100
