"""What points keep at a quarter and a half of the corpus: small dims lose more as it grows.

Measured with the codes that exist already, so it is about the size of what is searched and not of
what codecs were fitted on. Says nothing beyond the size of the corpus. Only for the points that a
person looks at: all dims at float32, and the best of each size in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import Cost, SizeRetention
from nestvec.engines.flat.representations import Representations
from nestvec.measure.documents import rank_documents
from nestvec.measure.scores import Judge
from nestvec.measure.texts import Texts, TextSubset
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.metrics.relevance import parse_metric
from nestvec.types import Embeddings, OperatingPoint, Scores

_QUARTERS = 4
_PARTS = ((0,), (1,), (2,), (3,), (0, 1), (2, 3))
_MIN_QUARTER = 100  # documents
_MIN_QUERIES = 20
_SEED = 0  # of the split: the same data are cut the same way for every model

SizeTrend = dict[str, tuple[SizeRetention, ...]]
"""By metric, what a point keeps at each size, smallest first."""
_Size = tuple[int, Mapping[str, NDArray[np.float64]]]
"""Documents, and what each query scored at each point, by metric."""


@dataclass(frozen=True)
class _Split:
    """A seeded split into quarters, and where each query has something to find.

    Attributes:
        of_doc: Quarter of each document.
        has: Whether a query is scored in a quarter, [n_queries, 4].
    """

    of_doc: NDArray[np.int64]
    has: NDArray[np.bool_]

    @classmethod
    def draw(cls, texts: Texts, *, judged: bool) -> _Split:
        rng, n_queries = np.random.default_rng(_SEED), len(texts.query_ids)
        of_doc = rng.permutation(len(texts.doc_ids)) % _QUARTERS
        if not judged:
            return cls(of_doc, np.eye(_QUARTERS, dtype=bool)[rng.integers(4, size=n_queries)])
        quarter = dict(zip(texts.doc_ids, of_doc.tolist(), strict=True))
        has = np.zeros((n_queries, _QUARTERS), dtype=bool)
        for line, query_id in zip(has, texts.query_ids, strict=True):
            graded = texts.qrels[query_id].items()
            line[[quarter[id_] for id_, grade in graded if grade > 0 and id_ in quarter]] = True
        return cls(of_doc, has)

    def holds(self, part: Sequence[int]) -> NDArray[np.bool_]:
        """Say of each document whether it is in a part."""
        return np.isin(self.of_doc, part)


def trend_rows(
    points: Sequence[OperatingPoint], quality: Scores, cost: Mapping[OperatingPoint, Cost]
) -> list[int]:
    """Choose the points whose trend is measured: all float32 dims, the best of each size.

    A size is so many bytes of memory and so many of disk, so that whatever a plan may choose by
    either is among them.

    Args:
        points: What was run, full precision first.
        quality: What each scores.
        cost: What each costs.

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
    """Measure retention at N/4, N/2 and N documents, every query at each size.

    The corpus is cut into four parts at random, and pairs of them are halves. A query is scored in
    each part that holds a relevant document of it, by the labels of that part, and counts with
    its mean over those parts; where nothing is judged, in one part of each size at random.

    Args:
        points: What was run, full precision first.
        queries: [n_queries, full_dim].
        corpus: All of it.
        texts: The set as lists.
        whole: What each query scored in all of the corpus, [n_points, n_queries], by metric.
        on_part: Called after each of ``count_parts(texts)`` parts.

    Returns:
        Nothing for each point where the data are too few: under 100 documents in a quarter, or
        under 20 queries.
    """
    if not count_parts(texts):
        return [{} for _ in points]
    judged = any(parse_metric(metric).needs_labels for metric in whole)
    split = _Split.draw(texts, judged=judged)
    sizes: list[_Size] = []
    for parts in (_PARTS[:_QUARTERS], _PARTS[_QUARTERS:]):
        total = {metric: np.zeros_like(values) for metric, values in whole.items()}
        times = np.zeros(len(queries))
        for part in parts:
            lines, docs = np.flatnonzero(split.has[:, part].any(axis=1)), split.holds(part)
            scored = _score_part(points, queries[lines], corpus, texts.part(lines, docs), whole)
            for metric, values in scored.items():
                total[metric][:, lines] += values
            times[lines] += 1
            on_part()
        found = times > 0
        means = {metric: values[:, found] / times[found] for metric, values in total.items()}
        sizes.append((len(corpus) // len(parts), means))
    return _trend([*sizes, (len(corpus), whole)])


def count_parts(texts: Texts) -> int:
    """Count the parts that are searched: none where the data are too few to tell."""
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
    """Return what the part's queries score in it, [n_points, n_queries], by metric."""
    metrics = tuple(metrics)
    depth = max(parse_metric(metric).k for metric in metrics)
    ranked = rank_documents(points, queries, corpus.part(part.rows), part.doc_of_row, depth=depth)
    return Judge(metrics, part.labels, ranked[points[0]].rows).of_points(ranked)


def _trend(sizes: Sequence[_Size]) -> list[SizeTrend]:
    trend: list[SizeTrend] = [{} for _ in next(iter(sizes[0][1].values()))]
    for metric in sizes[0][1]:
        measured = []
        for n_documents, scores in sizes:
            cheap, full = scores[metric], scores[metric][0]
            kept, ends = retentions(cheap, full), retention_intervals(cheap, full)
            measured.append([(n_documents, *row) for row in np.column_stack((kept, ends)).tolist()])
        for row, of_point in zip(trend, zip(*measured, strict=True), strict=True):
            row[metric] = tuple(SizeRetention(*each) for each in of_point)
    return trend
