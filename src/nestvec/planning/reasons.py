"""Say in plain words why a plan chose a point, one sentence for each reason.

Words only: what was chosen, tested and found is for ``plan`` to decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from nestvec.curve.curve import CURVE_VERSION, Curve
from nestvec.curve.point import Cost
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.confirm import Tested
from nestvec.types import OperatingPoint
from nestvec.wording import bytes_text, metric_name, percent, percent_at_least

_FULL_K = 10  # what k_for_full_recall is compared with


class Alternative(NamedTuple):
    """A point that was not tested, and what it keeps on the queries of the test."""

    point: OperatingPoint
    retention: float


@dataclass(frozen=True)
class Findings:
    """What a plan knows when it explains itself.

    Attributes:
        curve: What was measured.
        goal: What had to be reached.
        budget: What was asked.
        seed: Of the split.
        chosen: The point it names.
        confirmed: Whether the point passed the test.
        queries_tested: Number of queries not used to choose.
        queries_needed: How many in all would likely confirm it; None where no number will do, or
            where it is confirmed.
        cheaper: The next cheaper candidate, where there is one.
        small_slices: Names of slices with too few queries to be tested.
        narrower: The best candidate with fewer dims in stage 1 at the same precision.
        alone: The first stage without rescoring, where the point has more than one.
    """

    curve: Curve
    goal: Goal
    budget: Budget
    seed: int
    chosen: Tested
    confirmed: bool
    queries_tested: int
    queries_needed: int | None
    cheaper: Tested | None
    small_slices: tuple[str, ...]
    narrower: Alternative | None
    alone: Alternative | None


def explain(found: Findings) -> tuple[str, ...]:
    """Give the reasons, the most important first."""
    return tuple(_sentences(found))


def threshold_text(goal: Goal) -> str:
    """Write what a goal asks for.

    >>> threshold_text(Goal("retention", "ndcg@10", 0.98)), threshold_text(Goal("drop", "m", -0.01))
    ('98 %', 'a loss of 0.01')
    """
    if goal.kind == "drop":
        return f"a loss of {-goal.threshold:g}"
    return f"{goal.threshold * 100:g} %"


def kept_text(goal: Goal, kept: float, at_least: float | None = None) -> str:
    """Write what is kept by a goal's measure, perhaps with its bound.

    >>> kept_text(Goal("retention", "ndcg@10", 0.98), 0.991, 0.98)
    'keeps 99.1 % of nDCG@10, at least 98.0 %'
    >>> kept_text(Goal("drop", "ndcg@10", -0.01), -0.004, -0.0081)
    'loses 0.0040 of nDCG@10, at most 0.0081'
    """
    metric = metric_name(goal.metric)
    if goal.kind == "drop":
        bound = "" if at_least is None else f", at most {_up(-at_least)}"
        change = f"loses {-kept:.4f}" if kept <= 0 else f"gains {kept:.4f}"
        return f"{change} of {metric}{bound}"
    bound = "" if at_least is None else f", at least {percent_at_least(at_least)}"
    if goal.kind == "overlap":
        return f"agrees with full precision by {percent(kept)} ({metric}){bound}"
    return f"keeps {percent(kept)} of {metric}{bound}"


def _up(loss: float) -> str:
    return f"{math.ceil(round(loss * 10_000, 6)) / 10_000:.4f}"


def _sentences(found: Findings) -> Iterator[str]:
    yield _kept(found)
    yield _cost(found)
    yield from _slices(found)
    if not found.confirmed:
        yield _more_queries(found)
    else:
        yield _why_not_cheaper(found)
        yield from _why_this_first_stage(found)
    yield from _longer_list(found)
    yield _sizes(found)
    yield (
        f"The same half of the queries tests every budget with seed {found.seed}: trying many "
        f"budgets and keeping the best spends this confidence."
    )


def _kept(found: Findings) -> str:
    chosen, goal = found.chosen, found.goal
    at_least = goal.threshold if found.confirmed else chosen.at_least
    failed = "" if found.confirmed else f", not {threshold_text(goal)},"
    said = kept_text(goal, chosen.kept, at_least)
    if found.curve.evidence == "made queries":
        said = f"by queries made from the corpus, not by real ones, it {said}"
    sentence = (
        f"{said[0].upper()}{said[1:]}{failed} with {found.budget.confidence * 100:g} % "
        f"confidence, on {found.queries_tested:,} queries not used to choose"
    )
    unsaid = "; whether what it finds is right is not tested" if goal.kind == "overlap" else ""
    return f"{sentence}{unsaid}."


def _cost(found: Findings) -> str:
    cost, full = found.chosen.row.cost, found.curve.full.cost
    needs = _bytes_needed(cost)
    if found.curve.version < CURVE_VERSION:
        return (
            f"Each vector needs {needs}. The curve is of an older nestvec: its disk counts only "
            "what is read for rescoring, and its times no documents; evaluate again to compare "
            "disk or time."
        )
    return f"Each vector needs {needs}, full precision {_bytes_needed(full)}; texts not counted."


def _bytes_needed(cost: Cost) -> str:
    memory = bytes_text(cost.ram_bytes_per_vector)
    return f"{memory} in memory and {bytes_text(cost.disk_bytes_per_vector)} on disk"


def _slices(found: Findings) -> Iterator[str]:
    chosen, asked = found.chosen, found.budget.min_slice_retention
    if asked is not None and chosen.slices:
        share = f"{asked * 100:g} %"
        worst = min(chosen.slices, key=chosen.slices.__getitem__)
        outcome = (
            f"not confirmed of {_listed(chosen.lost)}" if chosen.lost else "passed in each of them"
        )
        yield (
            f"Slices tested for {share}: {len(chosen.slices)}, {outcome}; the worst is {worst}, "
            f"{percent(chosen.slices[worst])}."
        )
    if found.small_slices:
        yield f"Too few queries to judge these slices: {_listed(found.small_slices)}."


def _listed(names: tuple[str, ...]) -> str:
    shown, more = names[:_SHOWN], len(names) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


_SHOWN = 6


def _why_not_cheaper(found: Findings) -> str:
    if found.cheaper is None:
        return f"Nothing cheaper in {found.budget.minimized} that may do was measured."
    cheaper, goal = found.cheaper, found.goal
    failed = cheaper.at_least < goal.threshold
    said = kept_text(goal, cheaper.kept, cheaper.at_least if failed else None)
    lost = f" in {_listed(cheaper.lost)}" if cheaper.lost else ""
    why = (
        f"{threshold_text(goal)} is not confirmed"
        if failed
        else f"{(found.budget.min_slice_retention or 0) * 100:g} % is not confirmed{lost}"
    )
    return f"The next cheaper, {cheaper.row.point} ({_price(found, cheaper)}), {said}: {why}."


def _price(found: Findings, tested: Tested) -> str:
    cost = tested.row.cost
    match found.budget.minimize:
        case "ram":
            return f"{bytes_text(cost.ram_bytes_per_vector)} in memory"
        case "disk":
            return f"{bytes_text(cost.disk_bytes_per_vector)} on disk"
        case "latency":
            return f"{cost.p95_ms:.2f} ms p95"


def _why_this_first_stage(found: Findings) -> Iterator[str]:
    first = found.chosen.row.point.stages[0]
    if found.narrower is not None:
        kept = percent(found.narrower.retention)
        yield f"Fewer than {first.dim} dims in stage 1 would keep {kept} at best."
    if found.alone is not None:
        kept = percent(found.alone.retention)
        yield f"The first stage alone, {found.alone.point}, would keep {kept}."


def _longer_list(found: Findings) -> Iterator[str]:
    k = found.chosen.row.k_for_full_recall
    if k is not None and k > _FULL_K:
        yield f"Recall of full precision at {_FULL_K} is reached at k = {k}."


def _sizes(found: Findings) -> str:
    sizes = found.chosen.row.by_size.get(found.goal.metric, ())
    documents = found.curve.dataset.get("n_documents")
    larger = f"more than {documents:,} documents" if documents else "a larger corpus"
    if not sizes:
        return f"Not measured: {larger}; other kinds of queries."
    counts = " / ".join(f"{size.n_documents:,}" for size in sizes)
    kept = " / ".join(f"{size.retention * 100:.1f}" for size in sizes)
    return (
        f"At {counts} documents it keeps {kept} %; {larger} and other kinds of queries were "
        f"not measured."
    )


def _more_queries(found: Findings) -> str:
    if found.queries_needed is None:
        return (
            f"No number of queries will do: by its estimate it does no better than "
            f"{threshold_text(found.goal)}; ask for less or measure other points."
        )
    more = found.queries_needed - len(found.curve.scores.query_ids)
    return (
        f"About {found.queries_needed:,} queries, half of them to test on, would confirm it in "
        f"4 of 5 cases if it keeps what it seems to"
        + (f": {more:,} more than there are." if more > 0 else ", so this may be bad luck.")
    )
