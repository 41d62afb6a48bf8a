"""Measure retention at a quarter and a half of the corpus, because small dims lose more at scale.

The codes of the full corpus are used, so that codecs do not depend on the size. Sizes beyond the
corpus are not estimated. Only some points are measured: all dims at float32, and the best point of
each size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import Cost, SizeRetention
from nestvec.engines.flat.representations import Representations
from nestvec.measure.documents import rank_documents
from nestvec.measure.scores import RankingScorer
from nestvec.measure.texts import Texts, TextSubset
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.metrics.relevance import parse_metric
from nestvec.types import Embeddings, OperatingPoint, Scores

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
class _Split:
    """A seeded random split of the documents into quarters.

    Attributes:
        of_doc: Quarter of each document.
        scored: Whether a query is scored in a quarter, [n_queries, 4].
    """

    of_doc: NDArray[np.int64]
    scored: NDArray[np.bool_]

    @classmethod
    def draw(cls, texts: Texts, *, labeled: bool) -> _Split:
        """Split the documents; with labels, score a query in the quarters of its relevant ones."""
        rng, n_queries = np.random.default_rng(_SEED), len(texts.query_ids)
        of_doc = rng.permutation(len(texts.doc_ids)) % _QUARTERS
        if not labeled:
            return cls(of_doc, np.eye(_QUARTERS, dtype=bool)[rng.integers(4, size=n_queries)])
        quarter = dict(zip(texts.doc_ids, of_doc.tolist(), strict=True))
        scored = np.zeros((n_queries, _QUARTERS), dtype=bool)
        for of_query, query_id in zip(scored, texts.query_ids, strict=True):
            graded = texts.qrels[query_id].items()
            of_query[[quarter[id_] for id_, grade in graded if grade > 0 and id_ in quarter]] = True
        return cls(of_doc, scored)

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
    queries: Embeddings,
    corpus: Representations,
    texts: Texts,
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
        queries: [n_queries, full_dim].
        corpus: The full corpus.
        texts: The data set as lists.
        whole: Score of each query in the full corpus, [n_points, n_queries], by metric.
        on_part: Called after each of ``count_parts(texts)`` parts.

    Returns:
        The trend of each point. It is empty if the data set is too small: fewer than 100 documents
        in a quarter, or fewer than 20 queries.
    """
    if not count_parts(texts):
        return [{} for _ in points]
    labeled = any(parse_metric(metric).needs_labels for metric in whole)
    split = _Split.draw(texts, labeled=labeled)
    sizes: list[_Size] = []
    for parts in (_PARTS[:_QUARTERS], _PARTS[_QUARTERS:]):
        total = {metric: np.zeros_like(values) for metric, values in whole.items()}
        times = np.zeros(len(queries))
        for part in parts:
            rows = np.flatnonzero(split.scored[:, part].any(axis=1))
            subset = texts.part(rows, split.documents(part))
            scores = _score_part(points, queries[rows], corpus, subset, whole)
            for metric, values in scores.items():
                total[metric][:, rows] += values
            times[rows] += 1
            on_part()
        scored = times > 0
        means = {metric: values[:, scored] / times[scored] for metric, values in total.items()}
        sizes.append((len(corpus) // len(parts), means))
    return _trend([*sizes, (len(corpus), whole)])


def count_parts(texts: Texts) -> int:
    """Return the number of parts that are searched; 0 if the data set is too small."""
    enough = (
        len(texts.doc_ids) // _QUARTERS >= _MIN_QUARTER and len(texts.query_ids) >= _MIN_QUERIES
    )
    return len(_PARTS) if enough else 0


def _score_part(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    part: TextSubset,
    metrics: Iterable[str],
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of a part's queries in this part, [n_points, n_queries], by metric."""
    metrics = tuple(metrics)
    depth = max(parse_metric(metric).k for metric in metrics)
    ranked = rank_documents(points, queries, corpus.part(part.rows), part.documents, depth=depth)
    return RankingScorer(metrics, part.labels, ranked[points[0]].rows).scores_by_point(ranked)


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
