"""Other parts of a curve: evidence, slices, texts, recall depths and baselines."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set
from nestvec.curve.curve import Curve
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.grid import BASELINES, Grid
from nestvec.measure.run import evaluate
from nestvec.metrics.agreement import overlap
from nestvec.models.load import load_model

GRID = Grid(dims=(64, 32, 16), precisions=("float32", "int8"), shortlisted=("binary",), keeps=(60,))


@pytest.fixture(scope="module")
def data():
    made = made_set(400, 60)
    fields = {id_: {"lang": "de" if n % 3 else "fr"} for n, id_ in enumerate(made.queries)}
    del fields["q0"]
    return replace(made, query_fields=fields)


@pytest.fixture(scope="module")
def curve(data):
    grid = replace(GRID, slice_by=("lang",), baselines=BASELINES)
    return evaluate(NestedHashEncoder(), data, grid)


@pytest.fixture(scope="module")
def log(data):
    return replace(data, qrels={}, evidence="agreement")


def test_a_query_log_is_measured_by_agreement_only(log):
    curve = evaluate(NestedHashEncoder(), log, GRID)
    assert curve.evidence == "agreement"
    assert list(curve.scores.metrics) == ["overlap@10", "rbo@10"]
    assert curve.full.metrics == {"overlap@10": 1, "rbo@10": pytest.approx(1)}
    assert curve.scores.top_relevant.size == 0
    exact, cheap = (curve.scores.top[curve.row_number(p)] for p in ("64:float32", "16:int8"))
    np.testing.assert_array_equal(
        curve.per_query("overlap@10", "16:int8"), overlap(cheap, exact, 10)
    )
    assert curve["16:int8"].metrics["overlap@10"] < 0.9  # otherwise the comparison shows nothing
    assert all(row.k_for_full_recall is None for row in curve.points)
    quarter, _, whole = curve["16:float32"].by_size["overlap@10"]
    assert quarter.retention > whole.retention


def test_bm25_is_not_measured_without_labels(log, caplog):
    grid = replace(GRID, baselines=("bm25", "svd"))
    with caplog.at_level(logging.WARNING):
        curve = evaluate(NestedHashEncoder(), log, grid)
    assert list(curve.baselines) == ["svd"]
    assert "bm25 is not measured" in caplog.text
    assert set(curve.baselines["svd"][0].metrics) == {"overlap@10", "rbo@10"}


def test_label_metrics_of_a_query_log_and_an_empty_log_are_rejected_before_encoding(log):
    model = NestedHashEncoder()
    with pytest.raises(InvalidArgument, match="ndcg@10 needs relevance labels"):
        evaluate(model, log, replace(GRID, metrics=("ndcg@10",)))
    with pytest.raises(DataError, match="has no queries"):
        evaluate(model, replace(log, queries={}), GRID)
    with pytest.raises(InvalidArgument, match=r"No query has the field 'length'. Fields: lang"):
        evaluate(model, log, replace(GRID, slice_by=("length",)))
    assert not model.calls


def test_slices_contain_the_value_of_each_query(data, curve):
    expected = [str(data.query_fields.get(id_, {}).get("lang", "")) for id_ in data.queries]
    assert curve.scores.slices["lang"].tolist() == expected
    assert expected[0] == ""


def test_texts_scores_and_relevance_belong_to_the_stored_documents(data, curve):
    scores = curve.scores
    assert scores.query_texts.tolist() == list(data.queries.values())
    titles = [data.corpus[id_].text[:120] for id_ in scores.doc_ids.tolist()]
    assert scores.doc_titles.tolist() == titles
    assert (np.diff(scores.top_scores, axis=2) <= 0).all()
    for line, query_id in enumerate(scores.query_ids.tolist()):
        found = scores.doc_ids[scores.top[3, line]].tolist()
        relevant = [data.qrels[query_id].get(id_, 0) > 0 for id_ in found]
        assert scores.top_relevant[3, line].tolist() == relevant


def test_intervals_contain_the_retention(curve):
    for row in curve.points:
        for metric, (low, high) in row.interval.items():
            assert low <= row.retention[metric] <= high
    assert curve.full.interval["ndcg@10"] == (1, 1)


def test_a_longer_list_reaches_the_recall_of_full_precision(data):
    names = tuple(f"recall@{k}" for k in range(1, 101))
    curve = evaluate(NestedHashEncoder(), data, replace(GRID, metrics=names))
    wanted = curve.full.metrics["recall@10"]
    for row in curve.points:
        enough = [k for k in range(1, 101) if row.metrics.get(f"recall@{k}", 0) >= wanted - 1e-9]
        # A shortlist of 60 hands on 60 at most: its recall stays there.
        assert row.k_for_full_recall == (enough[0] if enough else None)
    assert curve.full.k_for_full_recall <= 10
    assert (curve["16:int8"].k_for_full_recall or 101) > 10


def test_baselines_have_a_point_for_each_dim_and_bm25_has_one(curve):
    assert set(curve.baselines) == set(BASELINES)
    for name in ("svd", "pca", "random"):
        points = curve.baselines[name]
        assert [point.dim for point in points] == [64, 32, 16]
        assert all(set(point.metrics) == set(curve.full.metrics) for point in points)
    assert [point.dim for point in curve.baselines["bm25"]] == [None]
    for name in ("svd", "random"):  # other axes change nothing at full width
        for metric, value in curve.baselines[name][0].metrics.items():
            assert value == pytest.approx(curve.full.metrics[metric], abs=0.01)
    narrow = {name: points[-1].metrics["ndcg@10"] for name, points in curve.baselines.items()}
    assert narrow["random"] < narrow["svd"]


def test_all_parts_are_saved_and_loaded(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    again = Curve.load(tmp_path / "curve.json")
    assert (again.points, again.baselines) == (curve.points, curve.baselines)
    np.testing.assert_array_equal(again.scores.slices["lang"], curve.scores.slices["lang"])


def test_the_depth_sets_the_metrics(data):
    curve = evaluate(NestedHashEncoder(), data, replace(GRID, depth=20))
    assert list(curve.full.metrics) == ["recall@20", "ndcg@20", "overlap@20"]
    assert curve.dataset["depth"] == 20


def test_precomputed_vectors_have_no_encoding_time(data, tmp_path):
    model = NestedHashEncoder()
    for name, texts, kind in (
        ("corpus", {id_: each.content for id_, each in data.corpus.items()}, "document"),
        ("queries", data.queries, "query"),
    ):
        np.save(tmp_path / f"{name}.npy", model.encode(list(texts.values()), kind=kind))
        (tmp_path / f"{name}.ids.txt").write_text("\n".join(texts) + "\n")
    assert evaluate(load_model(tmp_path), data, GRID).encode_ms is None
    assert evaluate(model, data, GRID).encode_ms > 0
