"""Measure retention at a quarter and a half of the corpus, because small dims lose more at scale.

The codes of the full corpus are used, so that codecs do not depend on the size. Sizes beyond the
corpus are not estimated. Only some points are measured: all dims at float32, and the best point of
each size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import Cost, SizeRetention
from nestvec.measure.documents import DocumentRows, DocumentSearch
from nestvec.measure.scores import RankingScorer
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.types import OperatingPoint, Scores

_QUARTERS = 4
_PARTS = ((0,), (1,), (2,), (3,), (0, 1), (2, 3))
_MIN_QUARTER = 100  # documents
_MIN_QUERIES = 20
_SEED = 0  # constant, so that every model is measured on the same split

SizeTrend = dict[str, tuple[SizeRetention, ...]]
"""Retention of a point at each corpus size, smallest first, by metric."""
_Size = tuple[int, Mapping[str, NDArray[np.float64]]]
"""Number of documents, and the score of each query at each point, by metric."""


@dataclass(frozen=True)
class Quarters:
    """A seeded random split of the documents into quarters.

    Attributes:
        of_doc: Quarter of each document.
        scored: Whether a query is scored in a quarter, [n_queries, 4].
    """

    of_doc: NDArray[np.int64]
    scored: NDArray[np.bool_]

    @classmethod
    def draw(cls, labels: RelevanceLabels, *, labeled: bool) -> Quarters:
        """Split the documents.

        Args:
            labels: The relevance labels; without labels, only the sizes of the data set.
            labeled: Whether a query is scored in the quarters of its relevant documents; if not, in
                one random quarter.
        """
        rng, n_queries = np.random.default_rng(_SEED), labels.n_queries
        of_doc = rng.permutation(labels.n_docs) % _QUARTERS
        if not labeled:
            return cls(of_doc, np.eye(_QUARTERS, dtype=bool)[rng.integers(4, size=n_queries)])
        scored = np.zeros((n_queries, _QUARTERS), dtype=bool)
        query, row = np.divmod(labels.keys, labels.n_docs)
        scored[query, of_doc[row]] = True
        return cls(of_doc, scored)

    def split(self, documents: DocumentRows) -> DocumentRows:
        """Return the same rows with the quarters as parts."""
        of_row = self.of_doc[documents.doc_of_row]
        rows = [np.flatnonzero(of_row == quarter) for quarter in range(_QUARTERS)]
        return documents._replace(parts=rows)

    def documents(self, part: Sequence[int]) -> NDArray[np.bool_]:
        """Return whether each document is in one of the given quarters, [n_docs]."""
        return np.isin(self.of_doc, part)


def trend_rows(
    points: Sequence[OperatingPoint], quality: Scores, cost: Mapping[OperatingPoint, Cost]
) -> list[int]:
    """Choose the points whose trend is measured: all float32 dims, and the best point of each size.

    A size is a pair of bytes in memory and bytes on disk. So any point that a plan can choose by
    either size is measured.

    Args:
        points: Measured points; full precision is first.
        quality: Mean score of each point.
        cost: Cost of each point.

    Returns:
        Positions in ``points``, ascending.
    """
    chosen = {
        number
        for number, point in enumerate(points)
        if len(point.stages) == 1 and point.stages[0].precision == "float32"
    }
    best: dict[tuple[float, float], int] = {}
    for number, point in enumerate(points):
        size = cost[point].ram_bytes_per_vector, cost[point].disk_bytes_per_vector
        if quality[number] > quality[best.setdefault(size, number)]:
            best[size] = number
    return sorted({*chosen, *best.values()})


def size_trend(
    points: Sequence[OperatingPoint],
    search: DocumentSearch | None,
    quarters: Quarters | None,
    labels: RelevanceLabels,
    *,
    whole: Mapping[str, NDArray[np.float64]],
    on_part: Callable[[], None] = lambda: None,
) -> list[SizeTrend]:
    """Measure retention at N/4, N/2 and N documents, with every query at each size.

    The corpus is split into four random quarters; pairs of quarters are halves. A query is scored
    in each part that contains a relevant document, with the labels of this part, and its scores are
    averaged. Without labels, a query is scored in one random part of each size.

    Args:
        points: Measured points; full precision is first.
        search: A search whose parts are the quarters; None to measure no trend.
        quarters: The quarters; None for a corpus that is too small.
        labels: Relevance labels of the whole corpus.
        whole: Score of each query in the whole corpus, [n_points, n_queries], by metric.
        on_part: Called after each of ``count_parts`` parts.

    Returns:
        The trend of each point; empty without quarters.
    """
    if search is None or quarters is None:
        return [{} for _ in points]
    sizes: list[_Size] = []
    n_documents, n_queries = labels.n_docs, labels.n_queries
    for parts in (_PARTS[:_QUARTERS], _PARTS[_QUARTERS:]):
        total = {metric: np.zeros_like(values) for metric, values in whole.items()}
        times = np.zeros(n_queries)
        for part in parts:
            rows = np.flatnonzero(quarters.scored[:, part].any(axis=1))
            ranked = search.rank(points, parts=part, queries=rows)
            inside = labels.part(rows, quarters.documents(part))
            scorer = RankingScorer(tuple(whole), inside, ranked[points[0]].rows)
            for metric, values in scorer.scores_by_point(ranked).items():
                total[metric][:, rows] += values
            times[rows] += 1
            on_part()
        scored = times > 0
        means = {metric: values[:, scored] / times[scored] for metric, values in total.items()}
        sizes.append((n_documents // len(parts), means))
    return _trend([*sizes, (n_documents, whole)])


def count_parts(n_documents: int, n_queries: int) -> int:
    """Return the number of parts that are searched; 0 if the data set is too small.

    The trend is not measured with fewer than 100 documents in a quarter, or fewer than 20 queries.
    """
    enough = n_documents // _QUARTERS >= _MIN_QUARTER and n_queries >= _MIN_QUERIES
    return len(_PARTS) if enough else 0


def _trend(sizes: Sequence[_Size]) -> list[SizeTrend]:
    trend: list[SizeTrend] = [{} for _ in next(iter(sizes[0][1].values()))]
    for metric in sizes[0][1]:
        measured = []
        for n_documents, scores in sizes:
            cheap, full = scores[metric], scores[metric][0]
            shares, ends = retentions(cheap, full), retention_intervals(cheap, full)
            rows = np.column_stack((shares, ends)).tolist()
            measured.append([(n_documents, *row) for row in rows])
        for row, of_point in zip(trend, zip(*measured, strict=True), strict=True):
            row[metric] = tuple(SizeRetention(*each) for each in of_point)
    return trend
