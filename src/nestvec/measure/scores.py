"""What each query scores and finds at each point, from the documents that were ranked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.query_scores import QueryScores
from nestvec.data.retrieval import RetrievalSet
from nestvec.measure.texts import Texts, shown
from nestvec.metrics.ranking import Ranked
from nestvec.metrics.relevance import RelevanceLabels, agreement, parse_metric, score
from nestvec.types import OperatingPoint, Rows, Scores

KEPT_TOP = 10  # documents of each query kept in the curve, for people to read
RECALL_DEPTH = 100  # how long a list may get that makes up for a cheaper search
_FULL_LIST = 10

RankedPoints = Mapping[OperatingPoint, Ranked]
"""What was ranked at each point, that of full precision first."""


@dataclass(frozen=True)
class Judge:
    """Scores rankings of the same queries by the same metrics.

    Attributes:
        metrics: Of both families.
        labels: What is relevant; nothing where no metric needs it.
        exact: The ranking of full precision.
    """

    metrics: tuple[str, ...]
    labels: RelevanceLabels
    exact: Rows

    def scores(self, ranked: Rows) -> dict[str, Scores]:
        """Return what each query scores, [n_queries], by metric."""
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

    def of_points(self, ranked: RankedPoints) -> dict[str, NDArray[np.float64]]:
        """Return what each query scores at each point, [n_points, n_queries], by metric."""
        each = [self.scores(found.rows) for found in ranked.values()]
        return {metric: np.stack([scores[metric] for scores in each]) for metric in self.metrics}


def ranked_depth(metrics: Sequence[str]) -> int:
    """Return how many documents must be ranked for all that is said of a point."""
    cuts = [parse_metric(metric) for metric in metrics]
    deepest = RECALL_DEPTH if any(cut.needs_labels for cut in cuts) else KEPT_TOP
    return max(deepest, *(cut.k for cut in cuts))


def full_recall_depths(ranked: RankedPoints, labels: RelevanceLabels) -> list[int | None]:
    """Return for each point the least k at which recall@k is that of full float32 at 10.

    None where no k within what was ranked is enough, or nothing is judged.
    """
    curves = [_recall(each.rows, labels) for each in ranked.values()]
    full = curves[0]
    wanted = full[min(_FULL_LIST, len(full)) - 1] - 1e-12  # of rounding
    if wanted <= 0:
        return [None] * len(curves)
    enough = (np.flatnonzero(curve >= wanted) for curve in curves)
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
    """Put together what is kept of each query.

    Args:
        ranked: What was found.
        metrics: What ``Judge.of_points`` gave.
        labels: What is relevant.
        texts: The set as lists.
        data: The same, for what to show of it.
        slices: The value of each query, by field.
    """
    top = np.stack([_columns(each.rows, KEPT_TOP, -1) for each in ranked.values()])
    judged = len(labels.keys) > 0
    relevant = [labels.grades(rows) > 0 for rows in top] if judged else []
    docs, positions = np.unique(top, return_inverse=True)
    real = docs[docs >= 0].tolist()  # an empty place, -1, comes first where there is one
    return QueryScores(
        query_ids=np.array(texts.query_ids),
        metrics=metrics,
        doc_ids=np.array([texts.doc_ids[doc] for doc in real], dtype=np.str_),
        top=(positions.reshape(top.shape) - (len(docs) - len(real))).astype(np.int32),
        top_scores=np.stack(
            [_columns(each.scores, KEPT_TOP, -np.inf) for each in ranked.values()]
        ).astype(np.float32),
        top_relevant=np.stack(relevant) if judged else np.empty((0, 0, 0), dtype=np.bool_),
        query_texts=np.array([shown(query) for query in texts.queries], dtype=np.str_),
        doc_titles=texts.titles(data, real),
        slices=dict(slices),
    )


def _columns(values: NDArray[np.generic], width: int, empty: float) -> NDArray[np.generic]:
    missing = max(0, width - values.shape[1])
    return np.pad(values[:, :width], ((0, 0), (0, missing)), constant_values=empty)
