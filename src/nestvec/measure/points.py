"""Measure every operating point of a grid: rankings, scores, costs and the trend with size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import Cost
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.engine import Search
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Settings
from nestvec.engines.registry import NamedEngine
from nestvec.measure.cost import costs
from nestvec.measure.documents import DocumentSearch
from nestvec.measure.engine_ranking import EngineRanking
from nestvec.measure.exhaustive import Steps, coded_keys, rescores_halves
from nestvec.measure.filters import QueryFilters
from nestvec.measure.scores import RankingScorer, full_recall_depths
from nestvec.measure.texts import Texts
from nestvec.measure.trend import Quarters, SizeTrend, size_trend, trend_rows
from nestvec.metrics.ranking import Ranked
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.types import Embeddings, OperatingPoint


@dataclass(frozen=True)
class PointResults:
    """The measurements of all points, full precision first.

    Attributes:
        ranked: Ranked documents of each query, by point.
        scorer: Scores rankings of the same queries, also those of baselines.
        scores: Score of each query, [n_points, n_queries], by metric.
        cost: Cost by point.
        trend: Retention at several corpus sizes, by position of the point.
        full_recall: Smallest k that reaches the recall of full precision, of each point.
        settings: Settings of the engine's search structures, by point.
        filtered_p50_ms: Median time of a query with a filter, by point and selectivity; empty if
            the engine is not approximate.
        counts: Points whose latency was measured on a part of the corpus; and with filters, the
            relevant documents that the filter of their query excludes.
    """

    ranked: Mapping[OperatingPoint, Ranked]
    scorer: RankingScorer
    scores: Mapping[str, NDArray[np.float64]]
    cost: Mapping[OperatingPoint, Cost]
    trend: Mapping[int, SizeTrend]
    full_recall: Sequence[int | None]
    settings: Mapping[OperatingPoint, Settings]
    filtered_p50_ms: Mapping[OperatingPoint, Mapping[str, float]]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class PointTask:
    """What is measured.

    Attributes:
        points: The operating points, full precision first.
        queries: [n_queries, full_dim].
        corpus: The vectors of the corpus.
        data: The retrieval set.
        texts: The retrieval set as lists.
        labels: Its relevance labels.
        metrics: The metrics, the most important first.
        depth: Number of documents to rank.
        timed_k: Number of results of a timed search.
        filters: The filters of the queries; None without filters.
    """

    points: tuple[OperatingPoint, ...]
    queries: Embeddings
    corpus: Representations
    data: RetrievalSet
    texts: Texts
    labels: RelevanceLabels
    metrics: tuple[str, ...]
    depth: int
    timed_k: int
    filters: QueryFilters | None = None


def measure_points(
    task: PointTask, engine: NamedEngine, quarters: Quarters | None, step: Steps
) -> PointResults:
    """Rank the documents at each point, and measure the cost of each point in an engine.

    An engine that scores every document is ranked by exhaustive scoring, which gives equal
    results. An engine that can miss documents is ranked by its own searches; only full precision,
    to which the others are compared, is scored exhaustively. Both rank only documents that match
    the filter of a query.

    Args:
        task: The points, vectors and labels.
        engine: The engine.
        quarters: The parts of the corpus for the trend; None to measure no trend, as with filters.
        step: Called after each step.
    """
    points, corpus = task.points, task.corpus
    approximate = engine.kind.capabilities.approximate
    exhaustive = points[:1] if approximate else points
    # One pass for ranking and for the trial.
    corpus.encode(coded_keys(exhaustive), with_vectors=rescores_halves(exhaustive))
    ranked, search = _rank(task, exhaustive, quarters, step)
    row_ids, data, place = task.texts.row_ids, task.data, engine.place
    with closing(engine.kind.trial(corpus, row_ids, data.corpus, place=place)) as trial:
        rankings = EngineRanking(trial, task.queries, task.texts, task.filters, depth=task.depth)

        def rank(point: OperatingPoint, search: Search) -> None:
            if approximate and point not in ranked:
                rankings.add(point, search)
            if approximate:
                rankings.time_filtered(point, search, task.timed_k)

        cost = costs(points, task.queries, trial, k=task.timed_k, on_search=rank, on_step=step)
        counts = {"extrapolated_latencies": sum(trial.scanned_share(point) < 1 for point in points)}
    if task.filters is not None:
        outside = task.filters.count_outside(task.labels, task.texts.documents.doc_of_row)
        counts["filtered_relevant"] = outside
    found = {point: (ranked | rankings.ranked)[point] for point in points}
    scorer = RankingScorer(task.metrics, task.labels, found[points[0]].rows)
    scores = scorer.scores_by_point(found)
    rows = trend_rows(points, scores[task.metrics[0]].mean(axis=1), cost)
    trend = size_trend(
        [points[row] for row in rows],
        search,
        quarters,
        task.labels,
        whole={metric: values[rows] for metric, values in scores.items()},
        on_part=step,
    )
    return PointResults(
        found,
        scorer,
        scores,
        cost,
        dict(zip(rows, trend, strict=True)),
        full_recall_depths(found, task.labels),
        rankings.settings,
        rankings.filtered_p50_ms,
        counts,
    )


def _rank(
    task: PointTask, points: Sequence[OperatingPoint], quarters: Quarters | None, step: Steps
) -> tuple[dict[OperatingPoint, Ranked], DocumentSearch | None]:
    """Rank documents exhaustively, and return the search for the trend; None with filters."""
    if task.filters is not None:
        return _rank_filtered(task, points, task.filters, step), None
    documents = task.texts.documents
    search = DocumentSearch(
        points,
        task.queries,
        task.corpus,
        documents if quarters is None else quarters.split(documents),
        depth=task.depth,
        on_step=step,
    )
    return search.rank(points), search


def _rank_filtered(
    task: PointTask, points: Sequence[OperatingPoint], filters: QueryFilters, step: Steps
) -> dict[OperatingPoint, Ranked]:
    """Rank the documents that match, separately for the queries of each filter.

    Codecs are fitted on the whole corpus, as in an index.
    """
    shape = len(task.queries), task.depth
    ranked = {
        point: Ranked(np.full(shape, -np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64))
        for point in points
    }
    for number, group in enumerate(filters.groups):
        corpus, documents = task.corpus, task.texts.documents.of_queries(group.queries)
        if group.where is not None:
            rows = filters.rows(group.where)
            corpus, documents = corpus.part(rows), task.texts.documents.part(rows, group.queries)
        search = DocumentSearch(
            points,
            task.queries[group.queries],
            corpus,
            documents,
            depth=task.depth,
            on_step=_no_step if number else step,  # only the first group counts steps
        )
        for point, found in search.rank(points).items():
            width = found.rows.shape[1]
            ranked[point].scores[group.queries, :width] = found.scores
            ranked[point].rows[group.queries, :width] = found.rows
    return ranked


def _no_step() -> None:
    """Do nothing."""
