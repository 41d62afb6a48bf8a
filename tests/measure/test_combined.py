"""Metrics of rankings that are fused with a run or reranked, and plans on them."""

import numpy as np
import pytest
import pytrec_eval

from fakes import NestedHashEncoder, made_set
from nestvec.curve.curve import Curve
from nestvec.data.trec_runs import TrecRun
from nestvec.errors import InvalidArgument
from nestvec.measure.combined import Fusion, Reranking
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.operate.certificate import certify
from nestvec.operate.verification import verify_certificate
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan

METRICS = ("ndcg@10", "recall@100", "overlap@10")
GRID = Grid(dims=(64, 16), precisions=("float32", "binary"), keeps=(25,), metrics=METRICS)
FULL = "64:float32"


@pytest.fixture(scope="module")
def data():
    return made_set(300, 400)


def oracle(data, *, noise=0.3, depth=30, seed=1):
    """Score the relevant documents highest, mostly, and some random documents."""
    rng, ids, run = np.random.default_rng(seed), np.array(list(data.corpus)), {}
    for query_id, labels in data.qrels.items():
        drawn = rng.choice(ids, depth, replace=False).tolist()
        run[query_id] = {id_: float(np.float32(rng.random() * noise)) for id_ in drawn}
        for id_, grade in labels.items():
            if rng.random() < 0.8:
                run[query_id][id_] = float(np.float32(grade * rng.random()))
    return TrecRun("lexical", run)


@pytest.fixture(scope="module")
def run(data):
    return oracle(data)


@pytest.fixture(scope="module")
def curve(data, run):
    combined = (Fusion(run, weight=0.25), Reranking(run, depths=(5, 60)))
    return evaluate(NestedHashEncoder(), data, GRID, runs=combined)


def dense_runs(data, point):
    """Rank all documents by the vectors, as a run of 100 documents for each query."""
    model = NestedHashEncoder()
    texts = [each.content for each in data.corpus.values()]
    one, other = (
        model.encode([*data.queries.values()], kind="query"),
        model.encode(texts, kind="document"),
    )
    dim = int(point.partition(":")[0])
    one, other = (
        each[:, :dim] / np.linalg.norm(each[:, :dim], axis=1)[:, None] for each in (one, other)
    )
    scores = one.astype(np.float64) @ other.astype(np.float64).T
    ids = list(data.corpus)
    return {
        query_id: dict(sorted(zip(ids, line, strict=True), key=lambda each: -each[1])[:100])
        for query_id, line in zip(data.queries, scores.tolist(), strict=True)
    }


def ordered(found):
    return sorted(found, key=lambda id_: (np.float32(found[id_]), id_), reverse=True)


def ndcg(data, rankings):
    """Score lists of ids by pytrec_eval, mean of all queries."""
    run = {
        query_id: {id_: float(-rank) for rank, id_ in enumerate(ids)}
        for query_id, ids in rankings.items()
    }
    found = pytrec_eval.RelevanceEvaluator(data.qrels, {"ndcg_cut_10"}).evaluate(run)
    return np.mean([each["ndcg_cut_10"] for each in found.values()])


@pytest.mark.parametrize("point", [FULL, "16:float32"])
def test_fused_metrics_equal_plain_loops_scored_by_pytrec_eval(curve, data, run, point):
    ranks, sums = {}, {}
    for query_id, dense in dense_runs(data, point).items():
        ranks[query_id], sums[query_id] = {}, {}
        for found, weight in ((dense, 0.25), (run.scores[query_id], 0.75)):
            low, span = min(found.values()), max(found.values()) - min(found.values())
            for rank, id_ in enumerate(ordered(found), 1):
                of = ranks[query_id]
                of[id_] = of.get(id_, 0) + 1 / (60 + rank)
                of = sums[query_id]
                of[id_] = of.get(id_, 0) + weight * (found[id_] - low) / span
    fused = {q: sorted(of, key=lambda i: (of[i], i), reverse=True) for q, of in ranks.items()}
    assert curve[point].metrics["rrf:ndcg@10"] == pytest.approx(ndcg(data, fused), abs=1e-4)
    fused = {q: sorted(of, key=lambda i: (of[i], i), reverse=True) for q, of in sums.items()}
    assert curve[point].metrics["sum:ndcg@10"] == pytest.approx(ndcg(data, fused), abs=1e-4)


@pytest.mark.parametrize("depth", [5, 60])
def test_reranked_metrics_equal_plain_loops_scored_by_pytrec_eval(curve, data, run, depth):
    rankings = {}
    for query_id, dense in dense_runs(data, "16:float32").items():
        ids, scores = ordered(dense), run.scores[query_id]
        scored = {id_: scores[id_] for id_ in ids[:depth] if id_ in scores}
        first = ordered(scored)
        rankings[query_id] = [*first, *(id_ for id_ in ids if id_ not in first)]
    found = curve["16:float32"].metrics[f"rerank{depth}:ndcg@10"]
    assert found == pytest.approx(ndcg(data, rankings), abs=1e-4)
    assert found > curve["16:float32"].metrics["ndcg@10"]


def test_combined_metrics_are_relative_to_full_precision_combined_alike(curve):
    assert [*curve.full.metrics] == [
        *METRICS,
        *(f"{way}:{name}" for way in ("rrf", "sum", "rerank5", "rerank60") for name in METRICS),
    ]
    assert set(curve.full.retention.values()) == {1.0}
    assert curve.full.metrics["rrf:overlap@10"] == 1
    cheap = curve["16:binary"]
    assert cheap.retention["ndcg@10"] < cheap.retention["rrf:ndcg@10"] < 1
    assert cheap.metrics["rrf:overlap@10"] < 1
    low, high = cheap.interval["rrf:ndcg@10"]
    assert low < cheap.retention["rrf:ndcg@10"] < high


def test_a_deeper_reranker_allows_a_cheaper_first_stage(curve):
    retention = curve["16:binary"].retention
    assert retention["ndcg@10"] < retention["rerank60:ndcg@10"]
    assert curve.counts["pairs_without_score_of_lexical"] > 0


def test_a_plan_and_a_certificate_of_fused_quality(curve, tmp_path):
    curve.save(tmp_path / "curve.json")
    loaded = Curve.load(tmp_path / "curve.json")
    plain, fused = (
        plan(loaded, Budget(min_retention=0.85, metric=name)) for name in ("ndcg@10", "rrf:ndcg@10")
    )
    assert (plain.confirmed, fused.confirmed) == (True, True)
    assert fused.row.cost.ram_bytes_per_vector < plain.row.cost.ram_bytes_per_vector
    assert "of rrf:nDCG@10" in fused.reasons[0]
    certificate = certify(loaded, fused)
    assert verify_certificate(certificate, curve=loaded).valid
    assert certificate.dataset["fusion"]["run"] == "lexical"
    assert any("results of another system" in each for each in certificate.statement.covers)
    agreeing = plan(loaded, Budget(min_overlap=0.5, metric="rrf:overlap@10"))
    assert agreeing.goal.kind == "overlap"


def test_pairs_without_a_score_are_counted_and_named(data, run, caplog):
    grid = Grid(dims=(64,), precisions=("float32",), shortlisted=(), metrics=("ndcg@10",))
    first = next(iter(data.queries))
    alone = TrecRun("ce", {first: run.scores[first]})
    curve = evaluate(NestedHashEncoder(), data, grid, runs=[Reranking(alone, depths=(4,))])
    dense = dense_runs(data, FULL)
    missing = sum(
        id_ not in alone.scores.get(query_id, {})
        for query_id, found in dense.items()
        for id_ in ordered(found)[:4]
    )
    assert curve.counts["pairs_without_score_of_ce"] == missing
    assert curve.counts["queries_missing_in_ce"] == 399
    assert f"ce: {missing} pairs of query and document have no score, such as 'q0'" in caplog.text
    scores = curve.per_query("rerank4:ndcg@10", FULL) == curve.per_query("ndcg@10", FULL)
    assert scores[1:].all()


def test_documents_outside_of_the_corpus_are_counted_and_ignored(data, run):
    scores = {query_id: {**found, "unknown": 99.0} for query_id, found in run.scores.items()}
    grid = Grid(dims=(64,), precisions=("float32",), shortlisted=(), metrics=("ndcg@10",))
    with_unknown, without = (
        evaluate(NestedHashEncoder(), data, grid, runs=[Fusion(each)])
        for each in (TrecRun("x", scores), run)
    )
    assert with_unknown.counts["documents_of_x_outside_of_the_corpus"] == 1
    assert with_unknown.full.metrics == without.full.metrics


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run: [Fusion(run, weight=1.5)], r"weight=1\.5 is out of range"),
        (lambda run: [Fusion(run, depth=0)], "depth=0 is less than 1"),
        (lambda run: [Reranking(run, depths=())], "depths is empty"),
        (lambda run: [Reranking(run, depths=(0, 5))], "depth=0 is less than 1"),
        (lambda run: [Fusion(run), Fusion(run)], "There are two runs of Fusion"),
        (lambda run: [Fusion(TrecRun("x", {"y": {"d1": 1.0}}))], "No query of the run 'x'"),
    ],
)
def test_what_cannot_be_combined_is_refused_before_encoding(data, run, make, message):
    model = NestedHashEncoder()
    with pytest.raises(InvalidArgument, match=message):
        evaluate(model, data, GRID, runs=make(run))
    assert model.calls == []
