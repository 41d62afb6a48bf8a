"""Runs of other systems as baselines, scored as trec_eval does, on the curve's own queries."""

from dataclasses import replace

import numpy as np
import pytest
import pytrec_eval

from fakes import NestedHashEncoder, made_set, retrieval_set
from nestvec.data.trec_runs import read_run
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.runs import add_run
from nestvec.types import Document

METRICS = ("ndcg@10", "recall@50", "map@50", "overlap@10")
TREC = {"ndcg@10": "ndcg_cut_10", "recall@50": "recall_50", "map@50": "map_cut_50"}
GRID = Grid(dims=(64,), precisions=("float32",), shortlisted=(), metrics=METRICS)


@pytest.fixture(scope="module")
def data():
    return made_set()


@pytest.fixture(scope="module")
def curve(data):
    return evaluate(NestedHashEncoder(), data, GRID)


def write_run(path, run, tag="lucene"):
    """Write a run, each query best first."""
    lines = [
        f"{query_id} Q0 {id_} {rank} {score} {tag}\n"
        for query_id, found in run.items()
        for rank, (id_, score) in enumerate(sorted(found.items(), key=lambda each: -each[1]), 1)
    ]
    path.write_text("".join(lines))
    return path


def random_run(data, *, depth=60, seed=1):
    """Rank random documents, and often the relevant ones; scores with many ties."""
    rng = np.random.default_rng(seed)
    ids = np.array(list(data.corpus))
    run = {}
    for query_id, labels in data.qrels.items():
        found = {*rng.choice(ids, depth, replace=False).tolist(), *list(labels)[: rng.integers(3)]}
        run[query_id] = {id_: float(rng.integers(20)) / 4 for id_ in sorted(found)}
    return run


def test_a_run_scores_as_pytrec_eval_scores_it(curve, data, tmp_path):
    run = random_run(data)
    added = add_run(curve, data, write_run(tmp_path / "bm25.trec", run))
    ((point,),) = added.baselines.values()
    assert list(added.baselines) == ["lucene (run)"]
    reference = pytrec_eval.RelevanceEvaluator(data.qrels, {*TREC.values()}).evaluate(run)
    assert point.dim is None
    assert point.metrics == {
        metric: pytest.approx(np.mean([each[name] for each in reference.values()]))
        for metric, name in TREC.items()
    }
    assert 0 < point.metrics["ndcg@10"] < 1
    assert added.points == curve.points
    assert added.counts["queries_missing_in_lucene (run)"] == 0
    path = tmp_path / "curve.json"
    added.save(path)
    assert type(added).load(path).baselines == added.baselines


def test_queries_that_the_run_lacks_score_0_and_are_counted(curve, data, tmp_path, caplog):
    run = random_run(data)
    whole = add_run(curve, data, write_run(tmp_path / "a.trec", run), name="run")
    first = next(iter(run))
    alone = add_run(curve, data, write_run(tmp_path / "b.trec", {first: run[first]}), name="run")
    rest = {query_id: found for query_id, found in run.items() if query_id != first}
    without = add_run(
        curve, data, write_run(tmp_path / "c.trec", {**rest, "x": {"d1": 1}}), name="run"
    )
    parts = [each.baselines["run"][0].metrics["ndcg@10"] for each in (alone, without, whole)]
    assert parts[0] + parts[1] == pytest.approx(parts[2])
    assert alone.counts["queries_missing_in_run"] == len(data.queries) - 1
    assert without.counts["queries_missing_in_run"] == 1
    assert "run: ignored 1 query without labels" in caplog.text


def test_documents_outside_of_the_corpus_keep_their_rank(tmp_path):
    data = retrieval_set({"a": "x", "b": "y"}, {"q": "x"}, {"q": {"a": 1}})
    curve = evaluate(NestedHashEncoder(), data, replace(GRID, metrics=("mrr@10",)))
    run = write_run(tmp_path / "a.trec", {"q": {"zz": 2.0, "a": 1.0}})
    added = add_run(curve, data, run, name="run")
    assert added.baselines["run"][0].metrics == {"mrr@10": 0.5}
    assert added.counts["documents_of_run_outside_of_the_corpus"] == 1


def test_a_query_ignores_its_own_document_as_in_the_curve(tmp_path):
    data = retrieval_set({"q": "x y", "a": "x", "b": "y"}, {"q": "x y"}, {"q": {"a": 1}})
    run = write_run(tmp_path / "a.trec", {"q": {"q": 3.0, "a": 2.0, "b": 1.0}})
    for keep, expected in ((False, 1.0), (True, 0.5)):
        grid = replace(GRID, metrics=("mrr@10",), keep_self=keep)
        curve = evaluate(NestedHashEncoder(), data, grid)
        added = add_run(curve, data, run, name="run")
        assert added.baselines["run"][0].metrics == {"mrr@10": expected}


def test_chunks_of_a_run_are_grouped_as_in_the_curve(tmp_path):
    corpus = {f"{parent}{n}": Document(f"{parent} {n}", "", {"of": parent})
              for parent in "ab" for n in range(2)}  # fmt: skip
    data = replace(retrieval_set({}, {"q": "b 1"}, {"q": {"b": 1}}), corpus=corpus)
    curve = evaluate(NestedHashEncoder(), data, replace(GRID, metrics=("mrr@10",), group_by="of"))
    run = write_run(tmp_path / "a.trec", {"q": {"a0": 4.0, "a1": 3.0, "b1": 2.0, "b0": 1.0}})
    assert add_run(curve, data, run, name="run").baselines["run"][0].metrics == {"mrr@10": 0.5}


def test_a_short_run_and_contradicting_ranks_are_named(curve, data, tmp_path, caplog):
    lines = [f"{q} Q0 {d} {rank} {rank}.5 knn\n" for q in data.queries
             for rank, d in enumerate(("d1", "d2", "d3"), 1)]  # fmt: skip
    path = tmp_path / "distances.trec"
    path.write_text("".join(lines))
    add_run(curve, data, path)
    assert "ranks that contradict the scores, which are used: 80, such as 'q0'" in caplog.text
    assert "no query has more than 3 documents, so these values are too low: ndcg@10" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "contains no rows"),
        ("q0 0 d1 1\n", r"a\.trec:1: has 4 fields, so it is not a line of a run"),
        ("q0 Q0 d1 1 nan x\n", r"a\.trec:1: 'nan' is not a finite number"),
        ("q0 Q0 d1 one 2 x\n", r"a\.trec:1: 'one' is not a finite number"),
        ("q0 Q0 d1 1 2 x\n\nq0 Q0 d1 2 1 x\n", r"a\.trec:3: document 'd1' appears twice"),
    ],
)
def test_a_malformed_run_is_refused(tmp_path, text, problem):
    (tmp_path / "a.trec").write_text(text)
    with pytest.raises(DataError, match=problem):
        read_run(tmp_path / "a.trec")


def test_a_run_of_other_queries_or_without_labels_is_refused(curve, data, tmp_path):
    path = write_run(tmp_path / "a.trec", random_run(data))
    other = write_run(tmp_path / "b.trec", {"x": {"d1": 1.0}})
    with pytest.raises(InvalidArgument, match=r"such as 'x', is in made\. Check the query ids"):
        add_run(curve, data, other)
    with pytest.raises(InvalidArgument, match="not measured on the queries of made"):
        add_run(curve, made_set(n_queries=3), path)
    with pytest.raises(InvalidArgument, match="relevance labels only"):
        add_run(replace(curve, dataset={"evidence": "agreement"}), data, path)
    added = add_run(curve, data, path)
    with pytest.raises(InvalidArgument, match=r"has a baseline 'lucene \(run\)'"):
        add_run(added, data, path)


def test_the_name_of_a_run_is_its_tag_or_its_file(tmp_path):
    path = tmp_path / "mine.v2.trec"
    path.write_text("q Q0 a 1 2 x\nq Q0 b 2 1 x\n")
    assert read_run(path).name == "x"
    path.write_text("q Q0 a 1 2 x\nq Q0 b 2 1 y\n")
    assert read_run(path).name == "mine"
