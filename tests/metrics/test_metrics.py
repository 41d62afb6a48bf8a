"""Metrics against pytrec_eval, against values computed by hand, and at the limits."""

import doctest
import os
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

import nestvec.metrics.agreement
from nestvec.errors import InvalidArgument
from nestvec.metrics import relevance as metrics
from nestvec.metrics.agreement import overlap
from nestvec.metrics.relevance import (
    RelevanceLabels,
    agreement,
    evaluate_run,
    parse_metric,
    score,
)

CUTS = (1, 3, 10, 100)
NAMES = [f"{name}@{k}" for name in ("ndcg", "recall", "mrr", "map") for k in CUTS]
DATA = Path(os.environ.get("NESTVEC_DATA", Path(__file__).parents[3] / "shared" / "data"))


def reference(run, qrels):
    """Return pytrec_eval's values by nestvec's names; queries missing from the run score 0."""
    cuts = ",".join(map(str, CUTS))
    measures = {f"ndcg_cut.{cuts}", f"recall.{cuts}", f"map_cut.{cuts}"}
    values = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    result = {query_id: dict.fromkeys(NAMES, 0.0) for query_id in qrels}
    for query_id, found in values.items():
        for name, value in found.items():
            family, k = name.rsplit("_", 1)
            result[query_id][f"{family.removesuffix('_cut')}@{k}"] = value
    for k in CUTS:  # pytrec_eval's recip_rank has no cutoff: truncate the run
        top = {query_id: _first(found, k) for query_id, found in run.items()}
        ranks = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(top)
        for query_id, found in ranks.items():
            result[query_id][f"mrr@{k}"] = found["recip_rank"]
    return result


def _first(found, k):
    order = sorted(found, key=lambda doc: (np.float32(found[doc]), doc), reverse=True)
    return {doc: float(k - rank) for rank, doc in enumerate(order[:k])}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for query_id, values in expected.items():
        assert found[query_id] == pytest.approx(values, abs=1e-9), query_id


def untidy(seed):
    """Return a run with ties (some only in float32), and graded, incomplete qrels."""
    rng = np.random.default_rng(seed)
    docs = [f"d{number}" for number in range(40)]
    qrels, run = {}, {}
    for number in range(60):
        labeled = rng.choice([*docs, "ghost1", "ghost2"], size=rng.integers(1, 12), replace=False)
        grades = rng.integers(-2, 4, len(labeled))
        grades[0] = abs(grades[0])  # trec_eval crashes if all grades are negative
        qrels[f"q{number}"] = dict(zip(map(str, labeled), grades.tolist(), strict=True))
        if rng.random() < 0.85:
            found = rng.choice(docs, size=rng.integers(0, 30), replace=False)
            near = rng.integers(0, 6, len(found)) / 7 + rng.choice([0, 1e-10], len(found))
            run[f"q{number}"] = dict(zip(map(str, found), near.tolist(), strict=True))
    run["unlabeled"] = {"d1": 1.0}
    return run, qrels


@pytest.mark.parametrize("seed", range(8))
def test_untidy_random_runs_score_as_in_pytrec_eval(seed):
    run, qrels = untidy(seed)
    assert_same(evaluate_run(run, qrels, NAMES), reference(run, qrels))


@pytest.mark.parametrize("name", ["scifact/test", "cosqa/dev", "ms-support/test", "xquad-en/test"])
def test_real_qrels_score_as_in_pytrec_eval(name):
    dataset, split = name.split("/")
    path = DATA / "retrieval" / dataset / "qrels" / f"{split}.tsv"
    if not path.exists():
        pytest.skip(f"needs {path}")
    qrels = {}
    for line in path.read_text().splitlines()[1:]:
        query_id, doc_id, grade = line.split("\t")
        qrels.setdefault(query_id, {})[doc_id] = int(grade)
    docs = sorted({doc_id for grades in qrels.values() for doc_id in grades})
    rng = np.random.default_rng(0)
    run = {}
    for query_id, relevant in qrels.items():
        found = {*rng.choice(docs, 120).tolist(), *relevant}
        run[query_id] = {doc: float(rng.integers(0, 50) + 30 * (doc in relevant)) for doc in found}
    assert_same(evaluate_run(run, qrels, NAMES), reference(run, qrels))


def test_rows_score_as_the_same_ranking_in_a_run():
    run, qrels = untidy(3)
    query_ids, doc_ids = list(qrels), [f"d{number}" for number in range(40)][::-1]
    ranked = np.full((len(query_ids), 30), -1)
    for line, query_id in zip(ranked, query_ids, strict=True):
        order = list(_first(run.get(query_id, {}), 30))
        line[: len(order)] = [doc_ids.index(doc) for doc in order]
    labels = RelevanceLabels.from_qrels(qrels, query_ids, doc_ids)
    grades = labels.grades(ranked)
    expected = reference(run, qrels)
    for name in NAMES:
        values = [expected[query_id][name] for query_id in query_ids]
        np.testing.assert_allclose(score(name, grades, labels), values, atol=1e-9)


def test_an_empty_position_is_not_the_last_document_of_the_previous_query():
    labels = RelevanceLabels.from_qrels({"a": {"z": 1}}, ["a", "b"], ["y", "z"])
    assert labels.grades(np.array([[-1, 1], [-1, -1]])).tolist() == [[0, 1], [0, 0]]


def test_a_relevant_document_missing_from_the_corpus_counts_as_missed():
    labels = RelevanceLabels.from_qrels({"q": {"a": 1, "ghost": 1}}, ["q"], ["a", "b"])
    assert score("recall@10", labels.grades(np.array([[0, 1]])), labels).tolist() == [0.5]


def test_no_relevant_document_no_result_and_no_query_score_zero():
    labels = RelevanceLabels.from_qrels({}, ["q"], ["a"])
    nothing = RelevanceLabels.from_qrels({}, [], ["a"])
    for name in NAMES:
        assert score(name, labels.grades(np.array([[0]])), labels).tolist() == [0.0]
        assert score(name, np.zeros((1, 0)), labels).tolist() == [0.0]
        assert score(name, np.zeros((0, 3)), nothing).tolist() == []


@pytest.mark.parametrize(("module", "examples"), [(metrics, 3), (nestvec.metrics.agreement, 2)])
def test_docstring_examples_are_correct(module, examples):
    result = doctest.testmod(module)
    assert result.attempted >= examples
    assert result.failed == 0


def test_overlap_ignores_the_order():
    ranked = np.array([[5, 1, 2, 9], [0, 1, 2, 3], [-1, -1, -1, -1], [8, -1, -1, -1]])
    exact = np.array([[1, 5, 9, 2], [0, 1, 2, 3], [3, 2, 1, 0], [8, -1, -1, -1]])
    # First query: document 9 is outside the ranked top 3, and 2 is outside the exact top 3.
    np.testing.assert_allclose(overlap(ranked, exact, k=3), [2 / 3, 1, 0, 1])


def test_overlap_compares_each_query_with_itself():
    assert overlap(np.array([[1], [0]]), np.array([[0], [1]]), k=1).tolist() == [0, 0]


@pytest.mark.parametrize("bad", ["ndcg", "ndcg@0", "ndcg@-1", "p@5", "NDCG@10", "ndcg@1.5", ""])
def test_an_unknown_metric_raises_with_a_list_of_metrics(bad):
    with pytest.raises(InvalidArgument, match=r"ndcg@k, recall@k, mrr@k, map@k"):
        parse_metric(bad)


def test_rankings_of_other_queries_or_another_corpus_raise():
    labels = RelevanceLabels.from_qrels({"q": {"a": 1}}, ["q"], ["a", "b"])
    with pytest.raises(InvalidArgument, match="for 1 query"):
        labels.grades(np.zeros((2, 3), dtype=np.int64))
    with pytest.raises(InvalidArgument, match="Row 2 is not in the corpus"):
        labels.grades(np.array([[2]]))
    with pytest.raises(InvalidArgument, match="ranked has 1 query, but exact has 2"):
        overlap(np.zeros((1, 1), dtype=np.int64), np.zeros((2, 1), dtype=np.int64), k=1)


def test_a_nan_score_in_a_run_raises():
    with pytest.raises(InvalidArgument, match="'d7' in the run is NaN"):
        evaluate_run({"q": {"d7": float("nan")}}, {"q": {"d7": 1}}, ["ndcg@10"])


def test_rank_biased_overlap_computed_by_hand():
    exact = np.array([[7, 4, 9], [7, 4, 9], [7, 4, 9], [7, 4, -1], [-1, -1, -1]])
    ranked = np.array([[4, 7, 2], [7, 4, 9], [1, 2, 3], [7, 4, -1], [1, 2, 3]])
    # First line: X = 0, 2, 2, so 2/3 * .9^3 + (.1 * .9 * 2/2 + .1 * .81 * 2/3) = .486 + .144.
    # Fourth line: the exact ranking has two results, and both are shared.
    np.testing.assert_allclose(agreement("rbo@3", ranked, exact), [0.63, 1, 0, 1, 0])


def test_rank_biased_overlap_equals_the_published_formula():
    rng = np.random.default_rng(0)
    ranked, exact = (np.stack([rng.permutation(15)[:10] for _ in range(50)]) for _ in range(2))
    shared = [
        [len(set(a[:d]) & set(b[:d])) for d in range(1, 11)]
        for a, b in zip(ranked.tolist(), exact.tolist(), strict=True)
    ]
    p, depths = 0.9, np.arange(1, 11)
    expected = [
        x[-1] / 10 * p**10 + (1 - p) / p * sum(np.array(x) / depths * p**depths) for x in shared
    ]
    np.testing.assert_allclose(agreement("rbo@10", ranked, exact), expected, atol=1e-12)


def test_metrics_of_the_other_family_raise():
    labels = RelevanceLabels.from_qrels({"q": {"a": 1}}, ["q"], ["a"])
    with pytest.raises(InvalidArgument, match="overlap@3 compares with an exact ranking"):
        score("overlap@3", np.ones((1, 1)), labels)
    with pytest.raises(InvalidArgument, match="ndcg@3 needs relevance labels"):
        agreement("ndcg@3", np.zeros((1, 1), dtype=int), np.zeros((1, 1), dtype=int))
    assert [parse_metric(name).needs_labels for name in ("map@3", "rbo@3")] == [True, False]
