"""Per-query scores of rankings; metrics are written ``name@k``.

ndcg, recall, mrr and map use relevance labels (qrels) and equal trec_eval's values. Unlabeled
documents count as not relevant and negative grades as 0. Relevant documents that are missing from
the corpus count as missed. A query without results scores 0.

overlap and rbo measure agreement with the exact full-precision ranking, not relevance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.metrics.agreement import overlap, rbo
from nestvec.types import Rows, Scores
from nestvec.wording import count_text

_METRIC = re.compile(r"([a-z]+)@([1-9]\d*)")

Grades = NDArray[np.float64]
"""Grades of ranked documents, [n_queries, depth], best rank first, 0 where not relevant."""
Qrels = Mapping[str, Mapping[str, float]]
"""Grades by query id and document id; higher is more relevant."""
Run = Mapping[str, Mapping[str, float]]
"""Scores by query id and document id; higher is better."""


@dataclass(frozen=True)
class RelevanceLabels:
    """The relevant documents of a sequence of queries, as arrays.

    Attributes:
        n_queries: Number of queries, including queries without a relevant document.
        n_docs: Number of documents in the corpus.
        keys: ``query * n_docs + row`` of each relevant document in the corpus, ascending.
        key_grades: Grade of each key.
        query: Query number of each relevant document, including documents missing from the
            corpus.
        grade: Grade of each of these documents, descending within a query.
        place: Rank of each of these documents in the ideal ranking of its query, from 0.
    """

    n_queries: int
    n_docs: int
    keys: NDArray[np.int64]
    key_grades: NDArray[np.float64]
    query: NDArray[np.int64]
    grade: NDArray[np.float64]
    place: NDArray[np.int64]

    @classmethod
    def from_qrels(
        cls, qrels: Qrels, query_ids: Sequence[str], doc_ids: Sequence[str]
    ) -> RelevanceLabels:
        """Collect the relevant documents of each query.

        Args:
            qrels: Grades. Other queries and grades of 0 or less are ignored.
            query_ids: Query ids, in the order of the rankings to score.
            doc_ids: Document ids, in row order.
        """
        labeled = {doc_id for query_id in query_ids for doc_id in qrels.get(query_id, {})}
        rows = {doc_id: row for row, doc_id in enumerate(doc_ids) if doc_id in labeled}
        relevant = [
            (number, rows.get(doc_id, -1), float(grade))
            for number, query_id in enumerate(query_ids)
            for doc_id, grade in qrels.get(query_id, {}).items()
            if grade > 0
        ]
        return cls._of(
            np.array([number for number, _, _ in relevant], dtype=np.int64),
            np.array([row for _, row, _ in relevant], dtype=np.int64),
            np.array([grade for _, _, grade in relevant], dtype=np.float64),
            n_queries=len(query_ids),
            n_docs=len(doc_ids),
        )

    @classmethod
    def _of(
        cls,
        query: NDArray[np.int64],
        row: NDArray[np.int64],
        grade: NDArray[np.float64],
        *,
        n_queries: int,
        n_docs: int,
    ) -> RelevanceLabels:
        """Sort the relevant documents, [n] each; row -1 is not in the corpus."""
        ideal = np.lexsort((-grade, query))
        query, row, grade = query[ideal], row[ideal], grade[ideal]
        first = np.searchsorted(query, query)  # index of the first document of the same query
        known = np.flatnonzero(row >= 0)
        keys = query[known] * n_docs + row[known]
        ascending = np.argsort(keys)
        return cls(
            n_queries=n_queries,
            n_docs=n_docs,
            keys=keys[ascending],
            key_grades=grade[known][ascending],
            query=query,
            grade=grade,
            place=np.arange(len(query), dtype=np.int64) - first,
        )

    def part(self, queries: Rows, docs: NDArray[np.bool_]) -> RelevanceLabels:
        """Return the labels of some queries for a part of the documents of the corpus.

        Args:
            queries: Numbers of the queries, without repetition; they are numbered again from 0.
            docs: True for the documents of the part, [n_docs]. Their rows do not change.
        """
        query, row = np.divmod(self.keys, max(1, self.n_docs))
        place = np.full(self.n_queries, -1, dtype=np.int64)
        place[queries] = np.arange(len(queries))
        inside = docs[row] & (place[query] >= 0)
        return self._of(
            place[query][inside],
            row[inside],
            self.key_grades[inside],
            n_queries=len(queries),
            n_docs=self.n_docs,
        )

    def grades(self, ranked: Rows) -> Grades:
        """Look up the grades of ranked documents.

        Args:
            ranked: Rows of the corpus, best first, [n_queries, depth]; -1 is an empty position.

        Returns:
            Grades, [n_queries, depth].

        Raises:
            InvalidArgument: If the shape is wrong, or a row is not in the corpus.
        """
        if ranked.ndim != 2 or len(ranked) != self.n_queries:
            raise InvalidArgument(
                f"ranked has shape {ranked.shape} for {count_text(self.n_queries, 'query')}. "
                "Pass an array of shape [n_queries, depth]."
            )
        if ranked.size and (highest := int(ranked.max())) >= self.n_docs:
            raise InvalidArgument(
                f"Row {highest} is not in the corpus. Rows are 0 to {self.n_docs - 1}."
            )
        if not len(self.keys):
            return np.zeros(ranked.shape)
        wanted = np.arange(self.n_queries)[:, None] * self.n_docs + ranked
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        # Without the check, -1 would match the last document of the previous query.
        found = (self.keys[place] == wanted) & (ranked >= 0)
        return np.where(found, self.key_grades[place], 0.0)

    def count(self) -> NDArray[np.int64]:
        """Return the number of relevant documents of each query, [n_queries]."""
        return np.bincount(self.query, minlength=self.n_queries)


class Metric(NamedTuple):
    """A metric and its cutoff, written ``name@k``."""

    name: str
    k: int

    def __str__(self) -> str:
        """Write the metric as ``name@k``."""
        return f"{self.name}@{self.k}"

    @property
    def needs_labels(self) -> bool:
        """Whether the metric needs relevance labels; if not, it measures agreement."""
        return self.name in _RELEVANCE


def parse_metric(text: str) -> Metric:
    """Parse ``name@k``.

    >>> parse_metric("ndcg@10")
    Metric(name='ndcg', k=10)

    Raises:
        InvalidArgument: If the metric is unknown.
    """
    match = _METRIC.fullmatch(text)
    if match is None or match[1] not in (*_RELEVANCE, *_AGREEMENT):
        known = ", ".join(f"{name}@k" for name in (*_RELEVANCE, *_AGREEMENT))
        raise InvalidArgument(f"Unknown metric {text!r}. Choose one of {known}, with k >= 1.")
    return Metric(match[1], int(match[2]))


def is_relevance(metric: str) -> bool:
    """Return whether a metric of a curve measures the ranking of a point by relevance labels.

    Metrics of fused or reranked rankings, and your own scores, have other names.

    >>> is_relevance("ndcg@10"), is_relevance("rrf:ndcg@10"), is_relevance("overlap@10")
    (True, False, False)
    """
    match = _METRIC.fullmatch(metric)
    return match is not None and match[1] in _RELEVANCE


def is_agreement(metric: str) -> bool:
    """Return whether a metric of a curve measures agreement with full precision.

    >>> is_agreement("overlap@10"), is_agreement("rrf:overlap@10"), is_agreement("ndcg@10")
    (True, True, False)
    """
    match = _METRIC.fullmatch(metric.rpartition(":")[2])
    return match is not None and match[1] in _AGREEMENT


def score(metric: str, grades: Grades, labels: RelevanceLabels) -> Scores:
    """Score the ranking of each query by relevance labels, float64 [n_queries].

    Args:
        metric: For example ``"ndcg@10"``.
        grades: The result of ``labels.grades(ranked)``. Compute it once for several metrics.
        labels: The relevant documents.

    Raises:
        InvalidArgument: If the metric is unknown or measures agreement.
    """
    name, k = parse_metric(metric)
    if name not in _RELEVANCE:
        raise InvalidArgument(
            f"{metric} compares with an exact ranking, not with relevance labels. "
            "Use ndcg, recall, mrr or map."
        )
    return _RELEVANCE[name](grades[:, :k], labels, k)


def agreement(metric: str, ranked: Rows, exact: Rows) -> Scores:
    """Score the agreement of each query's ranking with the exact ranking, float64 [n_queries].

    Args:
        metric: For example ``"overlap@10"``.
        ranked: Rows of the approximate ranking, best first, [n_queries, depth]; -1 is empty.
        exact: Rows of exact search at full precision, in the same form.

    Raises:
        InvalidArgument: If the metric is unknown or needs relevance labels, or the two rankings
            have different numbers of queries.
    """
    name, k = parse_metric(metric)
    if name not in _AGREEMENT:
        raise InvalidArgument(
            f"{metric} needs relevance labels, not an exact ranking. Use overlap or rbo."
        )
    return _AGREEMENT[name](ranked, exact, k)


def evaluate_run(run: Run, qrels: Qrels, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Score a run as trec_eval does, for each query of the qrels and each metric.

    Documents are sorted by descending float32 score; ties by descending id. Queries that are
    missing from the run score 0.

    Returns:
        ``{query_id: {metric: value}}``.

    Raises:
        InvalidArgument: If a metric is unknown, or a score is NaN.
    """
    depth = max((parse_metric(metric).k for metric in metrics), default=0)
    query_ids = list(qrels)
    grades = np.zeros((len(query_ids), depth))
    for line, query_id in zip(grades, query_ids, strict=True):
        found = _sort_by_score(run.get(query_id, {}))[:depth]
        line[: len(found)] = [max(qrels[query_id].get(doc_id, 0), 0) for doc_id in found]
    labels = RelevanceLabels.from_qrels(qrels, query_ids, doc_ids=())
    columns = [score(metric, grades, labels).tolist() for metric in metrics]
    return {
        query_id: dict(zip(metrics, values, strict=True))
        for query_id, *values in zip(query_ids, *columns, strict=True)
    }


def ndcg(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """Return nDCG with gain = grade (Järvelin and Kekäläinen 2002).

    Example: the ranking has grades 3, 0, 2, 0, 1; a document of grade 2 was not found.

        DCG@5   = 3/log2(2) + 2/log2(4) + 1/log2(6)             = 4.38685
        ideal   = 3/log2(2) + 2/log2(3) + 2/log2(4) + 1/log2(5) = 5.69254
        nDCG@5  = 4.38685 / 5.69254                             = 0.77063

    >>> qrels = {"q": {"a": 3, "c": 2, "e": 1, "f": 2}}
    >>> labels = RelevanceLabels.from_qrels(qrels, ["q"], list("abcdef"))
    >>> ndcg(labels.grades(np.array([[0, 1, 2, 3, 4]])), labels, k=5).round(5)
    array([0.77063])
    """
    gained = grades @ (1 / np.log2(np.arange(grades.shape[1]) + 2))
    top = labels.place < k
    discounted = labels.grade[top] / np.log2(labels.place[top] + 2)
    ideal = np.bincount(labels.query[top], discounted, minlength=labels.n_queries)
    return _ratio(gained, ideal)


def recall(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """Return the share of the relevant documents that are in the top k."""
    return _ratio((grades > 0).sum(axis=1), labels.count())


def mrr(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """Return 1 / rank of the first relevant document in the top k, or 0 without any."""
    if not grades.shape[1]:
        return np.zeros(len(grades))
    relevant = grades > 0
    return np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1.0), 0.0)


def average_precision(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """Return the sum of precision at each relevant rank up to k, over all relevant documents."""
    relevant = grades > 0
    precision = relevant.cumsum(axis=1) / (np.arange(grades.shape[1]) + 1)
    return _ratio((precision * relevant).sum(axis=1), labels.count())


_RELEVANCE: dict[str, Callable[[Grades, RelevanceLabels, int], Scores]] = {
    "ndcg": ndcg,
    "recall": recall,
    "mrr": mrr,
    "map": average_precision,
}
_AGREEMENT: dict[str, Callable[[Rows, Rows, int], Scores]] = {"overlap": overlap, "rbo": rbo}


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Scores:
    """Divide; where ``whole`` is 0 return 0, as trec_eval does."""
    result: Scores = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return result


def _sort_by_score(found: Mapping[str, float]) -> list[str]:
    scores = {doc_id: float(np.float32(value)) for doc_id, value in found.items()}
    for doc_id, value in scores.items():
        if value != value:
            raise InvalidArgument(f"The score of document {doc_id!r} in the run is NaN.")
    return sorted(scores, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)
