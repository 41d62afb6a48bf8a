"""A query that is a document of the corpus ignores its own document at all points."""

from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set
from nestvec.data.made_queries import make_queries
from nestvec.engines.flat.representations import Representations
from nestvec.measure.dims import score_dims
from nestvec.measure.documents import DocumentSearch
from nestvec.measure.grid import BASELINES, Grid
from nestvec.measure.run import evaluate
from nestvec.measure.texts import Texts
from nestvec.metrics.relevance import evaluate_run
from nestvec.types import Document, OperatingPoint

GRID = Grid(
    dims=(64, 16),
    precisions=("float32", "int8", "binary"),
    shortlisted=("binary",),
    rescored=("int8",),
    keeps=(20,),
    baselines=BASELINES,
    metrics=("ndcg@10", "overlap@10"),
)


def argument_set(n_documents=420, n_queries=40):
    """Make a set like ArguAna: queries are documents, the answer is another document."""
    made = made_set(n_documents, n_queries)
    corpus, queries, qrels = dict(made.corpus), {}, {}
    for number, document_id in enumerate(list(made.corpus)[:n_queries]):
        answer = f"d{n_documents - 1 - number}"
        words = made.corpus[document_id].text.split()
        corpus[answer] = Document(" ".join([*words[:10], made.corpus[answer].text]))
        corpus[document_id] = replace(made.corpus[document_id], title=f"Title {number}")
        queries[document_id] = made.corpus[document_id].text
        qrels[document_id] = {answer: 1}
    return replace(made, corpus=corpus, queries=queries, qrels=qrels)


@pytest.fixture(scope="module")
def data():
    return argument_set()


@pytest.fixture(scope="module")
def curve(data):
    return evaluate(NestedHashEncoder(), data, GRID)


@pytest.fixture(scope="module")
def keeping(data):
    return evaluate(NestedHashEncoder(), data, replace(GRID, keep_self=True))


def found_ids(curve, point):
    top = curve.scores.top[curve.row_number(point)]
    return np.where(top >= 0, curve.scores.doc_ids[top], "")


def test_no_query_finds_its_own_document_at_any_point(data, curve, keeping):
    for row in curve.points:
        found = found_ids(curve, row.point)
        assert not (found == np.array(list(data.queries))[:, None]).any(), row.point
        assert (found[:, :9] != "").all()
    own = found_ids(keeping, "64:float32")[:, 0]
    assert (own == list(data.queries)).mean() > 0.9  # the titles differ a little
    assert curve.counts["self_matches"] == len(data.queries)
    assert keeping.counts["self_matches_kept"] == len(data.queries)
    assert "self_matches" not in keeping.counts


def test_the_scores_are_those_of_a_longer_ranking_without_the_own_document(data, curve):
    model = NestedHashEncoder()
    ids = list(data.corpus)
    documents = model.encode([data.corpus[id_].content for id_ in ids], kind="document")
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    scores = model.encode(list(data.queries.values()), kind="query") @ documents.T
    run = {
        query: {id_: float(score) for id_, score in zip(ids, line, strict=True) if id_ != query}
        for query, line in zip(data.queries, scores, strict=True)
    }
    expected = evaluate_run(run, data.qrels, ["ndcg@10"])
    np.testing.assert_allclose(
        curve.per_query("ndcg@10", "64:float32"), [each["ndcg@10"] for each in expected.values()]
    )


def test_scores_with_self_matches_are_lower_for_the_model_and_all_baselines(curve, keeping):
    assert curve.full.metrics["ndcg@10"] > keeping.full.metrics["ndcg@10"] + 0.2
    for name in BASELINES:
        without, with_self = curve.baselines[name][0], keeping.baselines[name][0]
        assert without.metrics["ndcg@10"] > with_self.metrics["ndcg@10"] + 0.05, name


def test_a_query_ignores_its_own_document_in_each_part_of_the_corpus(data):
    texts = Texts.of(data)
    vectors = NestedHashEncoder().encode(texts.rows, kind="document")
    queries = NestedHashEncoder().encode(texts.queries, kind="query")
    rows = np.arange(len(texts.row_ids))
    documents = texts.documents._replace(parts=[rows[rows % 3 == 0], rows[rows % 3 != 0]])
    point = OperatingPoint.parse("32:binary@20>64:int8")
    corpus = Representations(vectors, layer_norm=False)
    search = DocumentSearch([point], queries, corpus, documents, depth=5)
    chosen = np.array([5, 0, 17, 30, 2])
    for number, part in enumerate(documents.parts):
        found = search.rank([point], parts=[number], queries=chosen)[point]
        assert np.isin(found.rows, part).all()
        assert not (found.rows == texts.documents.own_row[chosen][:, None]).any()


def test_agreement_ignores_own_documents(data):
    log = replace(data, qrels={}, evidence="agreement")
    curve = evaluate(NestedHashEncoder(), log, replace(GRID, metrics=None, baselines=()))
    assert curve.counts["self_matches"] == len(data.queries)
    assert not (found_ids(curve, "16:binary") == np.array(list(data.queries))[:, None]).any()


def test_an_equal_id_with_another_text_is_not_a_self_match(data):
    other = {id_: f"{text} more" for id_, text in data.queries.items()}
    small = replace(GRID, baselines=(), keep_self=False)
    curve = evaluate(NestedHashEncoder(), replace(data, queries=other), small)
    assert curve.counts["self_matches"] == 0
    assert (found_ids(curve, "64:float32")[:, 0] == list(data.queries)).any()


def test_the_title_does_not_matter(data):
    with_title = {id_: data.corpus[id_].content for id_ in data.queries}
    curve = evaluate(NestedHashEncoder(), replace(data, queries=with_title), GRID)
    assert curve.counts["self_matches"] == len(data.queries)


def test_an_own_document_that_the_labels_grade_as_relevant_is_ranked(data):
    first = next(iter(data.queries))
    qrels = {**data.qrels, first: {first: 1}}
    curve = evaluate(NestedHashEncoder(), replace(data, qrels=qrels), GRID)
    assert curve.counts["self_matches"] == len(data.queries) - 1
    assert first in found_ids(curve, "64:float32")[0]


def test_chunks_of_other_documents_remain_when_a_chunk_is_the_query(data):
    corpus = {
        id_: replace(document, metadata={"parent": f"p{number // 2}"})
        for number, (id_, document) in enumerate(data.corpus.items())
    }
    grid = replace(GRID, group_by="parent")
    curve = evaluate(
        NestedHashEncoder(),
        replace(data, corpus=corpus, qrels={}, evidence="agreement"),
        replace(grid, metrics=None, baselines=()),
    )
    assert curve.counts["self_matches"] == len(data.queries)
    found = found_ids(curve, "64:float32")
    assert not (found[:, 0] == [corpus[id_].metadata["parent"] for id_ in data.queries]).any()
    assert all(len({*line}) == 10 for line in found.tolist())


def test_generated_queries_and_training_scores_follow_the_same_rule(data):
    made = make_queries(data.corpus, source="title")
    curve = evaluate(NestedHashEncoder(), made, replace(GRID, baselines=()))
    assert curve.counts["self_matches"] == 0  # the ids differ
    scores = score_dims(NestedHashEncoder(), data, [64])
    full = evaluate(NestedHashEncoder(), data, replace(GRID, baselines=())).full
    assert scores[64] == pytest.approx(full.metrics["ndcg@10"])
