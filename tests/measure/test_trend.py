"""Retention at parts of the corpus equals measuring these parts, with every query."""

from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set
from nestvec.measure import documents, trend
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.texts import Texts

GRID = Grid(precisions=("float32",), shortlisted=("binary",), rescored=("float16",), keeps=(40,))


@pytest.fixture(scope="module")
def data():
    return made_set(801, 60)


@pytest.fixture(scope="module")
def curve(data):
    return evaluate(NestedHashEncoder(), data, GRID)


def test_every_point_and_metric_has_three_sizes_the_last_is_the_corpus(curve):
    looked_at = [row for row in curve.points if row.by_size]
    assert {row.point for row in looked_at} >= {
        *(row.point for row in curve.points if row.point.stages[0].precision == "float32"),
        *(row.point for row in curve.pareto_front("ndcg@10")),
    }
    assert len(looked_at) >= 5
    for row in looked_at:
        for metric in ("ndcg@10", "recall@100", "overlap@10"):
            quarter, half, whole = row.by_size[metric]
            assert [quarter.n_documents, half.n_documents, whole.n_documents] == [200, 400, 801]
            assert whole.retention == pytest.approx(row.retention[metric])
            assert (whole.low, whole.high) == pytest.approx(row.interval[metric])
            assert quarter.low <= quarter.retention <= quarter.high
    for size in curve.full.by_size["ndcg@10"]:
        assert size[1:] == pytest.approx((1, 1, 1), abs=1e-12)


def test_a_quarter_scores_like_a_separate_data_set(data):
    # Without fitted codecs: those of a quarter are fitted to the whole corpus.
    grid = replace(GRID, shortlisted=("float16",))
    curve, texts = evaluate(NestedHashEncoder(), data, grid), Texts.of(data)
    split = trend.Quarters.draw(texts.labels(), labeled=True)
    sums, counts = {}, {}
    for quarter in range(4):
        inside = {id_ for id_, of in zip(texts.doc_ids, split.of_doc, strict=True) if of == quarter}
        qrels = {
            id_: {doc: grade for doc, grade in grades.items() if doc in inside}
            for id_, grades in data.qrels.items()
        }
        qrels = {id_: grades for id_, grades in qrels.items() if grades}
        part = replace(
            data,
            corpus={id_: data.corpus[id_] for id_ in inside},
            queries={id_: data.queries[id_] for id_ in qrels},
            qrels=qrels,
        )
        alone = evaluate(NestedHashEncoder(), part, grid)
        for row in alone.points:
            scores = alone.per_query("ndcg@10", row.point)
            for id_, value in zip(alone.scores.query_ids, scores, strict=True):
                sums[row.point, id_] = sums.get((row.point, id_), 0) + value
                counts[row.point, id_] = counts.get((row.point, id_), 0) + 1
    for row in (row for row in curve.points if row.by_size):
        cheap, full = (
            np.mean([sums[point, id_] / counts[point, id_] for id_ in data.queries])
            for point in (row.point, curve.full.point)
        )
        assert row.by_size["ndcg@10"][0].retention == pytest.approx(cheap / full, abs=1e-12)


@pytest.mark.parametrize("labeled", [True, False])
def test_every_query_counts_at_each_size(data, labeled):
    scored = trend.Quarters.draw(Texts.of(data).labels(), labeled=labeled).scored
    assert scored.any(axis=1).all()
    if not labeled:
        assert (scored.sum(axis=1) == 1).all()


def test_narrow_prefixes_lose_more_as_the_corpus_grows():
    curve = evaluate(NestedHashEncoder(), made_set(2_000, 200), replace(GRID, shortlisted=()))
    quarter, half, whole = (size.retention for size in curve["16:float32"].by_size["overlap@10"])
    assert quarter > half > whole


def test_the_trend_does_not_depend_on_the_memory_for_lists(data, curve, monkeypatch):
    monkeypatch.setattr(documents, "LIST_BYTES", 300_000)  # of a few queries
    in_blocks = evaluate(NestedHashEncoder(), data, GRID)
    for row, expected in zip(in_blocks.points, curve.points, strict=True):
        assert row.metrics == pytest.approx(expected.metrics)
        if row.by_size and expected.by_size:
            np.testing.assert_allclose(row.by_size["ndcg@10"], expected.by_size["ndcg@10"])


@pytest.mark.parametrize(("n", "queries"), [(399, 60), (801, 19)])
def test_small_data_sets_have_no_trend(n, queries):
    curve = evaluate(NestedHashEncoder(), made_set(n, queries), GRID)
    assert all(row.by_size == {} for row in curve.points)
