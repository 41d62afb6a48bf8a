"""Measure the whole curve of a model on a data set, from one encode."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.curve import Curve
from nestvec.curve_point import BaselinePoint, Cost, CurvePoint
from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import DataError, InvalidArgument
from nestvec.evaluate.bm25 import rank_bm25
from nestvec.evaluate.cost import costs
from nestvec.evaluate.exhaustive import count_steps, rank
from nestvec.evaluate.grid import DEFAULT_GRID, Grid
from nestvec.evaluate.machine import describe_machine
from nestvec.evaluate.representations import Representations
from nestvec.index.engine import capabilities
from nestvec.metrics import Judgements, score
from nestvec.models.load import embed
from nestvec.query_scores import QueryScores
from nestvec.types import Embeddings, Encoder, OnProgress, OperatingPoint, Rows

_TIMED_ENCODES = 32
_KEPT_TOP = 10  # ids of each query kept in the curve, for people to read


def evaluate(
    model: Encoder,
    data: RetrievalSet,
    grid: Grid = DEFAULT_GRID,
    *,
    engine: str = "embedded",
    bm25: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Curve:
    """Measure quality and cost of every operating point of a grid.

    Queries and corpus are each encoded once, whatever the grid.

    Args:
        model: What encodes; also precomputed vectors.
        data: Corpus, queries and qrels.
        grid: Which operating points, by which metrics.
        engine: Only points that this engine can run are measured, beside the reference.
        bm25: Put BM25 beside the model (needs the extra ``report``).
        on_progress: Called with documents encoded and in total, then with steps of measuring.

    Raises:
        InvalidArgument: If a dim or the engine does not exist.
        DataError: If there are no documents or no judged queries.
        ModelError: If the model gives NaN, infinite numbers or another width than it says.
    """
    _check(data)
    points = _points(model, data, grid, engine)
    texts = _Texts.of(data)
    documents = embed(
        model, texts.document_ids, texts.documents, kind="document", on_progress=on_progress
    )
    queries, encode_ms = _embed_queries(model, texts)
    corpus = Representations(documents, layer_norm=model.info.layer_norm)
    step = _Steps(count_steps(points) + len(points), on_progress)
    ranked = rank(points, queries, corpus, depth=grid.depth, on_step=step)
    cost = costs(points, queries, corpus, on_step=step)
    judgements = Judgements.from_qrels(data.qrels, texts.query_ids, texts.document_ids)
    scores = _score(ranked, judgements, grid.metrics, texts)
    baselines = {}
    if bm25:
        found = rank_bm25(texts.queries, texts.documents, depth=grid.depth)
        baselines["bm25"] = (BaselinePoint(None, _means(found, judgements, grid.metrics)),)
    return Curve(
        model=model.info,
        dataset=_describe(data),
        machine=describe_machine(),
        points=_rows(points, scores, cost),
        scores=scores,
        encode_ms=encode_ms,
        baselines=baselines,
        counts=data.counts | _count_untidy(model, texts, queries, corpus),
    )


@dataclass(frozen=True)
class _Texts:
    """The data set as lists; documents by descending id, which is the order of ties."""

    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]

    @classmethod
    def of(cls, data: RetrievalSet) -> _Texts:
        document_ids = sorted(data.corpus, reverse=True)
        return cls(
            document_ids,
            [data.corpus[id_].content for id_ in document_ids],
            list(data.queries),
            list(data.queries.values()),
        )


class _Steps:
    """Counts steps and tells of each."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._done, self._total, self._on_progress = 0, total, on_progress

    def __call__(self) -> None:
        self._done += 1
        self._on_progress(self._done, self._total)


def _check(data: RetrievalSet) -> None:
    if not data.corpus:
        raise DataError(data.name, "has no documents")
    if not any(grade > 0 for judged in data.qrels.values() for grade in judged.values()):
        raise DataError(data.name, f"split {data.split} has no query with a relevant document")


def _points(
    model: Encoder, data: RetrievalSet, grid: Grid, engine: str
) -> tuple[OperatingPoint, ...]:
    can_run = capabilities(engine).can_run
    full, *others = grid.points(
        full_dim=model.info.full_dim,
        model_dims=model.info.dims,
        n_documents=len(data.corpus),
    )
    # The reference is measured in any case: retention is of it.
    points = (full, *(point for point in others if can_run(point)))
    if len(points) == 1 and not can_run(full):
        raise InvalidArgument(f"engine {engine} can run no point of this grid")
    return points


def _embed_queries(model: Encoder, texts: _Texts) -> tuple[Embeddings, float]:
    """Encode each query once: the first ones alone, to know what one costs, the rest together."""
    timed = min(_TIMED_ENCODES, len(texts.queries))
    parts, times = [], []
    for i in range(timed):
        start = time.perf_counter()
        one = slice(i, i + 1)
        parts.append(embed(model, texts.query_ids[one], texts.queries[one], kind="query"))
        times.append((time.perf_counter() - start) * 1000)
    if len(texts.queries) > timed:
        rest = slice(timed, None)
        parts.append(embed(model, texts.query_ids[rest], texts.queries[rest], kind="query"))
    return np.concatenate(parts), float(np.median(times))


def _score(
    ranked: Mapping[OperatingPoint, Rows],
    judgements: Judgements,
    metrics: Sequence[str],
    texts: _Texts,
) -> QueryScores:
    grades = [judgements.grades(rows) for rows in ranked.values()]
    top = np.stack([_first_columns(rows, _KEPT_TOP) for rows in ranked.values()])
    shown, positions = np.unique(top, return_inverse=True)
    return QueryScores(
        query_ids=np.array(texts.query_ids),
        metrics={
            metric: np.stack([score(metric, each, judgements) for each in grades])
            for metric in metrics
        },
        # Row -1, an empty place, is the least: it comes first where there is one.
        doc_ids=np.array([texts.document_ids[row] for row in shown if row >= 0], dtype=np.str_),
        top=(positions.reshape(top.shape) - (shown[0] < 0)).astype(np.int32),
    )


def _first_columns(rows: Rows, width: int) -> Rows:
    missing = max(0, width - rows.shape[1])
    return np.pad(rows[:, :width], ((0, 0), (0, missing)), constant_values=-1)


def _means(rows: Rows, judgements: Judgements, metrics: Sequence[str]) -> dict[str, float]:
    grades = judgements.grades(rows)
    return {metric: float(score(metric, grades, judgements).mean()) for metric in metrics}


def _rows(
    points: Sequence[OperatingPoint],
    scores: QueryScores,
    cost: Mapping[OperatingPoint, Cost],
) -> tuple[CurvePoint, ...]:
    means = {metric: values.mean(axis=1) for metric, values in scores.metrics.items()}
    # The first point is the reference. Where it scores 0, nothing can be said to be kept.
    return tuple(
        CurvePoint(
            point=point,
            metrics={metric: float(mean[i]) for metric, mean in means.items()},
            retention={
                metric: float(mean[i] / mean[0]) if mean[0] else 0.0
                for metric, mean in means.items()
            },
            cost=cost[point],
        )
        for i, point in enumerate(points)
    )


def _describe(data: RetrievalSet) -> dict[str, str | int]:
    return {
        "name": data.name,
        "split": data.split,
        "n_documents": len(data.corpus),
        "n_queries": len(data.queries),
    }


def _count_untidy(
    model: Encoder, texts: _Texts, queries: Embeddings, corpus: Representations
) -> dict[str, int]:
    return {
        "zero_documents": len(corpus.empty),
        "zero_queries": int((~queries.any(axis=1)).sum()),
        "cut_documents": model.count_cut(texts.documents, kind="document"),
        "cut_queries": model.count_cut(texts.queries, kind="query"),
    }
