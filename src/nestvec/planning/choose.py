"""Choose the cheapest operating point of a measured curve that meets the target.

One half of the queries orders the candidates from safest to cheapest. The other half tests the
candidates in this order until one fails (``confirm`` explains the method). The plan is the last
candidate that passed. If no candidate passed, the plan is the safest candidate, not confirmed.
Full precision is not a candidate.

Planning only reads the curve: it runs no model and measures nothing.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.atomic import replace_file
from nestvec.files.versioned import read_versioned
from nestvec.metrics.stats import queries_needed
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.confirm import (
    Candidates,
    Claim,
    TestResult,
    TestSettings,
    run_tests,
    safety,
    sequence,
    slice_claims,
    split,
)
from nestvec.planning.reasons import Alternative, Findings, explain
from nestvec.types import ModelInfo, OperatingPoint, Rows, Scores

PLAN_VERSION = 2


@dataclass(frozen=True)
class Plan:
    """The chosen operating point, whether the test confirmed it, and the reasons.

    Attributes:
        point: The operating point.
        confirmed: True if the point passed the test; otherwise it is the safest candidate.
        goal: The target.
        kept: The ratio of the goal on the test queries.
        at_least: Lower bound of ``kept`` at the confidence of the budget: the threshold of the
            goal if confirmed, otherwise the bound of this point.
        retention: The metric divided by the metric of full float32, on the test queries.
        queries_ordering: Number of queries that ordered the candidates.
        queries_tested: Number of queries that tested the candidates.
        budget: The budget, with its default goal and metric filled in.
        seed: Seed of the split of the queries and of the confidence bound.
        reasons: Short explanations, the most important first.
        row: The row of the point in the curve.
        full: The row of full float32.
        model: The model that was measured.
        dataset: The dataset that was measured.
    """

    point: OperatingPoint
    confirmed: bool
    goal: Goal
    kept: float
    at_least: float
    retention: float
    queries_ordering: int
    queries_tested: int
    budget: Budget
    seed: int
    reasons: tuple[str, ...]
    row: CurvePoint
    full: CurvePoint
    model: ModelInfo
    dataset: Mapping[str, Any]

    @property
    def retention_at_least(self) -> float:
        """The lower bound as a retention; a drop is divided by the score of full float32."""
        if self.goal.kind == "drop":
            return 1 + self.at_least / self.full.metrics[self.goal.metric]
        return self.at_least

    @property
    def verdict(self) -> str:
        """The outcome in capitals."""
        return verdict_of(self.goal, self.confirmed)

    def __str__(self) -> str:
        """Return the point, the verdict and the reasons, wrapped at 80 characters."""
        lines = [
            textwrap.fill(
                reason, 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            )
            for reason in self.reasons
        ]
        return "\n".join([f"{self.point}  {self.verdict}", *lines])

    def save(self, path: Path | str) -> None:
        """Write ``plan.json``."""
        values = {
            "version": PLAN_VERSION,
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
            "point": str(self.point),
            "goal": asdict(self.goal),
            "reasons": list(self.reasons),
            "dataset": dict(self.dataset),
            "budget": asdict(self.budget),
            "row": self.row.to_json(),
            "full": self.full.to_json(),
            "model": self.model.to_json(),
        }
        with replace_file(Path(path)) as temporary:
            temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read ``plan.json``.

        Raises:
            DataError: If the file cannot be read, is not a plan or has an unknown version.
        """
        path = Path(path)
        values = read_versioned(path, kind="plan", version=PLAN_VERSION, remedy="Plan again.")
        try:
            return cls(
                **{name: values[name] for name in _PLAIN_FIELDS},
                point=OperatingPoint.parse(values["point"]),
                reasons=tuple(values["reasons"]),
                dataset=values["dataset"],
                budget=Budget.from_json(values["budget"]),
                goal=Goal(**values["goal"]),
                row=CurvePoint.from_json(values["row"]),
                full=CurvePoint.from_json(values["full"]),
                model=ModelInfo.from_json(values["model"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(path, f"is not a plan of nestvec: {error!r}") from error


def verdict_of(goal: Goal, confirmed: bool) -> str:
    """Return the outcome of a test in capitals.

    Agreement with full precision has its own words, as it does not confirm quality.
    """
    if goal.kind == "overlap":
        return "AGREES" if confirmed else "NOT SHOWN TO AGREE"
    return "CONFIRMED" if confirmed else "NOT CONFIRMED"


_PLAIN_FIELDS = (
    *("confirmed", "kept", "at_least", "retention"),
    *("queries_ordering", "queries_tested", "seed"),
)
DEFAULT_BUDGET = Budget()


def plan(curve: Curve, budget: Budget = DEFAULT_BUDGET, *, seed: int = 0) -> Plan:
    """Choose the cheapest operating point that meets the budget, by a fixed-sequence test.

    Args:
        curve: The measured curve.
        budget: The quality target, its confidence and the cost limits.
        seed: Seed of the split of the queries and of the confidence bound.

    Returns:
        The plan. If no point passed the test, the safest point with ``confirmed`` False.

    Raises:
        InvalidArgument: If the metric was not measured, there are fewer than two queries, full
            float32 scores 0 on a half of the queries, no point within the limits is cheaper than
            full float32, or the budget has a slice target and the curve has no slices.
    """
    test = run_sequence(curve, budget, seed=seed)
    goal, scores, testing = test.goal, test.scores, test.testing
    chosen, cheaper, confirmed = select(test.results, goal.threshold)
    findings = Findings(
        curve=curve,
        goal=goal,
        budget=budget,
        seed=seed,
        chosen=chosen,
        confirmed=confirmed,
        queries_tested=len(testing),
        queries_needed=None
        if confirmed
        else _queries_needed(scores, chosen, testing, goal, budget),
        cheaper=cheaper,
        small_slices=test.small_slices,
        narrower=_narrower(chosen.row, scores, testing),
        not_rescored=_not_rescored(chosen.row, scores, testing),
    )
    return _plan(findings, queries_ordering=len(test.ordering))


@dataclass(frozen=True)
class SequenceTest:
    """The candidates of a plan, and their results in the order in which they are tested.

    Attributes:
        goal: The target.
        scores: The candidates.
        ordering: Numbers of the queries that ordered the candidates.
        testing: Numbers of the queries that tested the candidates.
        order: Positions in ``scores.rows``, in test order.
        results: One result for each position in ``order``.
        small_slices: Names of the slices with too few queries to test.
    """

    goal: Goal
    scores: Candidates
    ordering: Rows
    testing: Rows
    order: Sequence[int]
    results: Sequence[TestResult]
    small_slices: tuple[str, ...]


def run_sequence(curve: Curve, budget: Budget, *, seed: int) -> SequenceTest:
    """Order the candidates on one half of the queries, and test them on the other half.

    Raises:
        InvalidArgument: As in ``plan``.
    """
    goal = budget.goal(curve)
    scores = _candidates(curve, budget, goal.metric)
    ordering, testing = split(scores.full, seed=seed)
    if budget.min_slice_retention is not None and not curve.scores.slices:
        raise InvalidArgument(
            "min_slice_retention requires slices of the queries, and this curve has none. "
            "Evaluate again with slices."
        )
    claims, small = all_claims(goal, budget, curve.scores.slices, scores.full, testing)
    costs = [budget.cost(row) for row in scores.rows]
    order = sequence(costs, safety(scores, claims, ordering))
    results = run_tests(scores, order, claims, TestSettings(testing, budget.confidence, seed))
    return SequenceTest(goal, scores, ordering, testing, order, results, small)


def all_claims(
    goal: Goal,
    budget: Budget,
    slices: Mapping[str, NDArray[np.str_]],
    full: Scores,
    testing: Rows,
) -> tuple[list[Claim], tuple[str, ...]]:
    """Return the claims of a budget, and the names of the slices that are too small to test.

    Args:
        goal: The goal, which is the first claim.
        budget: The budget; without a slice target, there is no other claim.
        slices: By field, the value of each query, [n_queries].
        full: Scores of full float32, [n_queries].
        testing: Numbers of the test queries.
    """
    everything = Claim(goal, np.ones(len(full), dtype=bool))
    share = budget.min_slice_retention
    if share is None:
        return [everything], ()
    answered = testing[full[testing] > 0]
    slice_goal = Goal("retention", goal.metric, share)
    claims, small = slice_claims(slice_goal, slices, answered, confidence=budget.confidence)
    return [everything, *claims], tuple(small)


def _plan(findings: Findings, *, queries_ordering: int) -> Plan:
    chosen, goal = findings.chosen, findings.goal
    return Plan(
        point=chosen.row.point,
        confirmed=findings.confirmed,
        goal=goal,
        kept=chosen.ratio,
        at_least=goal.threshold if findings.confirmed else chosen.at_least,
        retention=chosen.retention,
        queries_ordering=queries_ordering,
        queries_tested=findings.queries_tested,
        budget=findings.budget.resolved(goal),
        seed=findings.seed,
        reasons=explain(findings),
        row=chosen.row,
        full=findings.curve.full,
        model=findings.curve.model,
        dataset=findings.curve.dataset,
    )


def select(
    results: Sequence[TestResult], threshold: float
) -> tuple[TestResult, TestResult | None, bool]:
    """Select a row from test results.

    Args:
        results: The results in test order; at least one.
        threshold: The threshold of the goal.

    Returns:
        The chosen row, the first row that failed, and whether the chosen row passed.
    """
    passed = list(takewhile(lambda row: row.at_least >= threshold and not row.failed, results))
    if not passed:
        return results[0], None, False
    return passed[-1], next(iter(results[len(passed) :]), None), True


def _candidates(curve: Curve, budget: Budget, metric: str) -> Candidates:
    """Return the rows within the limits.

    If full float32 is within the limits too, only rows cheaper than full float32 are returned.
    """
    full_scores, full = curve.per_query(metric, curve.full.point), budget.cost(curve.full)
    measured = (row for row in curve.points if metric in row.metrics)
    others = [row for row in measured if row.point != curve.full.point]
    fits = budget.allows(curve.full)
    cheaper = [row for row in others if budget.cost(row) < full] if fits else others
    allowed = [row for row in cheaper if budget.allows(row)]
    if not cheaper:
        raise InvalidArgument(
            f"no point of the curve needs less {budget.minimized} than full precision. "
            "Measure points with fewer dims or bits."
        )
    if not allowed:
        least = {name: min(getattr(row.cost, name) for row in cheaper) for name in budget.limits}
        limits = ", ".join(
            f"{name} <= {limit:g} (lowest measured: {least[name]:g})"
            for name, limit in budget.limits.items()
        )
        raise InvalidArgument(f"no point is within the limits {limits}. Raise the limits.")
    return Candidates(
        allowed,
        np.stack([curve.per_query(metric, row.point) for row in allowed]),
        full_scores,
    )


def _queries_needed(
    scores: Candidates, chosen: TestResult, testing: Rows, goal: Goal, budget: Budget
) -> int | None:
    """Estimate how many queries would confirm a row, counting both halves."""
    number = list(scores.rows).index(chosen.row)
    differences = goal.differences(scores.cheap[[number]][:, testing], scores.full[testing])[0]
    needed = queries_needed(
        differences, lowest=goal.lowest_difference, confidence=budget.confidence
    )
    return None if needed is None else 2 * needed


def _narrower(chosen: CurvePoint, scores: Candidates, testing: Rows) -> Alternative | None:
    """Return the best row with fewer dims in stage 1 at the same precision."""
    first = chosen.point.stages[0]
    retention = scores.retention(testing).tolist()
    narrower = [
        Alternative(row.point, share)
        for row, share in zip(scores.rows, retention, strict=True)
        if (stage := row.point.stages[0]).precision == first.precision and stage.dim < first.dim
    ]
    return max(narrower, key=lambda each: each.retention, default=None)


def _not_rescored(chosen: CurvePoint, scores: Candidates, testing: Rows) -> Alternative | None:
    """Return the first stage without rescoring, if the point rescores and it was measured."""
    first, *rescoring = chosen.point.stages
    if not rescoring:
        return None
    single = OperatingPoint.single(*first.representation)
    retention = zip(scores.rows, scores.retention(testing).tolist(), strict=True)
    return next(
        (Alternative(single, share) for row, share in retention if row.point == single), None
    )
