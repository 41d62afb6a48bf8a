"""Explain in short sentences why a plan chose its point. This module only writes text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nestvec.curve.curve import CURVE_VERSION, Curve
from nestvec.curve.point import Cost
from nestvec.curve.sample import full_corpus_text, sample_of, sampled_queries_text
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.confirm import TestResult
from nestvec.types import OperatingPoint
from nestvec.wording import bytes_text, metric_name, percent, percent_at_least

_FULL_K = 10  # k of full precision to which k_for_full_recall refers


class Alternative(NamedTuple):
    """A point that was not tested, and its retention on the test queries."""

    point: OperatingPoint
    retention: float


@dataclass(frozen=True)
class Findings:
    """The facts that the reasons are written from.

    Attributes:
        curve: The measured curve.
        goal: The target.
        budget: The budget.
        seed: Seed of the split of the queries.
        chosen: The chosen point.
        confirmed: Whether the chosen point passed the test.
        queries_tested: Number of test queries.
        queries_needed: Estimated total number of queries that would confirm the point; None if
            the point is confirmed, or if no number of queries is enough.
        cheaper: The next cheaper candidate, which failed the test, or None.
        small_slices: Names of the slices with too few queries to test.
        narrower: The best candidate with fewer dims in stage 1 at the same precision, or None.
        not_rescored: The first stage without rescoring, or None if the point does not rescore.
    """

    curve: Curve
    goal: Goal
    budget: Budget
    seed: int
    chosen: TestResult
    confirmed: bool
    queries_tested: int
    queries_needed: int | None
    cheaper: TestResult | None
    small_slices: tuple[str, ...]
    narrower: Alternative | None
    not_rescored: Alternative | None


def explain(findings: Findings) -> tuple[str, ...]:
    """Return the reasons, the most important first."""
    return tuple(_sentences(findings))


def threshold_text(goal: Goal) -> str:
    """Return the threshold of a goal as text.

    >>> threshold_text(Goal("retention", "ndcg@10", 0.98)), threshold_text(Goal("drop", "m", -0.01))
    ('98 %', 'a loss of at most 0.01')
    """
    if goal.kind == "drop":
        return f"a loss of at most {-goal.threshold:g}"
    return f"{goal.threshold * 100:g} %"


def ratio_text(goal: Goal, ratio: float) -> str:
    """Return the ratio of a goal as text.

    >>> ratio_text(Goal("retention", "ndcg@10", 0.98), 0.991)
    'retains 99.1 % of nDCG@10'
    >>> ratio_text(Goal("drop", "ndcg@10", -0.01), -0.004)
    'loses 0.0040 of nDCG@10'
    """
    metric = metric_name(goal.metric)
    if goal.kind == "drop":
        change = f"loses {-ratio:.4f}" if ratio <= 0 else f"gains {ratio:.4f}"
        return f"{change} of {metric}"
    if goal.kind == "overlap":
        return f"has {percent(ratio)} agreement with full precision ({metric})"
    return f"retains {percent(ratio)} of {metric}"


def bound_text(goal: Goal, at_least: float) -> str:
    """Return the lower bound of a goal's ratio as text, rounded down; of a loss, rounded up.

    >>> bound_text(Goal("retention", "ndcg@10", 0.98), 0.9809)
    'at least 98.0 %'
    >>> bound_text(Goal("drop", "ndcg@10", -0.01), -0.0081)
    'at most 0.0081'
    """
    if goal.kind == "drop":
        return f"at most {math.ceil(round(-at_least * 10_000, 6)) / 10_000:.4f}"
    return f"at least {percent_at_least(at_least)}"


def _sentences(findings: Findings) -> Iterator[str]:
    yield _quality(findings)
    yield _cost(findings)
    yield from _slices(findings)
    if not findings.confirmed:
        yield _more_queries(findings)
    else:
        yield _why_not_cheaper(findings)
        yield from _why_this_first_stage(findings)
    yield from _longer_list(findings)
    yield from _settings(findings)
    yield _sizes(findings)
    yield from _sample(findings.curve.dataset)
    yield (
        f"Every budget is tested on the same held-out half of the queries (seed {findings.seed}). "
        f"If you try many budgets and report the best one, the "
        f"{_percent(findings.budget.confidence)} confidence no longer holds."
    )


def _settings(findings: Findings) -> Iterator[str]:
    """Yield the settings of the engine's search structures that were measured."""
    settings = findings.chosen.row.settings
    if settings:
        shown = ", ".join(f"{name} {value}" for name, value in settings.items())
        yield f"Measured with the engine's own index: {shown}."


def _percent(share: float) -> str:
    """Write a share that the user chose, with as many digits as it has."""
    return f"{share * 100:g} %"


def _quality(findings: Findings) -> str:
    chosen, goal = findings.chosen, findings.goal
    quality = ratio_text(goal, chosen.ratio)
    if findings.curve.evidence == "made queries":
        quality = f"measured with generated queries instead of real ones: {quality}"
    bound = bound_text(goal, goal.threshold if findings.confirmed else chosen.at_least)
    text = (
        f"{quality[0].upper()}{quality[1:]}, {bound} with "
        f"{_percent(findings.budget.confidence)} confidence, on {findings.queries_tested:,} "
        f"queries not used to choose."
    )
    if not findings.confirmed:
        text += f" The target ({_missed(findings, chosen)}) is not confirmed."
    if goal.kind == "overlap":
        text += " Relevance was not measured."
    return text


def _missed(findings: Findings, tested: TestResult) -> str:
    """Return the target that a row failed: the goal, or else that of the slices."""
    if tested.at_least < findings.goal.threshold:
        return threshold_text(findings.goal)
    share = _percent(findings.budget.min_slice_retention or 0)
    return f"{share} in {_listed(tested.failed)}" if tested.failed else share


def _cost(findings: Findings) -> str:
    cost, full = findings.chosen.row.cost, findings.curve.full.cost
    needs = f"Each vector needs {_bytes_needed(cost)}"
    if findings.curve.version < CURVE_VERSION:
        return (
            f"{needs}. An older version of nestvec wrote this curve: its disk sizes count only "
            "the bytes read for rescoring, and its times do not include reading documents. "
            "Evaluate again to compare disk or time."
        )
    return f"{needs} (full precision: {_bytes_needed(full)}), not counting texts."


def _bytes_needed(cost: Cost) -> str:
    memory = bytes_text(cost.ram_bytes_per_vector)
    return f"{memory} in memory and {bytes_text(cost.disk_bytes_per_vector)} on disk"


def _slices(findings: Findings) -> Iterator[str]:
    chosen, share = findings.chosen, findings.budget.min_slice_retention
    if share is not None and chosen.slices:
        worst = min(chosen.slices, key=chosen.slices.__getitem__)
        outcome = f"not confirmed in {_listed(chosen.failed)}" if chosen.failed else "all confirmed"
        yield (
            f"Slices tested for a retention of {_percent(share)}: {len(chosen.slices)}, "
            f"{outcome}. The lowest retention is {percent(chosen.slices[worst])} ({worst})."
        )
    if findings.small_slices:
        yield f"Slices with too few queries to test: {_listed(findings.small_slices)}."


def _listed(names: tuple[str, ...]) -> str:
    shown, more = names[:_SHOWN], len(names) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


_SHOWN = 6


def _why_not_cheaper(findings: Findings) -> str:
    if findings.cheaper is None:
        return f"No measured point within the limits needs less {findings.budget.minimized}."
    cheaper, goal = findings.cheaper, findings.goal
    quality = ratio_text(goal, cheaper.ratio)
    if cheaper.at_least < goal.threshold:
        quality += f" ({bound_text(goal, cheaper.at_least)})"
    return (
        f"The next cheaper point, {cheaper.row.point} ({_price(findings, cheaper)}), {quality}, "
        f"so {_missed(findings, cheaper)} is not confirmed."
    )


def _price(findings: Findings, tested: TestResult) -> str:
    cost = tested.row.cost
    match findings.budget.minimize:
        case "ram":
            return f"{bytes_text(cost.ram_bytes_per_vector)} in memory"
        case "disk":
            return f"{bytes_text(cost.disk_bytes_per_vector)} on disk"
        case "latency":
            return f"{cost.p95_ms:.2f} ms p95"


def _why_this_first_stage(findings: Findings) -> Iterator[str]:
    first = findings.chosen.row.point.stages[0]
    if findings.narrower is not None:
        share = percent(findings.narrower.retention)
        yield f"With fewer than {first.dim} dims in stage 1, the best point retains {share}."
    if findings.not_rescored is not None:
        share = percent(findings.not_rescored.retention)
        yield f"Without rescoring, {findings.not_rescored.point} retains {share}."


def _longer_list(findings: Findings) -> Iterator[str]:
    k = findings.chosen.row.k_for_full_recall
    if k is not None and k > _FULL_K:
        yield f"To match the recall of full precision at k = {_FULL_K}, search with k = {k}."


def _sizes(findings: Findings) -> str:
    sizes = findings.chosen.row.by_size.get(findings.goal.metric, ())
    documents = findings.curve.dataset.get("n_documents")
    larger = f"Corpora of more than {documents:,} documents" if documents else "Larger corpora"
    unmeasured = f"{larger} and other kinds of queries were not measured."
    if not sizes:
        return unmeasured
    counts = " / ".join(f"{size.n_documents:,}" for size in sizes)
    shares = " / ".join(f"{size.retention * 100:.1f}" for size in sizes)
    return f"With {counts} documents, the point retains {shares} %. {unmeasured}"


def _sample(dataset: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a sample of the documents, and documents as queries, mean."""
    sample = sample_of(dataset)
    if sample is not None:
        yield f"Measured on {sample}. {full_corpus_text(dataset)}"
    if found := sampled_queries_text(dataset):
        yield found


def _more_queries(findings: Findings) -> str:
    target = _missed(findings, findings.chosen)
    if findings.queries_needed is None:
        return (
            f"More queries would not help: the estimate is not above the target ({target}). "
            "Lower the target or measure other points."
        )
    n_queries = len(findings.curve.scores.query_ids)
    more = findings.queries_needed - n_queries
    return (
        f"If the estimate is right, about {findings.queries_needed:,} queries (half of them for "
        f"the test) would confirm the target in 4 of 5 cases. The curve has {n_queries:,} queries"
        + (f", {more:,} too few." if more > 0 else ", so the test may have failed by chance.")
    )
