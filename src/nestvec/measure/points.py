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
        extrapolated: Number of points whose latency was measured on a part of the corpus.
    """

    ranked: Mapping[OperatingPoint, Ranked]
    scorer: RankingScorer
    scores: Mapping[str, NDArray[np.float64]]
    cost: Mapping[OperatingPoint, Cost]
    trend: Mapping[int, SizeTrend]
    full_recall: Sequence[int | None]
    settings: Mapping[OperatingPoint, Settings]
    extrapolated: int


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


def measure_points(
    task: PointTask, engine: NamedEngine, quarters: Quarters | None, step: Steps
) -> PointResults:
    """Rank the documents at each point, and measure the cost of each point in an engine.

    An engine that scores every document is ranked by exhaustive scoring, which gives equal
    results. An engine that can miss documents is ranked by its own searches; only full precision,
    to which the others are compared, is scored exhaustively.

    Args:
        task: The points, vectors and labels.
        engine: The engine.
        quarters: The parts of the corpus for the trend; None to measure no trend.
        step: Called after each step.
    """
    points, corpus, texts = task.points, task.corpus, task.texts
    approximate = engine.kind.capabilities.approximate
    exhaustive = points[:1] if approximate else points
    # One pass for ranking and for the trial.
    corpus.encode(coded_keys(exhaustive), with_vectors=rescores_halves(exhaustive))
    search = DocumentSearch(
        exhaustive,
        task.queries,
        corpus,
        texts.documents if quarters is None else quarters.split(texts.documents),
        depth=task.depth,
        on_step=step,
    )
    ranked = search.rank(exhaustive)
    trial = engine.kind.trial(corpus, texts.row_ids, task.data.corpus, place=engine.place)
    with closing(trial):
        rankings = EngineRanking(trial, search, task.queries, texts.row_ids)

        def rank(point: OperatingPoint, search: Search) -> None:
            if approximate and point not in ranked:
                rankings.add(point, search)

        cost = costs(points, task.queries, trial, k=task.timed_k, on_search=rank, on_step=step)
        extrapolated = sum(trial.scanned_share(point) < 1 for point in points)
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
        extrapolated,
    )
