"""Measure the whole curve of a model on a data set, from one encode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from nestvec.curve.curve import Curve
from nestvec.curve.point import BaselinePoint, Cost, CurvePoint, Interval
from nestvec.curve.query_scores import QueryScores
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.engines.registry import LOCAL, capabilities, engine_class
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.baselines import BaselineTask, baselines_for, measure_baseline
from nestvec.measure.cost import costs
from nestvec.measure.documents import rank_documents
from nestvec.measure.exhaustive import Steps, count_steps
from nestvec.measure.grid import DEFAULT_GRID, Baseline, Grid
from nestvec.measure.machine import describe_machine
from nestvec.measure.scores import Judge, full_recall_depths, query_scores, ranked_depth
from nestvec.measure.texts import Texts, slices_of
from nestvec.measure.trend import SizeTrend, count_parts, size_trend, trend_rows
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.models.encoding import embed, embed_timed
from nestvec.models.load import as_encoder
from nestvec.types import Embeddings, Encoder, OnProgress, OperatingPoint

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike


def evaluate(
    model: ModelLike,
    data: RetrievalSet,
    grid: Grid = DEFAULT_GRID,
    *,
    engine: str = LOCAL,
    on_progress: OnProgress = lambda done, total: None,
) -> Curve:
    """Measure quality and cost of every point of a grid; each text is encoded once.

    Args:
        model: An encoder, a ``SentenceTransformer``, a folder or a hub id; also precomputed
            vectors.
        data: Corpus, queries and what is known to answer them.
        grid: Which operating points, by which metrics, beside what.
        engine: Whose searches are timed and whose bytes are counted. Only points that it can run
            are measured, in addition to the reference.
        on_progress: Called with documents encoded and in total, then with steps of measuring.

    Raises:
        InvalidArgument: If a dim, the engine or a field does not exist, or a metric needs
            relevance labels that there are not.
        DataError: If there are no documents, no queries or, of evidence that judges, no relevant
            document.
        ModelError: If the model gives NaN, infinite numbers or another width than it says.
        MissingExtra: If the grid asks for BM25 and bm25s is not installed.
    """
    model = as_encoder(model)
    _check(data)
    metrics = grid.metrics_for(data.evidence)
    points = _points(model, data, grid, engine)
    texts = Texts.of(data, group_by=grid.group_by)
    slices = slices_of(data, grid.slice_by)
    baselines = baselines_for(grid.baselines, data.evidence)
    documents = embed(model, texts.row_ids, texts.rows, kind="document", on_progress=on_progress)
    queries, encode_ms = embed_timed(model, texts.query_ids, texts.queries, kind="query")
    n_steps = count_steps(points) + len(points) + count_parts(texts) + len(baselines)
    step, depth = Steps(n_steps, on_progress), ranked_depth(metrics)
    with Representations(documents, layer_norm=model.info.layer_norm) as corpus:
        of_row = texts.doc_of_row
        ranked = rank_documents(points, queries, corpus, of_row, depth=depth, on_step=step)
        deployed = engine_class(engine).trial(corpus, texts.row_ids, data.corpus)
        with closing(deployed) as trial:
            cost = costs(points, queries, trial, k=grid.depth, on_step=step)
        judge = Judge(metrics, texts.labels(), ranked[points[0]].rows)
        of_points = judge.of_points(ranked)
        rows = trend_rows(points, of_points[metrics[0]].mean(axis=1), cost)
        of_rows = {metric: values[rows] for metric, values in of_points.items()}
        at = [points[row] for row in rows]
        trend = size_trend(at, queries, corpus, texts, whole=of_rows, on_part=step)
        counts = data.counts | _count_untidy(model, texts, queries, corpus)
    judged = judge.labels
    scores = query_scores(ranked, of_points, judged, texts=texts, data=data, slices=slices)
    full_recall = full_recall_depths(ranked, judged)
    measured = BaselineTask(texts, queries, documents, model.info.layer_norm, judge, depth)
    return Curve(
        model=model.info,
        dataset=_describe(data, grid, engine),
        machine=describe_machine(),
        points=_rows(points, scores, cost, dict(zip(rows, trend, strict=True)), full_recall),
        scores=scores,
        encode_ms=encode_ms,
        baselines=_baselines(baselines, grid.widths(model.info.dims), measured, step),
        counts=counts,
    )


def _check(data: RetrievalSet) -> None:
    if not data.corpus:
        raise DataError(data.name, "has no documents")
    if data.evidence == "agreement":
        if not data.queries:
            raise DataError(data.name, "has no queries")
        return
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


def _baselines(
    names: Sequence[Baseline], dims: Sequence[int], on: BaselineTask, step: Steps
) -> dict[str, tuple[BaselinePoint, ...]]:
    measured = {}
    for name in names:
        measured[str(name)] = measure_baseline(name, dims, on)
        step()
    return measured


def _rows(
    points: Sequence[OperatingPoint],
    scores: QueryScores,
    cost: Mapping[OperatingPoint, Cost],
    trend: Mapping[int, SizeTrend],
    recall_depths: Sequence[int | None],
) -> tuple[CurvePoint, ...]:
    # The first point is the reference.
    means = {metric: values.mean(axis=1) for metric, values in scores.metrics.items()}
    kept = {metric: retentions(values, values[0]) for metric, values in scores.metrics.items()}
    ends = {
        metric: retention_intervals(values, values[0]).tolist()
        for metric, values in scores.metrics.items()
    }
    return tuple(
        CurvePoint(
            point=point,
            metrics={metric: float(mean[i]) for metric, mean in means.items()},
            retention={metric: float(share[i]) for metric, share in kept.items()},
            cost=cost[point],
            interval={metric: Interval(*each[i]) for metric, each in ends.items()},
            by_size=trend.get(i, {}),
            k_for_full_recall=recall_depths[i],
        )
        for i, point in enumerate(points)
    )


def _describe(data: RetrievalSet, grid: Grid, engine: str) -> dict[str, str | int | None]:
    return {
        "name": data.name,
        "split": data.split,
        "n_documents": len(data.corpus),
        "n_queries": len(data.queries),
        "task": "retrieval",
        "depth": grid.depth,
        "evidence": data.evidence,
        "group_by": grid.group_by,
        "engine": engine,
    }


def _count_untidy(
    model: Encoder, texts: Texts, queries: Embeddings, corpus: Representations
) -> dict[str, int]:
    return {
        "zero_documents": len(corpus.empty),
        "zero_queries": int((~queries.any(axis=1)).sum()),
        "cut_documents": model.count_truncated(texts.rows, kind="document"),
        "cut_queries": model.count_truncated(texts.queries, kind="query"),
    }
