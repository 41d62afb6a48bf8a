"""Queries before and after: five chosen by rule, and those that lose most.

Reads what a curve kept of each query; a curve that kept no texts has nothing to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.planning.choose import Plan
from nestvec.report.kept import Kept
from nestvec.types import OperatingPoint, Rows
from nestvec.wording import metric_name

FAIR = 5
_SHOWN = 3  # documents of each list in an example
_MOST_LOST = 10
_SAME = 1e-9


@dataclass(frozen=True)
class Found:
    """A document in a list of results.

    Attributes:
        title: What it is called.
        place: Its rank, from 1.
        other: Its rank in the other list; None where it is not there.
        relevant: Whether it is judged relevant.
    """

    title: str
    place: int
    other: int | None
    relevant: bool


@dataclass(frozen=True)
class RankingChange:
    """What one query finds before and after.

    Attributes:
        query: The query.
        before: The best documents at full width, float32, or those of them that fell out.
        after: The best at the chosen point, or those of them that came in.
        scores: The metric before and after.
    """

    query: str
    before: tuple[Found, ...]
    after: tuple[Found, ...]
    scores: tuple[float, float]


@dataclass(frozen=True)
class FairChoice:
    """Queries chosen by rule, and what became of all of them.

    Attributes:
        examples: From the one that loses most to the one that gains most.
        worse: How many queries lose.
        same: How many score the same.
        better: How many gain.
        depth: How many results of each query were compared.
    """

    examples: tuple[RankingChange, ...]
    worse: int
    same: int
    better: int
    depth: int

    @property
    def n_queries(self) -> int:
        """How many there are to choose from."""
        return self.worse + self.same + self.better


def can_show(curve: Curve, metric: str) -> bool:
    """Tell whether the curve kept texts, and the metric of each query."""
    scores = curve.scores
    return bool(len(scores.query_texts) and len(scores.doc_titles) and metric in scores.metrics)


def choose_fairly(
    curve: Curve, point: OperatingPoint, metric: str, *, wanted: int = FAIR, seed: int = 0
) -> FairChoice:
    """Take queries at even steps between the one that loses most and the one that gains most.

    Args:
        curve: One that ``can_show``.
        point: What to compare with full width at float32.
        metric: By which queries lose and gain.
        wanted: How many queries.
        seed: Orders queries that change alike.
    """
    change = _change(curve, point, metric)
    order = _by_change(change, seed)
    steps = np.linspace(0, len(order) - 1, min(wanted, len(order))).round().astype(np.int64)
    lists = _Lists(curve, point, metric)
    return FairChoice(
        examples=tuple(lists.best(number, _SHOWN) for number in order[steps].tolist()),
        worse=int(np.count_nonzero(change < -_SAME)),
        same=int(np.count_nonzero(np.abs(change) <= _SAME)),
        better=int(np.count_nonzero(change > _SAME)),
        depth=lists.depth,
    )


def most_lost(
    curve: Curve, point: OperatingPoint, metric: str, *, wanted: int = _MOST_LOST, seed: int = 0
) -> tuple[RankingChange, ...]:
    """Take the queries that lose most, with only the documents that fell out and came in.

    Args:
        curve: One that ``can_show``.
        point: What to compare with full width at float32.
        metric: By which queries lose.
        wanted: How many, at most.
        seed: Orders queries that lose alike.
    """
    change = _change(curve, point, metric)
    worst = _by_change(change, seed)[:wanted]
    lists = _Lists(curve, point, metric)
    return tuple(lists.changed(number) for number in worst[change[worst] < -_SAME].tolist())


def _change(curve: Curve, point: OperatingPoint, metric: str) -> NDArray[np.float64]:
    before = curve.per_query(metric, curve.full.point)
    change: NDArray[np.float64] = curve.per_query(metric, point) - before
    return change


def _by_change(change: NDArray[np.float64], seed: int) -> Rows:
    # Equal changes stand in no order that anyone could have had an interest in.
    shuffled = np.random.default_rng(seed).permutation(len(change))
    return shuffled[np.argsort(change[shuffled], kind="stable")]


class _Lists:
    """The results of each query at full width and at another point."""

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
        """List only what is in one list and not in the other."""
        before, after = ([each for each in one if each.other is None] for one in self._both(number))
        return self._comparison(number, before, after)

    def _comparison(
        self, number: int, before: Sequence[Found], after: Sequence[Found]
    ) -> RankingChange:
        was, now = (float(self._metric[row, number]) for row in self._rows)
        query = str(self._scores.query_texts[number])
        return RankingChange(query, tuple(before), tuple(after), scores=(was, now))

    def _both(self, number: int) -> tuple[list[Found], list[Found]]:
        before, after = (self._scores.top[row, number] for row in self._rows)
        first, second = self._rows
        return self._found(first, number, after), self._found(second, number, before)

    def _found(self, row: int, number: int, other: NDArray[np.int32]) -> list[Found]:
        elsewhere = {int(document): place for place, document in enumerate(other, 1)}
        judged = self._scores.top_relevant
        return [
            Found(
                self._title(int(document)),
                place,
                elsewhere.get(int(document)),
                relevant=bool(judged.size and judged[row, number, place - 1]),
            )
            for place, document in enumerate(self._scores.top[row, number], 1)
            if document >= 0
        ]

    def _title(self, document: int) -> str:
        return str(self._scores.doc_titles[document] or self._scores.doc_ids[document])


@dataclass(frozen=True)
class Shown:
    """Queries with what they find.

    Attributes:
        examples: Before and after, for the first screen.
        how_chosen: How these came to be here, in a sentence.
        lost: The queries that lose most, with what changed.
        depth: How many results of each query were compared.
        judged: Whether documents that are judged relevant are marked.
    """

    examples: tuple[RankingChange, ...] = ()
    how_chosen: str = ""
    lost: tuple[RankingChange, ...] = ()
    depth: int = 0
    judged: bool = False


def gather(kept: Kept, plan: Plan | None) -> Shown:
    """Collect what can be shown of a curve and a plan; nothing without either."""
    if plan is None or not can_show(kept.curve, kept.metric):
        return Shown()
    fair = choose_fairly(kept.curve, plan.point, kept.metric)
    return Shown(
        examples=fair.examples,
        how_chosen=_how_chosen(kept, fair),
        lost=most_lost(kept.curve, plan.point, kept.metric),
        depth=fair.depth,
        judged=bool(kept.curve.scores.top_relevant.size),
    )


def _how_chosen(kept: Kept, fair: FairChoice) -> str:
    return (
        f"Chosen by rule, not by hand: of all {fair.n_queries:,} queries in order of how their "
        f"{metric_name(kept.metric)} changes, the first, the last and even steps between. "
        f"{fair.worse:,} lose, {fair.same:,} stay the same, {fair.better:,} gain."
    )
