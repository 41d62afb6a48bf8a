"""Scores of rankings, query by query, in two families that are written alike, ``name@k``.

Judged by qrels: ndcg, recall, mrr and map, as trec_eval has them: documents without a label
count as not relevant, negative grades as zero, relevant documents that the corpus lacks still count
as missed, and a query without results scores 0. Agreement with the exact full-precision ranking:
overlap and rbo, which say nothing of relevance. Means and their uncertainty are left to ``stats``.
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

Grades = NDArray[np.float64]
"""Grades of ranked documents, [n_queries, depth], best rank first, 0 where not relevant."""
Qrels = Mapping[str, Mapping[str, float]]
"""Grade of each judged document of each query."""
Run = Mapping[str, Mapping[str, float]]
"""Score of each found document of each query."""


@dataclass(frozen=True)
class RelevanceLabels:
    """The relevant documents of a sequence of queries, as arrays.

    Attributes:
        n_queries: Number of queries, also those without a relevant document.
        n_docs: Number of documents of the corpus.
        keys: ``query * n_docs + row`` of each relevant document of the corpus, ascending.
        key_grades: Grade of each key.
        query: Query of each relevant document, known to the corpus or not.
        grade: Its grade; within a query the highest comes first.
        place: Its place in an ideal ranking of its query, from 0.
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
        """Collect what is relevant to each query.

        Args:
            qrels: Grades; those of other queries are left out, grades of 0 or less are ignored.
            query_ids: The queries, in the order of the rankings to be scored.
            doc_ids: The corpus, in the order of its rows.
        """
        rows = {doc_id: row for row, doc_id in enumerate(doc_ids)}
        relevant = [
            (number, rows.get(doc_id, -1), float(grade))
            for number, query_id in enumerate(query_ids)
            for doc_id, grade in qrels.get(query_id, {}).items()
            if grade > 0
        ]
        query = np.array([number for number, _, _ in relevant], dtype=np.int64)
        row = np.array([row for _, row, _ in relevant], dtype=np.int64)
        grade = np.array([grade for _, _, grade in relevant], dtype=np.float64)

        ideal = np.lexsort((-grade, query))
        query, row, grade = query[ideal], row[ideal], grade[ideal]
        first = np.searchsorted(query, query)  # where each one's query begins
        known = np.flatnonzero(row >= 0)
        keys = query[known] * len(doc_ids) + row[known]
        ascending = np.argsort(keys)
        return cls(
            n_queries=len(query_ids),
            n_docs=len(doc_ids),
            keys=keys[ascending],
            key_grades=grade[known][ascending],
            query=query,
            grade=grade,
            place=np.arange(len(query), dtype=np.int64) - first,
        )

    def grades(self, ranked: Rows) -> Grades:
        """Look up the grades of ranked documents.

        Args:
            ranked: Rows of the corpus, best first, [n_queries, depth]; -1 marks an empty place.

        Raises:
            InvalidArgument: If there is not one line for each query, or a row is not in the corpus.
        """
        if ranked.ndim != 2 or len(ranked) != self.n_queries:
            raise InvalidArgument(f"ranked has shape {ranked.shape} for {self.n_queries} queries")
        if ranked.size and (highest := int(ranked.max())) >= self.n_docs:
            raise InvalidArgument(f"row {highest} of a corpus of {self.n_docs} documents")
        if not len(self.keys):
            return np.zeros(ranked.shape)
        wanted = np.arange(self.n_queries)[:, None] * self.n_docs + ranked
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        # An empty place would otherwise be taken for the last document of the query before.
        found = (self.keys[place] == wanted) & (ranked >= 0)
        return np.where(found, self.key_grades[place], 0.0)

    def count(self) -> NDArray[np.int64]:
        """Count the relevant documents of each query, [n_queries]."""
        return np.bincount(self.query, minlength=self.n_queries)


class Metric(NamedTuple):
    """A metric with its cut-off, written ``name@k``."""

    name: str
    k: int

    def __str__(self) -> str:
        """Write the metric as ``name@k``."""
        return f"{self.name}@{self.k}"

    @property
    def needs_labels(self) -> bool:
        """Whether it needs qrels; otherwise it is of agreement with the exact ranking."""
        return self.name in _RELEVANCE


def parse_metric(text: str) -> Metric:
    """Read ``name@k``.

    >>> parse_metric("ndcg@10")
    Metric(name='ndcg', k=10)

    Raises:
        InvalidArgument: If there is no such metric.
    """
    match = re.fullmatch(r"([a-z]+)@([1-9]\d*)", text)
    if match is None or match[1] not in (*_RELEVANCE, *_AGREEMENT):
        known = ", ".join(f"{name}@k" for name in (*_RELEVANCE, *_AGREEMENT))
        raise InvalidArgument(f"metric {text!r} is none of {known}, with k a whole number >= 1")
    return Metric(match[1], int(match[2]))


def score(metric: str, grades: Grades, labels: RelevanceLabels) -> Scores:
    """Score each query's ranking by relevance labels, float64 [n_queries].

    Args:
        metric: For example ``"ndcg@10"``.
        grades: What ``labels.grades(ranked)`` gave: look them up once for many metrics.
        labels: What is relevant.

    Raises:
        InvalidArgument: If there is no such metric, or it is one of agreement.
    """
    name, k = parse_metric(metric)
    if name not in _RELEVANCE:
        raise InvalidArgument(f"{metric} compares with an exact ranking, not with relevance labels")
    return _RELEVANCE[name](grades[:, :k], labels, k)


def agreement(metric: str, ranked: Rows, exact: Rows) -> Scores:
    """Score how far each query's ranking agrees with the exact one, float64 [n_queries].

    Args:
        metric: For example ``"overlap@10"``.
        ranked: Rows that the cheaper search found, best first, [n_queries, depth]; -1 is empty.
        exact: Rows that exact search at full precision found, in the same form.

    Raises:
        InvalidArgument: If there is no such metric, or it needs relevance labels; or the two
            rankings are not of the same queries.
    """
    name, k = parse_metric(metric)
    if name not in _AGREEMENT:
        raise InvalidArgument(f"{metric} needs relevance labels: a ranking alone does not give it")
    return _AGREEMENT[name](ranked, exact, k)


def evaluate_run(run: Run, qrels: Qrels, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Score a run as trec_eval does, one value for each query of the qrels and each metric.

    Documents stand in descending order of their score as float32, equal scores in descending
    order of id. Queries that the run lacks score 0.

    Returns:
        ``{query_id: {metric: value}}``.

    Raises:
        InvalidArgument: If there is no such metric, or a score is not a number.
    """
    depth = max((parse_metric(metric).k for metric in metrics), default=0)
    query_ids = list(qrels)
    grades = np.zeros((len(query_ids), depth))
    for line, query_id in zip(grades, query_ids, strict=True):
        found = _in_order(run.get(query_id, {}))[:depth]
        line[: len(found)] = [max(qrels[query_id].get(doc_id, 0), 0) for doc_id in found]
    labels = RelevanceLabels.from_qrels(qrels, query_ids, doc_ids=())
    columns = [score(metric, grades, labels).tolist() for metric in metrics]
    return {
        query_id: dict(zip(metrics, values, strict=True))
        for query_id, *values in zip(query_ids, *columns, strict=True)
    }


def ndcg(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """Normalized discounted cumulative gain, gain = grade (Järvelin and Kekäläinen 2002).

    By hand: five documents with grades 3, 0, 2, 0, 1 are found; a sixth of grade 2 is not.

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
    """Share of the relevant documents that stand in the top k."""
    return _ratio((grades > 0).sum(axis=1), labels.count())


def mrr(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """One over the rank of the first relevant document in the top k, 0 where there is none."""
    if not grades.shape[1]:
        return np.zeros(len(grades))
    relevant = grades > 0
    return np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1.0), 0.0)


def average_precision(grades: Grades, labels: RelevanceLabels, k: int) -> Scores:
    """Precision at the rank of each relevant document of the top k, over all relevant ones."""
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
    """Divide; where there is nothing to divide by, give 0 as trec_eval does."""
    result: Scores = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return result


def _in_order(found: Mapping[str, float]) -> list[str]:
    scores = {doc_id: float(np.float32(value)) for doc_id, value in found.items()}
    for doc_id, value in scores.items():
        if value != value:
            raise InvalidArgument(f"the score of document {doc_id!r} in the run is NaN")
    return sorted(scores, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)
