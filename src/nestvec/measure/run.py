"""Measure a model on a retrieval set, and return its curve."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nestvec.codec.rows import EmbeddingRows
from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint, Interval
from nestvec.curve.query_scores import QueryScores
from nestvec.curve.sample import DocumentSample
from nestvec.data.content_hashes import content_hashes
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.engines.registry import LOCAL, NamedEngine, named_engine
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.baselines import (
    BaselineTask,
    MeasuredBaseline,
    baselines_for,
    measure_baseline,
)
from nestvec.measure.combined import (
    Combination,
    add_combined,
    combined_depth,
    count_combined,
    load_runs,
)
from nestvec.measure.exhaustive import Steps, count_steps
from nestvec.measure.filters import filter_slices, read_filters
from nestvec.measure.grid import DEFAULT_GRID, Baseline, Grid
from nestvec.measure.machine import describe_machine
from nestvec.measure.points import PointResults, PointTask, measure_points
from nestvec.measure.sampled import measured
from nestvec.measure.scores import query_scores, ranked_depth
from nestvec.measure.texts import Texts, slices_of
from nestvec.measure.trend import Quarters, count_parts
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.metrics.relevance import RelevanceLabels, parse_metric
from nestvec.models.encoding import embed_rows, embed_timed
from nestvec.models.info import check_truncation
from nestvec.models.load import as_encoder
from nestvec.types import Embeddings, Encoder, OnProgress, OperatingPoint, begin_step

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

_logger = logging.getLogger(__name__)


def evaluate(
    model: ModelLike,
    data: RetrievalSet | None = None,
    grid: Grid = DEFAULT_GRID,
    *,
    engine: str = LOCAL,
    runs: Sequence[Combination] = (),
    on_progress: OnProgress = lambda done, total: None,
) -> Curve:
    """Measure quality and cost of every point of a grid; each text is encoded once.

    Args:
        model: An encoder, a ``SentenceTransformer``, a folder, a hub id, or precomputed vectors.
        data: Corpus, queries and relevance labels, if any. None measures stored vectors alone: the
            stored queries, or else sampled documents as queries, which are not searched.
        grid: Operating points, metrics and baselines.
        engine: Name of the engine to measure, or the URL of a database for temporary indexes.
            Points that it cannot run are skipped, except the reference.
        runs: At most one ``Fusion`` and one ``Reranking`` of the ranking of each point.
        on_progress: Called with done and total: documents, then queries, then measuring steps.

    Raises:
        InvalidArgument: If an argument is wrong, labels are missing, or a model has no data.
        DataError: If there are no documents, no queries, or no relevant documents in the labels.
        ModelError: If the model returns NaN, infinite values or vectors of another width.
        MissingExtra: If the grid contains BM25 and bm25s is not installed.
    """
    chosen = named_engine(engine)
    given, (model, data, sample) = data, measured(as_encoder(model), data)
    _check(data)
    hashes, joined = content_hashes(given or data), load_runs(runs, data)
    data, filters = read_filters(data, grid.filter_by)
    grid = grid.for_engine(chosen.kind.capabilities)
    metrics, points = grid.metrics_for(data.evidence), _points(model, data, grid, chosen)
    texts = Texts.of(data, group_by=grid.group_by, keep_self=grid.keep_self)
    slices = slices_of(data, grid.slice_by) | filter_slices(filters)
    baselines = baselines_for(grid.baselines, data)
    documents, queries, encode_ms = _encode(model, texts, on_progress)
    labels, depth = texts.labels(), max(ranked_depth(metrics), combined_depth(joined))
    quarters = None if filters is not None else _quarters(labels, metrics, chosen)
    n_steps = _count_measured(points, quarters, labels) + len(baselines) + count_combined(joined)
    step = Steps(n_steps, on_progress)
    with Representations(documents, layer_norm=model.info.layer_norm) as corpus:
        task = PointTask(points, queries, corpus, data, texts, labels, metrics, depth, grid.depth)
        found = measure_points(replace(task, filters=filters), chosen, quarters, step)
        counts = _count_texts(data, texts, grid) | _count_vectors(model, texts, queries, corpus)
    scores = query_scores(found.ranked, found.scores, labels, texts=texts, data=data, slices=slices)
    compared = BaselineTask(texts, queries, documents, model.info.layer_norm, found.scorer, depth)
    others = _measure_baselines(baselines, grid.widths(model.info.dims), compared, step)
    curve = Curve(
        model=model.info,
        dataset=_describe(data, grid, chosen, sample) | {"sha256": hashes},
        machine=describe_machine(),
        points=_rows(points, scores, found),
        scores=scores,
        encode_ms=encode_ms,
        baselines={name: each.points for name, each in others.items()},
        counts={**counts, **found.counts, **_counts_of(others)},
    )
    return add_combined(curve, joined, found.ranked, texts, found.scorer, on_step=step)


def _check(data: RetrievalSet) -> None:
    if not data.corpus:
        raise DataError(data.name, "has no documents")
    if data.evidence == "agreement":
        if not data.queries:
            raise DataError(data.name, "has no queries")
        return
    if not any(grade > 0 for grades in data.qrels.values() for grade in grades.values()):
        raise DataError(data.name, f"split {data.split} has no query with a relevant document")


def _points(
    model: Encoder, data: RetrievalSet, grid: Grid, engine: NamedEngine
) -> tuple[OperatingPoint, ...]:
    can_run = engine.kind.capabilities.can_run
    full, *others = grid.points(
        full_dim=model.info.full_dim,
        model_dims=model.info.dims,
        n_documents=len(data.corpus),
    )
    check_truncation(model.info, others)
    # The reference is always measured, because retention is relative to it.
    points = (full, *(point for point in others if can_run(point)))
    if len(points) == 1 and not can_run(full):
        problem = f"Engine {engine.name} cannot run any point of this grid."
        raise InvalidArgument(f"{problem} Choose other precisions or another engine.")
    if skipped := [point for point in others if not can_run(point)]:
        _logger.warning(
            "engine %s cannot run %d of the operating points, such as %s, which are not measured.",
            engine.name,
            len(skipped),
            skipped[0],
        )
    return points


def _encode(
    model: Encoder, texts: Texts, on_progress: OnProgress
) -> tuple[Embeddings | EmbeddingRows, Embeddings, float | None]:
    """Return the vectors of documents and of queries, and the encoding time of a query.

    Then begin the step that measures.
    """
    begin_step(on_progress, "encode corpus", "texts")
    documents = embed_rows(
        model, texts.row_ids, texts.rows, kind="document", on_progress=on_progress
    )
    begin_step(on_progress, "encode queries", "texts")
    queries, encode_ms = embed_timed(
        model, texts.query_ids, texts.queries, kind="query", on_progress=on_progress
    )
    begin_step(on_progress, "measure")
    return documents, queries, encode_ms


def _measure_baselines(
    names: Sequence[Baseline], dims: Sequence[int], on: BaselineTask, step: Steps
) -> dict[str, MeasuredBaseline]:
    measured = {}
    for name in names:
        measured[str(name)] = measure_baseline(name, dims, on)
        step()
    return measured


def _counts_of(baselines: Mapping[str, MeasuredBaseline]) -> dict[str, int]:
    return {name: n for each in baselines.values() for name, n in each.counts.items()}


def _rows(
    points: Sequence[OperatingPoint], scores: QueryScores, found: PointResults
) -> tuple[CurvePoint, ...]:
    # The first point is the reference.
    means = {metric: values.mean(axis=1) for metric, values in scores.metrics.items()}
    shares = {metric: retentions(values, values[0]) for metric, values in scores.metrics.items()}
    intervals = {
        metric: retention_intervals(values, values[0]).tolist()
        for metric, values in scores.metrics.items()
    }
    return tuple(
        CurvePoint(
            point=point,
            metrics={metric: float(mean[i]) for metric, mean in means.items()},
            retention={metric: float(share[i]) for metric, share in shares.items()},
            cost=found.cost[point],
            interval={metric: Interval(*each[i]) for metric, each in intervals.items()},
            by_size=found.trend.get(i, {}),
            k_for_full_recall=found.full_recall[i],
            settings=found.settings.get(point, {}),
            filtered_p50_ms=found.filtered_p50_ms.get(point, {}),
        )
        for i, point in enumerate(points)
    )


def _quarters(
    labels: RelevanceLabels, metrics: Sequence[str], engine: NamedEngine
) -> Quarters | None:
    """Return the parts of the corpus for the trend.

    None if the data set is too small or the engine is approximate.
    """
    approximate = engine.kind.capabilities.approximate
    if approximate or not count_parts(labels.n_docs, labels.n_queries):
        return None
    labeled = any(parse_metric(metric).needs_labels for metric in metrics)
    return Quarters.draw(labels, labeled=labeled)


def _count_measured(
    points: Sequence[OperatingPoint], quarters: Quarters | None, labels: RelevanceLabels
) -> int:
    """Return the number of steps that measure the points: rankings, costs and the trend."""
    n_parts = 0 if quarters is None else count_parts(labels.n_docs, labels.n_queries)
    return count_steps(points) + len(points) + n_parts


def _describe(
    data: RetrievalSet, grid: Grid, engine: NamedEngine, sample: DocumentSample | None
) -> dict[str, Any]:
    return {
        "name": data.name,
        "split": data.split,
        "n_documents": len(data.corpus),
        "n_queries": len(data.queries),
        "task": "retrieval",
        "depth": grid.depth,
        "evidence": data.evidence,
        "group_by": grid.group_by,
        "filter_by": grid.filter_by,
        "engine": engine.name,
        "labels": data.labels or None,
        "sample": None if sample is None or sample.rows == sample.total else sample.to_json(),
        "grades": sorted({grade for each in data.qrels.values() for grade in each.values()}),
    }


def _count_texts(data: RetrievalSet, texts: Texts, grid: Grid) -> dict[str, int]:
    """Count texts that affect the meaning of the scores; ``data.counts`` has the ignored input."""
    filled = [text for text in texts.rows if text.strip()]
    kept = "_kept" if grid.keep_self else ""
    grouped = (grid.group_by in each.metadata for each in data.corpus.values() if grid.group_by)
    return {
        **data.counts,
        "documents_without_group": sum(not each for each in grouped),
        "empty_documents": len(texts.rows) - len(filled) if data.has_texts else 0,
        "duplicate_documents": len(filled) - len(set(filled)),
        f"self_matches{kept}": texts.n_self_matches,
    }


def _count_vectors(
    model: Encoder, texts: Texts, queries: Embeddings, corpus: Representations
) -> dict[str, int]:
    """Count zero vectors and truncated texts."""
    return {
        "zero_documents": len(corpus.empty),
        "zero_queries": int((~queries.any(axis=1)).sum()),
        "cut_documents": model.count_truncated(texts.rows, kind="document"),
        "cut_queries": model.count_truncated(texts.queries, kind="query"),
    }
