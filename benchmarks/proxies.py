"""Measure how well proxies without relevance labels predict the retention of nDCG@10.

On data sets with labels, the true retention of nDCG@10 is compared with each proxy, for every point
of the default grid. The proxies are the agreement with full precision (overlap@10, rbo@10) on the
same queries, and the retention of nDCG@10 on queries generated from the corpus (title, first
sentence). Precomputed vectors do not contain generated queries, so only agreement is measured for
them.

    python benchmarks/proxies.py --demo nestvec-demo --data ../shared/data --vectors-root vectors
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

import subjects
from nestvec.data.made_queries import make_queries
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.errors import DataError
from nestvec.measure.exhaustive import rank
from nestvec.measure.grid import Grid
from nestvec.measure.scores import RankingScorer
from nestvec.measure.texts import Texts
from nestvec.models.encoding import embed
from nestvec.models.load import load_model
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Encoder
from record import record

TRUTH = "ndcg@10"
AGREEMENT = ("overlap@10", "rbo@10")
SOURCES = ("title", "first-sentence")
SETS = ("scifact", "squad-sent", "cosqa", "ms-support", "docstrings")
TARGET = 0.98
MIN_QUERIES = 100  # generated queries; fewer are not enough to test a target of 98 %


class Subject(NamedTuple):
    """A model and a data set with labels."""

    set: str
    model: str
    encoder: Encoder
    data: RetrievalSet


def main() -> None:
    """Compare every proxy with the labels on every data set, and record the results."""
    parser = subjects.options(__doc__, queries=1000)
    parser.add_argument(
        "--vectors-root", type=Path, help="Folder with a folder of precomputed vectors per set."
    )
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for subject in _subjects(options, Path(scratch)):
            found = _compare(subject, options.queries)
            results += found
            print(*found, sep="\n", flush=True)
    settings = {"truth": TRUTH, "target": TARGET, "max_queries": options.queries, "seed": 0}
    print(record("proxies", settings=settings, results=results))


def _subjects(options: argparse.Namespace, scratch: Path) -> Iterator[Subject]:
    words = subjects.wordllama(scratch / "wordllama")
    for name in SETS:
        data = subjects.retrieval_set(name, data=options.data, demo=options.demo)
        yield Subject(name, subjects.WORDLLAMA, words, data)
        if name == "docstrings":
            yield Subject(name, "demo", load_model(options.demo / "model"), data)
        if options.vectors_root is not None:
            yield Subject(name, subjects.MINILM, load_model(options.vectors_root / name), data)


def _compare(subject: Subject, max_queries: int) -> list[dict[str, object]]:
    data = _sample(subject.data, max_queries)
    measured = _measure(subject.encoder, data, (TRUTH, *AGREEMENT))
    truth = _retention(measured[TRUTH])
    proxies = {name: measured[name] for name in AGREEMENT}
    counts = dict.fromkeys(AGREEMENT, len(data.queries))
    for source in () if isinstance(subject.encoder, PrecomputedVectors) else SOURCES:
        made = _make(subject.data, source, max_queries)
        if made is not None:
            proxies[source] = _retention(_measure(subject.encoder, made, (TRUTH,))[TRUTH])
            counts[source] = len(made.queries)
    return [
        {
            "set": subject.set,
            "model": subject.model,
            "proxy": name,
            "n_queries": counts[name],
            **_errors(list(proxy.values()), [truth[point] for point in proxy]),
            "points": {
                point: [round(kept, 4), round(truth[point], 4)] for point, kept in proxy.items()
            },
        }
        for name, proxy in proxies.items()
    ]


def _make(data: RetrievalSet, source: str, n: int) -> RetrievalSet | None:
    try:
        made = make_queries(data.corpus, source=source, n=n)
    except DataError:
        return None
    return made if len(made.queries) >= MIN_QUERIES else None


def _sample(data: RetrievalSet, n: int) -> RetrievalSet:
    ids = list(data.queries)
    kept = np.random.default_rng(0).permutation(len(ids))[:n]
    queries = {ids[i]: data.queries[ids[i]] for i in sorted(kept.tolist())}
    return replace(data, queries=queries, qrels={id_: data.qrels[id_] for id_ in queries})


def _measure(
    model: Encoder, data: RetrievalSet, metrics: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return the mean of each metric at each point, full precision first."""
    texts, info = Texts.of(data), model.info
    corpus = embed(model, texts.row_ids, texts.rows, kind="document")
    queries = embed(model, texts.query_ids, texts.queries, kind="query")
    points = Grid().points(
        full_dim=info.full_dim, model_dims=info.dims, n_documents=len(texts.rows)
    )
    with Representations(corpus, layer_norm=info.layer_norm) as representations:
        ranked = rank(points, queries, representations, depth=10)
    scorer = RankingScorer(metrics, texts.labels(), ranked[points[0]].rows)
    means = {str(point): scorer.means(each.rows) for point, each in ranked.items()}
    return {metric: {point: each[metric] for point, each in means.items()} for metric in metrics}


def _retention(means: Mapping[str, float]) -> dict[str, float]:
    full = next(iter(means.values()))
    return {point: mean / full for point, mean in means.items()}


def _errors(proxy: list[float], truth: list[float]) -> dict[str, float | int]:
    """Compare a proxy with the truth over all points except the reference, where both are 1."""
    predicted, true = np.array(proxy[1:]), np.array(truth[1:])
    claims = predicted >= TARGET
    return {
        "mean_absolute_error": round(float(np.abs(predicted - true).mean()), 4),
        "bias": round(float((predicted - true).mean()), 4),
        "rank_correlation": round(float(spearmanr(predicted, true).statistic), 4),
        "n_points": len(predicted),
        "claimed": int(claims.sum()),
        "claimed_wrongly": int((claims & (true < TARGET)).sum()),
        "kept": int((true >= TARGET).sum()),
    }


if __name__ == "__main__":
    main()
