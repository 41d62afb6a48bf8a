"""The queries that a page shows: five chosen by rule, and those that lose most.

What they found is read from the curve by ``queries``.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestvec.planning.choose import Plan
from nestvec.report.kept import Kept
from nestvec.report.queries import Comparison, FairChoice, can_show, choose_fairly, most_lost
from nestvec.wording import metric_name


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

    examples: tuple[Comparison, ...] = ()
    how_chosen: str = ""
    lost: tuple[Comparison, ...] = ()
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
