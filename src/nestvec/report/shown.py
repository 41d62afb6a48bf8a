"""The queries that a page shows: given ones, or five chosen by rule; and those that lose most.

What they found is read from the curve by ``queries``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nestvec.plan.choose import Plan
from nestvec.report.kept import Kept, metric_name
from nestvec.report.queries import (
    Comparison,
    FairChoice,
    Found,
    can_show,
    choose_fairly,
    most_lost,
)


@dataclass(frozen=True)
class Example:
    """One question and what it finds.

    Attributes:
        query: The question.
        before: (title, where) of the best documents at full width, float32.
        after: (title, where, score) of the best documents at the chosen point.
        milliseconds: How long the search took at the chosen point.
    """

    query: str
    before: Sequence[tuple[str, str]]
    after: Sequence[tuple[str, str, float]]
    milliseconds: float


@dataclass(frozen=True)
class Shown:
    """Queries with what they find.

    Attributes:
        examples: Before and after, for the first screen.
        how_chosen: How these came to be here, in a sentence.
        depth: How many results of each example were compared.
        lost: The queries that lose most, with what changed.
        compared_depth: How many results of each of those were compared.
        judged: Whether documents that are judged relevant are marked.
    """

    examples: tuple[Comparison, ...] = ()
    how_chosen: str = ""
    depth: int = 0
    lost: tuple[Comparison, ...] = ()
    compared_depth: int = 0
    judged: bool = False


def gather(kept: Kept, plan: Plan | None, given: Sequence[Example]) -> Shown:
    """Collect what can be shown of a curve, a plan and given examples."""
    asked = tuple(_compare(example) for example in given)
    depth = max((len(example.before) for example in given), default=0)
    how = "Asked by hand, after the choice was made." if given else ""
    if plan is None or not can_show(kept.curve, kept.metric):
        return Shown(asked, how, depth)
    fair = choose_fairly(kept.curve, plan.point, kept.metric)
    return Shown(
        examples=asked or fair.examples,
        how_chosen=how or _how_chosen(kept, fair),
        depth=depth or fair.depth,
        lost=most_lost(kept.curve, plan.point, kept.metric),
        compared_depth=fair.depth,
        judged=bool(kept.curve.scores.top_relevant.size),
    )


def _how_chosen(kept: Kept, fair: FairChoice) -> str:
    return (
        f"Chosen by rule, not by hand: of all {fair.n_queries:,} queries in order of how their "
        f"{metric_name(kept.metric)} changes, the first, the last and even steps between. "
        f"{fair.worse:,} lose, {fair.same:,} stay the same, {fair.better:,} gain."
    )


def _compare(example: Example) -> Comparison:
    before = [(title, where) for title, where in example.before]
    after = [(title, where) for title, where, _ in example.after]
    return Comparison(
        example.query,
        before=tuple(
            Found(title, place, _place((title, where), after), where=where)
            for place, (title, where) in enumerate(before, 1)
        ),
        after=tuple(
            Found(title, place, _place((title, where), before), where=where, score=score)
            for place, (title, where, score) in enumerate(example.after, 1)
        ),
        milliseconds=example.milliseconds,
    )


def _place(document: tuple[str, str], among: Sequence[tuple[str, str]]) -> int | None:
    return among.index(document) + 1 if document in among else None
