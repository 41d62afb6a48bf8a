"""Compare metrics with pytrec_eval and rankings with FAISS, on every dim and real data set."""

from collections.abc import Mapping

import faiss
import numpy as np
import pytest
import pytrec_eval

from fakes import NestedHashEncoder, assert_same_ranking
from nestvec.codec.prefix import prefix
from nestvec.data.retrieval import load_dataset
from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.measure.scores import RankingScorer
from nestvec.measure.texts import Texts
from nestvec.types import OperatingPoint

DIMS = (64, 32, 16, 8)
METRICS: Mapping[str, str] = {
    "ndcg@10": "ndcg_cut_10",
    "recall@100": "recall_100",
    "map@100": "map_cut_100",
}
QUERIES = 500  # of each set


@pytest.fixture(scope="module", params=["scifact", "cosqa", "ms-support", "xquad-en", "squad-sent"])
def measured(request, data_folder):
    """A data set's lists, vectors by words (any vectors can be used), and rankings."""
    data = load_dataset(data_folder / "retrieval" / request.param)
    texts, model = Texts.of(data), NestedHashEncoder()
    documents = model.encode([each[:300] for each in texts.rows], kind="document")
    queries = model.encode(texts.queries[:QUERIES], kind="query")
    points = [OperatingPoint.single(dim, "float32") for dim in DIMS]
    ranked = rank(points, queries, Representations(documents, layer_norm=False), depth=100)
    return texts, documents, queries, ranked


def test_metrics_at_every_dim_equal_pytrec_eval(measured):
    texts, _, queries, ranked = measured
    query_ids = texts.query_ids[: len(queries)]
    every = np.ones(len(texts.doc_ids), dtype=bool)
    labels = texts.labels().part(np.arange(len(queries)), every)
    exact = next(iter(ranked.values())).rows
    scorer = RankingScorer(tuple(METRICS), labels, exact)
    qrels = {id_: texts.qrels[id_] for id_ in query_ids}
    reference = pytrec_eval.RelevanceEvaluator(qrels, set(METRICS.values()))
    for point, found in ranked.items():
        run = {
            id_: dict(zip((texts.doc_ids[row] for row in rows), scores, strict=True))
            for id_, rows, scores in zip(
                query_ids, found.rows.tolist(), found.scores.tolist(), strict=True
            )
        }
        by_reference = reference.evaluate(run)
        for metric, values in scorer.scores(found.rows).items():
            expected = [by_reference[id_][METRICS[metric]] for id_ in query_ids]
            np.testing.assert_allclose(values, expected, atol=1e-9, err_msg=f"{metric} at {point}")


def test_rankings_at_every_dim_equal_faiss_on_truncated_vectors(measured):
    _, documents, queries, ranked = measured
    for point, found in ranked.items():
        dim = point.stages[0].dim
        corpus, truncated = prefix(documents, dim), prefix(queries, dim)
        index = faiss.IndexFlatIP(dim)
        index.add(corpus)
        scores, rows = index.search(truncated, 100)
        np.testing.assert_allclose(found.scores, scores, atol=1e-6)
        assert_same_ranking(found.rows, rows, truncated @ corpus.T)
