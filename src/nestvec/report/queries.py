"""Example queries before and after: a sample of all queries, and the queries that lose most.

The examples are read from the curve. A curve without query texts has no examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.planning.choose import Plan
from nestvec.report.comparison import CurveComparison
from nestvec.types import OperatingPoint, Rows
from nestvec.wording import metric_name

N_EXAMPLES = 5
_SHOWN = 3  # documents per list in an example
_N_LOSSES = 10
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ListedDocument:
    """A document in a list of results.

    Attributes:
        title: Its title, or its id without a title.
        rank: Its rank, from 1.
        other_rank: Its rank in the other list, or None if it is not in the other list.
        relevant: Whether it is labeled as relevant.
    """

    title: str
    rank: int
    other_rank: int | None
    relevant: bool


@dataclass(frozen=True)
class RankingChange:
    """The results of one query at full precision and at the chosen point.

    Attributes:
        query: The query.
        before: Top documents at full precision, or only the documents that left the top list.
        after: Top documents at the chosen point, or only the documents that entered the top list.
        scores: The metric before and after.
    """

    query: str
    before: tuple[ListedDocument, ...]
    after: tuple[ListedDocument, ...]
    scores: tuple[float, float]


@dataclass(frozen=True)
class QuerySample:
    """A sample of the queries, and counts over all queries.

    Attributes:
        examples: The sample, from the largest loss to the largest gain.
        worse: Number of queries with a lower score.
        same: Number of queries with the same score.
        better: Number of queries with a higher score.
        depth: Number of results per query that were compared.
    """

    examples: tuple[RankingChange, ...]
    worse: int
    same: int
    better: int
    depth: int

    @property
    def n_queries(self) -> int:
        """Number of all queries."""
        return self.worse + self.same + self.better


def has_examples(curve: Curve, metric: str) -> bool:
    """Return whether the curve stores query texts, titles and the metric of each query."""
    scores = curve.scores
    return bool(len(scores.query_texts) and len(scores.doc_titles) and metric in scores.metrics)


def sample_queries(
    curve: Curve, point: OperatingPoint, metric: str, *, n_queries: int = N_EXAMPLES, seed: int = 0
) -> QuerySample:
    """Sample queries at even intervals from the largest loss to the largest gain.

    Args:
        curve: A curve for which ``has_examples`` is true.
        point: The point to compare with full precision.
        metric: The metric whose change sorts the queries.
        n_queries: Number of queries.
        seed: Seed that orders queries with equal changes.
    """
    change = _change(curve, point, metric)
    order = _by_change(change, seed)
    steps = np.linspace(0, len(order) - 1, min(n_queries, len(order))).round().astype(np.int64)
    lists = _Lists(curve, point, metric)
    return QuerySample(
        examples=tuple(lists.best(number, _SHOWN) for number in order[steps].tolist()),
        worse=int(np.count_nonzero(change < -_TOLERANCE)),
        same=int(np.count_nonzero(np.abs(change) <= _TOLERANCE)),
        better=int(np.count_nonzero(change > _TOLERANCE)),
        depth=lists.depth,
    )


def largest_losses(
    curve: Curve, point: OperatingPoint, metric: str, *, n_queries: int = _N_LOSSES, seed: int = 0
) -> tuple[RankingChange, ...]:
    """Return the queries that lose most, with the documents that left or entered the top list.

    Args:
        curve: A curve for which ``has_examples`` is true.
        point: The point to compare with full precision.
        metric: The metric whose loss sorts the queries.
        n_queries: Maximum number of queries.
        seed: Seed that orders queries with equal losses.
    """
    change = _change(curve, point, metric)
    worst = _by_change(change, seed)[:n_queries]
    lists = _Lists(curve, point, metric)
    return tuple(lists.changed(number) for number in worst[change[worst] < -_TOLERANCE].tolist())


def _change(curve: Curve, point: OperatingPoint, metric: str) -> NDArray[np.float64]:
    before = curve.per_query(metric, curve.full.point)
    change: NDArray[np.float64] = curve.per_query(metric, point) - before
    return change


def _by_change(change: NDArray[np.float64], seed: int) -> Rows:
    # Equal changes are shuffled, so that their order does not depend on the file.
    shuffled = np.random.default_rng(seed).permutation(len(change))
    return shuffled[np.argsort(change[shuffled], kind="stable")]


class _Lists:
    """The results of each query at full precision and at another point."""

    def __init__(self, curve: Curve, point: OperatingPoint, metric: str) -> None:
        self._scores = curve.scores
        self._rows = curve.row_number(curve.full.point), curve.row_number(point)
        self._metric = curve.scores.metrics[metric]
        self.depth = curve.scores.top.shape[2]

    def best(self, number: int, shown: int) -> RankingChange:
        """Compare the first documents of both lists."""
        before, after = self._both(number)
        return self._comparison(number, before[:shown], after[:shown])

    def changed(self, number: int) -> RankingChange:
        """List only the documents that are in one of the two lists."""
        before, after = (
            [each for each in one if each.other_rank is None] for one in self._both(number)
        )
        return self._comparison(number, before, after)

    def _comparison(
        self, number: int, before: Sequence[ListedDocument], after: Sequence[ListedDocument]
    ) -> RankingChange:
        before_score, after_score = (float(self._metric[row, number]) for row in self._rows)
        query = str(self._scores.query_texts[number])
        return RankingChange(query, tuple(before), tuple(after), scores=(before_score, after_score))

    def _both(self, number: int) -> tuple[list[ListedDocument], list[ListedDocument]]:
        before, after = (self._scores.top[row, number] for row in self._rows)
        first, second = self._rows
        return self._found(first, number, after), self._found(second, number, before)

    def _found(self, row: int, number: int, other: NDArray[np.int32]) -> list[ListedDocument]:
        other_ranks = {int(document): rank for rank, document in enumerate(other, 1)}
        relevant = self._scores.top_relevant
        return [
            ListedDocument(
                self._title(int(document)),
                rank,
                other_ranks.get(int(document)),
                relevant=bool(relevant.size and relevant[row, number, rank - 1]),
            )
            for rank, document in enumerate(self._scores.top[row, number], 1)
            if document >= 0
        ]

    def _title(self, document: int) -> str:
        return str(self._scores.doc_titles[document] or self._scores.doc_ids[document])


@dataclass(frozen=True)
class Examples:
    """All example queries of a report.

    Attributes:
        examples: A sample of all queries.
        how_chosen: How the sample was chosen, in words.
        losses: The queries that lose most, with their changed results.
        depth: Number of results per query that were compared.
        labeled: Whether relevant documents are marked.
    """

    examples: tuple[RankingChange, ...] = ()
    how_chosen: str = ""
    losses: tuple[RankingChange, ...] = ()
    depth: int = 0
    labeled: bool = False


def collect_examples(comparison: CurveComparison, plan: Plan | None) -> Examples:
    """Collect the example queries; empty without a plan or without query texts."""
    if plan is None or not has_examples(comparison.curve, comparison.metric):
        return Examples()
    sample = sample_queries(comparison.curve, plan.point, comparison.metric)
    return Examples(
        examples=sample.examples,
        how_chosen=_how_chosen(comparison, sample),
        losses=largest_losses(comparison.curve, plan.point, comparison.metric),
        depth=sample.depth,
        labeled=bool(comparison.curve.scores.top_relevant.size),
    )


def _how_chosen(comparison: CurveComparison, sample: QuerySample) -> str:
    return (
        f"Selected by a fixed rule: all {sample.n_queries:,} queries are sorted by the change of "
        f"their {metric_name(comparison.metric)}, and the examples are taken at even intervals "
        f"from the largest loss to the largest gain. Of all queries, {sample.worse:,} lose, "
        f"{sample.same:,} are unchanged and {sample.better:,} gain."
    )
