"""Choose the cheapest operating point of a measured curve that keeps what is asked.

One half of the queries orders the candidates from safest to cheapest; the other half tests them in
that order until one fails (``confirm`` says why). The last one that passed is the plan; where none
did, the safest is named and not confirmed. Full precision is never chosen in silence.

Reads a curve only: runs no model and measures nothing.
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
    Test,
    Tested,
    held_out,
    safety,
    sequence,
    slice_claims,
    split,
)
from nestvec.planning.reasons import Alternative, Findings, explain
from nestvec.types import ModelInfo, OperatingPoint, Rows

PLAN_VERSION = 2


@dataclass(frozen=True)
class Plan:
    """The point to use, whether that was confirmed, and why it and no other.

    Attributes:
        point: The operating point.
        confirmed: True where the test passed; otherwise the point is the safest.
        goal: What had to be reached.
        kept: The ratio of the goal on the tested queries.
        at_least: What is proven of it at the budget's confidence: the goal's threshold, where
            confirmed.
        retention: What the point keeps of the metric of full float32 on the same queries.
        queries_ordering: Number of queries that ordered the candidates.
        queries_tested: Number of queries that tested them.
        budget: What was asked, with the goal and the metric that were taken.
        seed: Of the split and the bound.
        reasons: One sentence each.
        row: The point's row of the curve.
        full: The row of full float32.
        model: The model's card.
        dataset: What was measured on.
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
        """What is proven of the retention; of a drop, by what full float32 scored."""
        if self.goal.kind == "drop":
            return 1 + self.at_least / self.full.metrics[self.goal.metric]
        return self.at_least

    @property
    def verdict(self) -> str:
        """The outcome in capitals; agreement with full precision is never called confirmed."""
        if self.goal.kind == "overlap":
            return "AGREES" if self.confirmed else "NOT SHOWN TO AGREE"
        return "CONFIRMED" if self.confirmed else "NOT CONFIRMED"

    def __str__(self) -> str:
        """Write the verdict and the reasons, at most 80 characters wide."""
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
        """Read a plan.

        Raises:
            DataError: If the file cannot be read, is not a plan or has another version.
        """
        path = Path(path)
        values = read_versioned(path, kind="plan", version=PLAN_VERSION, remedy="plan again")
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


_PLAIN_FIELDS = (
    *("confirmed", "kept", "at_least", "retention"),
    *("queries_ordering", "queries_tested", "seed"),
)
DEFAULT_BUDGET = Budget()


def plan(curve: Curve, budget: Budget = DEFAULT_BUDGET, *, seed: int = 0) -> Plan:
    """Choose the cheapest point that keeps what the budget asks, by a fixed-sequence test.

    Args:
        curve: What was measured.
        budget: What must be kept, at which confidence and within which limits.
        seed: Of the split of the queries and of the bound.

    Returns:
        The plan; where no point passed the test, the safest one, not ``confirmed``.

    Raises:
        InvalidArgument: If the metric was not measured, there are fewer than two queries or none
            that full float32 answers, no point is cheaper than full within the limits, or slices
            are asked for that the curve does not have.
    """
    goal = budget.goal(curve)
    scores = _candidates(curve, budget, goal.metric)
    ordering, testing = split(scores.full, seed=seed)
    slices, small = _slices(curve, budget, goal, testing[scores.full[testing] > 0])
    claims = [Claim(goal, np.ones(len(scores.full), dtype=bool)), *slices]
    costs = [budget.cost(row) for row in scores.rows]
    in_turn = sequence(costs, safety(scores, claims, ordering))
    tested = held_out(scores, in_turn, claims, Test(testing, budget.confidence, seed))
    chosen, cheaper, confirmed = _walk(tested, goal.threshold)
    found = Findings(
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
        small_slices=tuple(small),
        narrower=_narrower(chosen.row, scores, testing),
        alone=_alone(chosen.row, scores, testing),
    )
    return _plan(found, queries_ordering=len(ordering))


def _plan(found: Findings, *, queries_ordering: int) -> Plan:
    chosen, goal = found.chosen, found.goal
    return Plan(
        point=chosen.row.point,
        confirmed=found.confirmed,
        goal=goal,
        kept=chosen.kept,
        at_least=goal.threshold if found.confirmed else chosen.at_least,
        retention=chosen.retention,
        queries_ordering=queries_ordering,
        queries_tested=found.queries_tested,
        budget=found.budget.resolved(goal),
        seed=found.seed,
        reasons=explain(found),
        row=chosen.row,
        full=found.curve.full,
        model=found.curve.model,
        dataset=found.curve.dataset,
    )


def _walk(tested: Sequence[Tested], threshold: float) -> tuple[Tested, Tested | None, bool]:
    """Stop at the first failure: return what is chosen, what failed next, and whether it passed."""
    passed = list(takewhile(lambda row: row.at_least >= threshold and not row.lost, tested))
    if not passed:
        return tested[0], None, False
    return passed[-1], next(iter(tested[len(passed) :]), None), True


def _candidates(curve: Curve, budget: Budget, metric: str) -> Candidates:
    """Return the rows within the limits; where full float32 is, those cheaper than it."""
    full = budget.cost(curve.full)
    others = [row for row in curve.points if row.point != curve.full.point]
    fits = budget.allows(curve.full)
    cheaper = [row for row in others if budget.cost(row) < full] if fits else others
    allowed = [row for row in cheaper if budget.allows(row)]
    if not cheaper:
        raise InvalidArgument(f"no point of the curve takes less {budget.minimized} than full")
    if not allowed:
        least = {name: min(getattr(row.cost, name) for row in cheaper) for name in budget.limits}
        limits = ", ".join(
            f"{name} <= {limit:g} (least measured: {least[name]:g})"
            for name, limit in budget.limits.items()
        )
        raise InvalidArgument(f"no point is within {limits}")
    return Candidates(
        allowed,
        np.stack([curve.per_query(metric, row.point) for row in allowed]),
        curve.per_query(metric, curve.full.point),
    )


def _slices(
    curve: Curve, budget: Budget, goal: Goal, answered: Rows
) -> tuple[list[Claim], list[str]]:
    share = budget.min_slice_retention
    if share is None:
        return [], []
    if not curve.scores.slices:
        raise InvalidArgument("min_slice_retention: the curve has no slices, evaluate with some")
    asked = Goal("retention", goal.metric, share)
    return slice_claims(asked, curve.scores.slices, answered, confidence=budget.confidence)


def _queries_needed(
    scores: Candidates, chosen: Tested, testing: Rows, goal: Goal, budget: Budget
) -> int | None:
    """Estimate how many queries would confirm a row, with those that only order."""
    number = list(scores.rows).index(chosen.row)
    differences = goal.differences(scores.cheap[[number]][:, testing], scores.full[testing])[0]
    needed = queries_needed(
        differences, lowest=goal.lowest_difference, confidence=budget.confidence
    )
    return None if needed is None else 2 * needed


def _narrower(chosen: CurvePoint, scores: Candidates, testing: Rows) -> Alternative | None:
    """Find the best row with fewer dims in stage 1 at the same precision."""
    first = chosen.point.stages[0]
    kept = scores.retention(testing).tolist()
    narrower = [
        Alternative(row.point, share)
        for row, share in zip(scores.rows, kept, strict=True)
        if (stage := row.point.stages[0]).precision == first.precision and stage.dim < first.dim
    ]
    return max(narrower, key=lambda each: each.retention, default=None)


def _alone(chosen: CurvePoint, scores: Candidates, testing: Rows) -> Alternative | None:
    """Find the first stage without those that rescore."""
    first, *others = chosen.point.stages
    alone = OperatingPoint.single(*first.representation)
    kept = zip(scores.rows, scores.retention(testing).tolist(), strict=True)
    return next(
        (Alternative(alone, share) for row, share in kept if others and row.point == alone), None
    )
