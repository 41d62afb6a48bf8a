"""Time the whole grid and Sentence Transformers' InformationRetrievalEvaluator.

SciFact with all-MiniLM-L6-v2. Both start from texts and run in turn, in one process with the same
threads. The evaluator encodes all texts again for each ``truncate_dim``. ``--evaluations`` is the
number of dims that it runs, out of six; if fewer than six are run, six are estimated as six times
the median.

The grid of nestvec has 6 dims x 6 precisions, alone and rescored at full float32 with 3 shortlists.
It is timed next to each of the first three evaluations: from texts, while the cache on disk is
written, then with cached vectors. The time to load the model is not included. Both return the same
scores at full width.

    python benchmarks/evaluator.py --data ../shared/data --evaluations 6
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import subjects
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.measure.grid import Grid
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.models.load import load_model
from nestvec.types import Encoder, OperatingPoint, Stage
from record import record

DIMS = (384, 256, 192, 128, 64, 32)
PRECISIONS = Grid().precisions
KEEPS = (10, 25, 50)
TURNS = 3
METRICS = ("ndcg@10", "mrr@10", "map@100", "recall@10")


def main() -> None:
    """Time both, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--evaluations", type=int, default=6, choices=range(1, 7))
    options = parser.parse_args()
    data = subjects.retrieval_set("scifact", data=options.data, demo=Path())
    results: dict[str, Any] = {"evaluator_s": [], "grid_from_texts_s": [], "grid_cached_s": []}
    results |= {"evaluator_ndcg@10": {}}
    for turn, dim in enumerate(DIMS[: options.evaluations]):
        seconds, ndcg = _theirs(data, dim)
        results["evaluator_s"].append(seconds)
        results["evaluator_ndcg@10"][dim] = ndcg
        print(dim, seconds, ndcg, flush=True)
        if turn < TURNS:
            from_texts, cached, full = _ours_twice(data)
            results["grid_from_texts_s"].append(from_texts)
            results["grid_cached_s"].append(cached)
            print("grid", from_texts, cached, full, flush=True)
    results |= _compare(results) | {"points": len(_points()), "full_ndcg@10": full}
    print(results)
    settings = {"dims": DIMS, "precisions": PRECISIONS, "keeps": KEEPS, "metrics": METRICS}
    settings |= {"evaluations": options.evaluations}
    print(record("evaluator", settings=settings, results=results))


def _ours_twice(data: RetrievalSet) -> tuple[float, float, float]:
    """Return the seconds from texts and with cached vectors, and nDCG@10 at full width."""
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(subjects.minilm_folder(), cache=Path(folder))
        from_texts, full = _ours(model, data)
        again = load_model(subjects.minilm_folder(), cache=Path(folder))
        return from_texts, _ours(again, data)[0], full


def _points() -> list[OperatingPoint]:
    full = Stage(DIMS[0], "float32")
    firsts = [(dim, precision) for dim in DIMS for precision in PRECISIONS]
    alone = [OperatingPoint.single(*first) for first in firsts]
    return alone + [
        OperatingPoint((Stage(*first, keep), full))
        for first in firsts
        for keep in KEEPS
        if first != full.representation
    ]


def _ours(model: Encoder, data: RetrievalSet) -> tuple[float, float]:
    """Return the seconds of all points, and nDCG@10 at full width."""
    start = time.perf_counter()
    document_ids, query_ids = sorted(data.corpus, reverse=True), list(data.queries)
    queries = model.encode(list(data.queries.values()), kind="query")
    corpus = model.encode([data.corpus[i].content for i in document_ids], kind="document")
    labels = RelevanceLabels.from_qrels(data.qrels, query_ids, document_ids)
    points = _points()
    ranked = rank(points, queries, Representations(corpus, layer_norm=False), depth=100)
    means = {
        point: [float(score(metric, grades, labels).mean()) for metric in METRICS]
        for point in points
        for grades in (labels.grades(ranked[point].rows),)
    }
    return time.perf_counter() - start, means[points[0]][0]


def _theirs(data: RetrievalSet, dim: int) -> tuple[float, float]:
    """Return the seconds of one evaluation, and its nDCG@10."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.evaluation import InformationRetrievalEvaluator

        model = SentenceTransformer(str(subjects.minilm_folder()))
        start = time.perf_counter()
        evaluator = InformationRetrievalEvaluator(
            queries=data.queries,
            corpus={id_: document.content for id_, document in data.corpus.items()},
            relevant_docs={query: set(judged) for query, judged in data.qrels.items()},
            truncate_dim=dim,
            write_csv=False,
        )
        scores = evaluator(model)
        return time.perf_counter() - start, float(scores["cosine_ndcg@10"])


def _compare(results: dict[str, Any]) -> dict[str, float]:
    one, ours, cached = (
        median(results[name]) for name in ("evaluator_s", "grid_from_texts_s", "grid_cached_s")
    )
    return {
        "of_one_evaluator": ours / one,
        "times_less_than_six": 6 * one / ours,
        "times_less_than_six_cached": 6 * one / cached,
    }


if __name__ == "__main__":
    main()
