"""Score the ranked documents of each query at each operating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.query_scores import QueryScores
from nestvec.data.retrieval import RetrievalSet
from nestvec.measure.texts import Texts, preview
from nestvec.metrics.ranking import Ranked
from nestvec.metrics.relevance import RelevanceLabels, agreement, parse_metric, score
from nestvec.types import OperatingPoint, Rows, Scores

STORED_TOP = 10  # documents of each query that are stored in the curve for users to read
RECALL_DEPTH = 100  # largest k that is tried to reach the recall@10 of full precision
_FULL_LIST = 10

RankedPoints = Mapping[OperatingPoint, Ranked]
"""Ranking of each operating point; full precision is first."""


@dataclass(frozen=True)
class RankingScorer:
    """Scores rankings of a fixed set of queries by a fixed list of metrics.

    Attributes:
        metrics: Metrics of relevance labels or of agreement with the full-precision ranking.
        labels: Relevance labels; empty if no metric needs them.
        exact: Documents ranked at full precision, [n_queries, depth].
    """

    metrics: tuple[str, ...]
    labels: RelevanceLabels
    exact: Rows

    def scores(self, ranked: Rows) -> dict[str, Scores]:
        """Return the score of each query, [n_queries], by metric."""
        grades = self.labels.grades(ranked)
        return {
            metric: score(metric, grades, self.labels)
            if parse_metric(metric).needs_labels
            else agreement(metric, ranked, self.exact)
            for metric in self.metrics
        }

    def means(self, ranked: Rows) -> dict[str, float]:
        """Return the mean over queries, by metric."""
        return {metric: float(values.mean()) for metric, values in self.scores(ranked).items()}

    def scores_by_point(self, ranked: RankedPoints) -> dict[str, NDArray[np.float64]]:
        """Return the score of each query at each point, [n_points, n_queries], by metric."""
        each = [self.scores(found.rows) for found in ranked.values()]
        return {metric: np.stack([scores[metric] for scores in each]) for metric in self.metrics}


def ranked_depth(metrics: Sequence[str]) -> int:
    """Return the number of documents to rank for the metrics and the other values of a point."""
    parsed = [parse_metric(metric) for metric in metrics]
    deepest = RECALL_DEPTH if any(metric.needs_labels for metric in parsed) else STORED_TOP
    return max(deepest, *(metric.k for metric in parsed))


def full_recall_depths(ranked: RankedPoints, labels: RelevanceLabels) -> list[int | None]:
    """Return the smallest k of each point whose recall@k reaches recall@10 of full precision.

    None if no k within the ranked depth is enough, or there are no relevance labels.
    """
    curves = [_recall(each.rows, labels) for each in ranked.values()]
    full = curves[0]
    required = full[min(_FULL_LIST, len(full)) - 1] - 1e-12  # tolerance for rounding
    if required <= 0:
        return [None] * len(curves)
    enough = (np.flatnonzero(curve >= required) for curve in curves)
    return [int(each[0]) + 1 if len(each) else None for each in enough]


def _recall(ranked: Rows, labels: RelevanceLabels) -> Scores:
    """Return the mean recall at each k, [depth]."""
    found = (labels.grades(ranked) > 0) / np.maximum(labels.count(), 1)[:, None]
    recall: Scores = found.mean(axis=0).cumsum()
    return recall


def query_scores(
    ranked: RankedPoints,
    metrics: Mapping[str, NDArray[np.float64]],
    labels: RelevanceLabels,
    *,
    texts: Texts,
    data: RetrievalSet,
    slices: Mapping[str, NDArray[np.str_]],
) -> QueryScores:
    """Collect the values that a curve stores for each query.

    Args:
        ranked: Ranked documents of each point.
        metrics: Scores from ``RankingScorer.scores_by_point``.
        labels: Relevance labels.
        texts: The data set as lists.
        data: The data set, for the titles of documents.
        slices: Value of each query, by field.
    """
    top = np.stack([_columns(each.rows, STORED_TOP, -1) for each in ranked.values()])
    labeled = len(labels.keys) > 0
    relevant = [labels.grades(rows) > 0 for rows in top] if labeled else []
    docs, positions = np.unique(top, return_inverse=True)
    real = docs[docs >= 0].tolist()  # -1 marks missing documents and is sorted first
    return QueryScores(
        query_ids=np.array(texts.query_ids),
        metrics=metrics,
        doc_ids=np.array([texts.doc_ids[doc] for doc in real], dtype=np.str_),
        top=(positions.reshape(top.shape) - (len(docs) - len(real))).astype(np.int32),
        top_scores=np.stack(
            [_columns(each.scores, STORED_TOP, -np.inf) for each in ranked.values()]
        ).astype(np.float32),
        top_relevant=np.stack(relevant) if labeled else np.empty((0, 0, 0), dtype=np.bool_),
        query_texts=np.array([preview(query) for query in texts.queries], dtype=np.str_),
        doc_titles=texts.titles(data, real),
        slices=dict(slices),
    )


def _columns(values: NDArray[np.generic], width: int, empty: float) -> NDArray[np.generic]:
    missing = max(0, width - values.shape[1])
    return np.pad(values[:, :width], ((0, 0), (0, missing)), constant_values=empty)
