"""Queries with filters rank only the documents that match, at every operating point."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set
from nestvec.curve.curve import Curve
from nestvec.data.trec_runs import TrecRun
from nestvec.engines.embedded.trial import EmbeddedTrial
from nestvec.engines.filters.where import Where
from nestvec.engines.flat.representations import Representations
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.measure.documents import DocumentRows
from nestvec.measure.engine_ranking import EngineRanking
from nestvec.measure.filters import FilterGroup, read_filters
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.runs import add_run
from nestvec.measure.texts import Texts
from nestvec.metrics.relevance import evaluate_run
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan
from nestvec.types import Hits, OperatingPoint
from nestvec.wording import count_texts

N = 600
FILTERS = ("", "n < 3", "half = 'a'", "n < 40 and half = 'b'", "tags has 't7'", "n<3")
"""Of 600 documents: all, 3 (0.5 %), 300, 20 (3.3 %), 60 (10 %), and the second again."""
GRID = Grid(
    dims=(64, 16),
    precisions=("float32", "int8", "binary"),
    shortlisted=("binary",),
    rescored=("int8", "float16"),
    keeps=(25,),
    metrics=("ndcg@10", "recall@10", "overlap@10"),
    filter_by="where",
)
POINTS = (
    "64:float32",
    "16:float32",
    "16:int8",
    "16:binary",
    "16:binary@25>64:int8",
    "16:binary@25>64:float16",
)


def with_metadata(made, number_of):
    corpus = {
        id_: replace(document, metadata={**document.metadata, **values_of(number_of(id_))})
        for id_, document in made.corpus.items()
    }
    return replace(made, corpus=corpus)


def values_of(n):
    return {"n": n, "half": "ab"[n % 2], "tags": [f"t{n % 10}", "all"]}


def with_filters(made, filters=FILTERS):
    """Give each query one of the filters in turn; queries without a filter lack the field."""
    fields = {
        id_: {"lang": "de", **({"where": text} if (text := filters[n % len(filters)]) else {})}
        for n, id_ in enumerate(made.queries)
    }
    return replace(made, query_fields=fields)


@pytest.fixture(scope="module")
def data():
    return with_filters(with_metadata(made_set(N, 120), lambda id_: int(id_[1:])))


@pytest.fixture(scope="module")
def curve(data):
    return evaluate(NestedHashEncoder(), data, GRID)


def allowed(text, n):
    """Return whether the document with number ``n`` matches a filter, without nestvec."""
    return {
        "": True,
        "n < 3": n < 3,
        "n<3": n < 3,
        "half = 'a'": n % 2 == 0,
        "n < 40 and half = 'b'": n < 40 and n % 2 == 1,
        "tags has 't7'": n % 10 == 7,
    }[text]


class BruteForce:
    """Ranks documents by products of decoded codes, among the documents that match."""

    def __init__(self, data, point):
        self.ids = sorted(data.corpus, reverse=True)
        self.point = OperatingPoint.parse(point)
        self.model = NestedHashEncoder()
        texts = [data.corpus[id_].content for id_ in self.ids]
        vectors = self.model.encode(texts, kind="document")
        corpus = Representations(vectors, layer_norm=False)
        keys = [stage.representation for stage in self.point.stages]
        self.codes = [(corpus.codec(key), corpus.decoded(key)) for key in keys]

    def best(self, query, text):
        """Return the ids and scores of the best ten documents of a query."""
        rows = np.array([row for row, id_ in enumerate(self.ids) if allowed(text, int(id_[1:]))])
        embedding = self.model.encode([query], kind="query")
        for stage, (codec, vectors) in zip(self.point.stages, self.codes, strict=True):
            scores = vectors[rows] @ codec.prepare(embedding)[0]
            best = np.argsort(-scores, kind="stable")[: stage.keep or 10]
            rows, scores = rows[best], scores[best]
        return [self.ids[row] for row in rows], scores


def found_ids(curve, point, number):
    top = curve.scores.top[curve.row_number(point), number]
    return curve.scores.doc_ids[top[top >= 0]].tolist()


@pytest.mark.parametrize("point", POINTS)
def test_rankings_are_those_of_numpy_over_the_documents_that_match(point, data, curve):
    exact = BruteForce(data, point)
    for number, query in enumerate(data.queries.values()):
        text = FILTERS[number % len(FILTERS)]
        expected, scores = exact.best(query, text)
        found = found_ids(curve, point, number)
        assert len(found) == len(expected)
        found_scores = curve.scores.top_scores[curve.row_number(point), number, : len(found)]
        np.testing.assert_allclose(found_scores, scores, atol=2e-5)
        if text == "n < 3":
            assert {*found} == {"d0", "d1", "d2"}
        if np.diff(-np.append(scores, -np.inf)).min() > 1e-5:
            assert found == expected


@pytest.mark.parametrize("point", ["16:int8", "16:binary@25>64:float16"])
def test_rankings_are_those_of_filtered_searches_of_an_index(point, data, curve, tmp_path):
    index = build_index(NestedHashEncoder(), data.corpus, point, tmp_path / "index")
    for number, query in enumerate(data.queries.values()):
        where = FILTERS[number % len(FILTERS)] or None
        hits = index.search([query], k=10, where=where)
        assert found_ids(curve, point, number) == hits.ids[0]
    index.close()


def test_the_reference_is_ranked_under_the_same_filter(data, curve):
    filtered = np.array([bool(data.query_fields[id_].get("where")) for id_ in data.queries])
    assert 80 < filtered.sum() < 110
    np.testing.assert_allclose(curve.per_query("overlap@10", "64:float32"), 1)
    few = curve.scores.slices["filter"] == "below 1 %"  # all of three documents are found
    np.testing.assert_allclose(curve.per_query("overlap@10", "16:binary")[few], 1)
    assert curve.per_query("overlap@10", "16:binary")[~few].mean() < 0.9
    assert all(row.by_size == {} for row in curve.points)
    assert all(row.filtered_p50_ms == {} for row in curve.points)
    assert curve.dataset["filter_by"] == "where"


def test_queries_without_filters_rank_as_without_the_option(data, curve):
    plain = evaluate(NestedHashEncoder(), data, replace(GRID, filter_by=None))
    assert plain.dataset["filter_by"] is None
    assert "filter" not in plain.scores.slices
    none = curve.scores.slices["filter"] == "none"
    for metric, values in curve.scores.metrics.items():
        np.testing.assert_allclose(values[:, none], plain.scores.metrics[metric][:, none])
    assert plain.scores.metrics["overlap@10"].shape == curve.scores.metrics["overlap@10"].shape
    assert plain.full.by_size  # the corpus is large enough for the trend


def test_slices_are_the_shares_of_documents_that_match(data, curve):
    names = {
        "": "none",
        "n < 3": "below 1 %",
        "n<3": "below 1 %",
        "half = 'a'": "above 10 %",
        "n < 40 and half = 'b'": "1 to 10 %",
        "tags has 't7'": "1 to 10 %",  # exactly 10 %
    }
    expected = [names[FILTERS[n % len(FILTERS)]] for n in range(len(data.queries))]
    assert curve.scores.slices["filter"].tolist() == expected
    where = Where.parse("n < 3")
    assert FilterGroup(where, np.arange(1), 0.01).selectivity == "1 to 10 %"
    assert FilterGroup(where, np.arange(1), 0.1 + 1e-9).selectivity == "above 10 %"
    _, filters = read_filters(data, "where")
    assert len(filters.groups) == 5  # equal conditions with other spaces are one group
    steps = []
    both = evaluate(
        NestedHashEncoder(),
        data,
        replace(GRID, slice_by=("lang",)),
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[-1][0] == steps[-1][1]  # no steps of a trend, which is not measured
    assert list(both.scores.slices) == ["lang", "filter"]


def test_a_plan_tests_the_slices_by_selectivity(curve, tmp_path):
    curve.save(tmp_path / "curve.json")
    loaded = Curve.load(tmp_path / "curve.json")
    anywhere = plan(loaded, Budget(metric="overlap@10", min_retention=0.5))
    chosen = plan(loaded, Budget(metric="overlap@10", min_retention=0.5, min_slice_retention=0.5))
    text = " ".join(chosen.reasons)
    assert "Slices tested for a retention of 50 %: 4, all confirmed" in text
    assert "so 50 % in filter=above 10 %, filter=none is not confirmed" in text
    assert anywhere.point != chosen.point


def test_labels_outside_of_the_filters_are_counted(data, curve):
    outside = sum(
        not allowed(FILTERS[number % len(FILTERS)], int(doc[1:]))
        for number, id_ in enumerate(data.queries)
        for doc in data.qrels[id_]
    )
    assert outside > 50
    assert curve.counts["filtered_relevant"] == outside
    assert f"{outside} relevant documents that the filter of their query excludes" in " ".join(
        count_texts(curve.counts)
    )
    assert (
        "filtered_relevant"
        not in evaluate(NestedHashEncoder(), data, replace(GRID, filter_by=None)).counts
    )


def test_chunks_that_match_rank_their_documents(data):
    corpus = {}
    for id_, document in data.corpus.items():
        words = document.text.split()
        for chunk in range(3):
            part = replace(document, text=" ".join(words[chunk::3]), metadata={"parent": id_})
            corpus[f"{id_}-{chunk}"] = part
    made = with_metadata(
        replace(data, corpus=corpus), lambda id_: 3 * int(id_[1:].split("-")[0]) + int(id_[-1])
    )
    curve = evaluate(NestedHashEncoder(), made, replace(GRID, group_by="parent"))
    for number, id_ in enumerate(made.queries):
        text = FILTERS[number % len(FILTERS)]
        found = found_ids(curve, "64:float32", number)
        assert len(found) == len({*found})
        if text in ("n < 3", "n<3"):
            assert found == ["d0"]  # its three chunks
        if text == "tags has 't7'":
            parents = {f"d{n}" for n in range(N) if any((3 * n + c) % 10 == 7 for c in range(3))}
            assert {*found} <= parents
            assert len(found) == 10
        assert id_ in curve.scores.query_ids


def test_a_query_ignores_its_own_document_in_each_group():
    documents = DocumentRows(np.arange(6), np.array([5, 2, -1, 0]))
    part = documents.part(np.array([0, 2, 5]), np.array([0, 1, 2]))
    assert part.doc_of_row.tolist() == [0, 2, 5]
    assert part.own_row.tolist() == [2, 1, -1]
    part = documents.part(np.array([1, 3]), np.array([0, 3]))  # the own documents do not match
    assert part.own_row.tolist() == [-1, -1]


def test_self_matches_are_left_out_under_a_filter(data):
    queries = {id_: data.corpus[id_].text for id_ in list(data.corpus)[:40]}
    qrels = {id_: {"d599": 1, "d2": 1} for id_ in queries}
    made = with_filters(replace(data, queries=queries, qrels=qrels))
    curve = evaluate(NestedHashEncoder(), made, GRID)
    for number, id_ in enumerate(queries):
        assert id_ == "d2" or id_ not in found_ids(curve, "64:float32", number)
    assert {*found_ids(curve, "64:float32", 1)} == {"d0", "d2"}  # query d1, n < 3


class MadeTrial:
    """The parts of a trial that rankings use; the lookup of a document takes one second."""

    def settings(self, point):
        return {"index": "made"}

    def lookup_ms(self, k):
        return 1000.0 * k


def test_an_engine_that_misses_documents_searches_with_the_filters(data, curve):
    data, filters = read_filters(data, "where")
    texts, model, point = Texts.of(data), NestedHashEncoder(), OperatingPoint.parse("64:float32")
    exact = BruteForce(data, str(point))
    query_of = {}
    calls = []

    def search(embeddings, k, where=None, /):
        calls.append((str(where), len(embeddings)))
        text = next((text for text in FILTERS if text and Where.parse(text) == where), "")
        found = [exact.best(query_of[each.tobytes()], text) for each in embeddings]
        return Hits([ids for ids, _ in found], [scores for _, scores in found])

    queries = model.encode(texts.queries, kind="query")
    query_of.update(
        {each.tobytes(): text for each, text in zip(queries, texts.queries, strict=True)}
    )
    ranking = EngineRanking(MadeTrial(), queries, texts, filters, depth=10)
    ranking.add(point, search)
    assert sorted(calls) == [
        *(("None", 20), ("half = 'a'", 20), ("n < 3", 40)),
        *(("n < 40 and half = 'b'", 20), ("tags has 't7'", 20)),
    ]
    for number in range(len(queries)):
        found = ranking.ranked[point].rows[number]
        assert [texts.doc_ids[row] for row in found if row >= 0] == found_ids(curve, point, number)
    calls.clear()
    ranking.time_filtered(point, search, 2)
    assert {*ranking.filtered_p50_ms[point]} == {"below 1 %", "1 to 10 %", "above 10 %"}
    assert all(2000 < ms < 3000 for ms in ranking.filtered_p50_ms[point].values())
    assert {n for _, n in calls} == {1}
    assert "None" not in {where for where, _ in calls}
    assert ranking.settings == {point: {"index": "made"}}


def test_queries_whose_filter_matches_nothing_are_not_measured(data, caplog):
    log = replace(data, qrels={}, evidence="agreement")
    log = with_filters(log, ("", "n < 40", "n > 10000", "half = 'z'"))
    grid = replace(GRID, metrics=None)
    with caplog.at_level(logging.WARNING):
        curve = evaluate(NestedHashEncoder(), log, grid)
    assert "filters that match no document: 2, such as 'n > 10000'" in caplog.text
    assert curve.dataset["n_queries"] == 60
    assert len(curve.scores.query_ids) == 60
    assert curve.full.metrics["overlap@10"] == 1
    assert curve.counts["queries_with_empty_filter"] == 60
    assert "60 queries whose filter matches no document, not measured" in count_texts(curve.counts)
    nothing = with_filters(log, ("n > 10000",))
    with pytest.raises(InvalidArgument, match="No document matches the filter of any query"):
        evaluate(NestedHashEncoder(), nothing, grid)


def test_a_run_is_scored_on_the_measured_queries(data):
    made = with_filters(data, ("n < 40", "n > 10000"))
    curve = evaluate(NestedHashEncoder(), made, GRID)
    run = TrecRun("other", {id_: {f"d{n}": float(n) for n in range(20)} for id_ in made.queries})
    added = add_run(curve, made, run)
    measured = {id_: made.qrels[id_] for id_ in curve.scores.query_ids.tolist()}
    scores = evaluate_run(run.scores, measured, ["recall@10"])
    mean = sum(each["recall@10"] for each in scores.values()) / len(measured)
    assert len(measured) == 60
    assert added.baselines["other (run)"][0].metrics["recall@10"] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n <", r"query 'q1' has the filter 'n <'\. filter, column 4: found the end"),
        ("m = 1", r"query 'q1' has the filter 'm = 1'\. filter: no document has the field m"),
        ("n = 'x'", r"query 'q1' has the filter \"n = 'x'\"\. filter: n contains numbers"),
    ],
)
def test_a_filter_that_cannot_be_used_names_the_query(data, text, problem):
    made = with_filters(data, ("", text))
    model = NestedHashEncoder()
    with pytest.raises(InvalidArgument, match=problem) as refused:
        evaluate(model, made, GRID)
    assert "\n" not in str(refused.value)
    assert model.calls == []  # before anything is encoded


def test_settings_that_filters_exclude_are_refused(data):
    with pytest.raises(InvalidArgument, match="No query has the field 'where'"):
        evaluate(NestedHashEncoder(), replace(data, query_fields={}), GRID)
    with pytest.raises(InvalidArgument, match="baselines are not measured with filters"):
        Grid(filter_by="where", baselines=("svd",))
    with pytest.raises(InvalidArgument, match="slice_by contains 'filter'"):
        Grid(filter_by="filter", slice_by=("filter",))
    Grid(slice_by=("filter",))
    trial = EmbeddedTrial(
        Representations(np.eye(4, dtype=np.float32), layer_norm=False), list("dcba"), {}
    )
    search = trial.searcher(OperatingPoint.parse("4:float32"))
    assert len(search(np.eye(4, dtype=np.float32), 2).ids) == 4
    with pytest.raises(InvalidArgument, match="cannot filter documents"):
        search(np.eye(4, dtype=np.float32), 2, Where.parse("n < 3"))
    trial.close()
