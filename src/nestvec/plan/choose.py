"""Choose the cheapest operating point of a measured curve that keeps what is asked.

One half of the queries orders the candidates from safest to cheapest; the other half tests them in
that order until one fails (``confirm`` says why). The last one that passed is the plan.

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
from numpy.typing import NDArray

from nestvec.atomic import replace_file
from nestvec.curve import Curve
from nestvec.curve_point import CurvePoint
from nestvec.errors import DataError, InvalidArgument
from nestvec.metrics import parse_metric
from nestvec.plan.confirm import Tested, held_out, margins, sequence, split
from nestvec.plan.reasons import Findings, explain
from nestvec.stats import queries_needed
from nestvec.types import ModelInfo, OperatingPoint, Rows, Scores
from nestvec.versioned import read_versioned

PLAN_VERSION = 1


@dataclass(frozen=True)
class Budget:
    """What a point must keep, and what it may cost.

    Attributes:
        min_retention: Share of the metric of full float32 to keep.
        metric: Which metric.
        confidence: One-sided, of the statement that it is kept.
        max_disk_bytes_per_vector: Limit, or None.
        max_p95_ms: Limit, or None.
    """

    min_retention: float = 0.98
    metric: str = "ndcg@10"
    confidence: float = 0.95
    max_disk_bytes_per_vector: float | None = None
    max_p95_ms: float | None = None

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        parse_metric(self.metric)
        if not 0 < self.min_retention <= 1:
            raise InvalidArgument(f"min_retention {self.min_retention} is outside (0, 1]")
        if not 0.5 <= self.confidence <= 0.999:
            raise InvalidArgument(f"confidence {self.confidence} is outside [0.5, 0.999]")
        for name, limit in self.limits.items():
            if not limit >= 0:
                raise InvalidArgument(f"max_{name} {limit} is not a number >= 0")

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of the cost."""
        limits = {
            "disk_bytes_per_vector": self.max_disk_bytes_per_vector,
            "p95_ms": self.max_p95_ms,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    def allows(self, row: CurvePoint) -> bool:
        """Tell whether a row stays within the limits."""
        return all(getattr(row.cost, name) <= limit for name, limit in self.limits.items())


@dataclass(frozen=True)
class Plan:
    """The point to use, whether that was confirmed, and why it and no other.

    Attributes:
        point: The operating point.
        confirmed: True where the test passed; otherwise the point is the likeliest to.
        retention: What it keeps of full float32 on the tested queries.
        retention_at_least: Lower bound of the same at the budget's confidence.
        queries_ordering: Number of queries that ordered the candidates.
        queries_tested: Number of queries that tested them.
        budget: What was asked.
        seed: Of the split and the bound.
        reasons: One sentence each.
        row: The point's row of the curve.
        full: The row of full float32.
        model: The model's card.
        dataset: What was measured on.
    """

    point: OperatingPoint
    confirmed: bool
    retention: float
    retention_at_least: float
    queries_ordering: int
    queries_tested: int
    budget: Budget
    seed: int
    reasons: tuple[str, ...]
    row: CurvePoint
    full: CurvePoint
    model: ModelInfo
    dataset: Mapping[str, Any]

    def __str__(self) -> str:
        """Write the verdict and the reasons, at most 80 characters wide."""
        verdict = "CONFIRMED" if self.confirmed else "NOT CONFIRMED"
        lines = [
            textwrap.fill(
                reason, 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            )
            for reason in self.reasons
        ]
        return "\n".join([f"{self.point}  {verdict}", *lines])

    def save(self, path: Path | str) -> None:
        """Write ``plan.json``."""
        values = {
            "version": PLAN_VERSION,
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
            "point": str(self.point),
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
                budget=Budget(**values["budget"]),
                row=CurvePoint.from_json(values["row"]),
                full=CurvePoint.from_json(values["full"]),
                model=ModelInfo.from_json(values["model"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(path, f"is not a plan of nestvec: {error!r}") from error


_PLAIN_FIELDS = (
    "confirmed",
    "retention",
    "retention_at_least",
    "queries_ordering",
    "queries_tested",
    "seed",
)
DEFAULT_BUDGET = Budget()


def plan(curve: Curve, budget: Budget = DEFAULT_BUDGET, *, seed: int = 0) -> Plan:
    """Choose the point of least memory that keeps what the budget asks, by a fixed-sequence test.

    Args:
        curve: What was measured.
        budget: What must be kept, at which confidence and within which limits.
        seed: Of the split of the queries and of the bound.

    Returns:
        The plan; where no point passed the test, the one likeliest to, not ``confirmed``.

    Raises:
        InvalidArgument: If the metric was not measured, there are fewer than two queries or none
            that full float32 answers, or no point is cheaper than full within the limits.
    """
    candidates = _candidates(curve, budget)
    cheap, full = _per_query(curve, candidates, budget.metric)
    ordering, testing = split(full, seed=seed)
    safety = margins(cheap[:, ordering], full[ordering], budget.min_retention)
    tested = held_out(
        candidates, cheap[:, testing], full[testing], confidence=budget.confidence, seed=seed
    )
    in_turn = [tested[number] for number in sequence(candidates, safety)]
    chosen, cheaper, confirmed = _walk(in_turn, budget.min_retention)
    found = Findings(
        curve=curve,
        chosen=chosen,
        confirmed=confirmed,
        target=budget.min_retention,
        confidence=budget.confidence,
        queries_tested=len(testing),
        queries_needed=None if confirmed else _queries_needed(curve, chosen, testing, budget),
        cheaper=cheaper,
        narrower=_narrower(chosen.row, tested),
        alone=_alone(chosen.row, tested),
    )
    return _plan(found, budget, seed=seed, queries_ordering=len(ordering))


def _plan(found: Findings, budget: Budget, *, seed: int, queries_ordering: int) -> Plan:
    return Plan(
        point=found.chosen.row.point,
        confirmed=found.confirmed,
        retention=found.chosen.retention,
        retention_at_least=found.chosen.at_least,
        queries_ordering=queries_ordering,
        queries_tested=found.queries_tested,
        budget=budget,
        seed=seed,
        reasons=explain(found),
        row=found.chosen.row,
        full=found.curve.full,
        model=found.curve.model,
        dataset=found.curve.dataset,
    )


def _walk(in_turn: Sequence[Tested], target: float) -> tuple[Tested, Tested | None, bool]:
    """Stop at the first failure: return what is chosen, what failed next, and whether it passed."""
    passed = list(takewhile(lambda result: result.at_least >= target, in_turn))
    if not passed:
        return max(in_turn, key=lambda result: result.at_least), None, False
    return passed[-1], next(iter(in_turn[len(passed) :]), None), True


def _candidates(curve: Curve, budget: Budget) -> list[CurvePoint]:
    full = curve.full.cost.ram_bytes_per_vector
    cheaper = [row for row in curve.points if row.cost.ram_bytes_per_vector < full]
    candidates = [row for row in cheaper if budget.allows(row)]
    if not cheaper:
        raise InvalidArgument(f"no point of the curve takes less memory than full: {full:g} B")
    if not candidates:
        least = {name: min(getattr(row.cost, name) for row in cheaper) for name in budget.limits}
        limits = ", ".join(
            f"{name} <= {limit:g} (least measured: {least[name]:g})"
            for name, limit in budget.limits.items()
        )
        raise InvalidArgument(f"no point is within {limits}")
    return candidates


def _per_query(
    curve: Curve, rows: Sequence[CurvePoint], metric: str
) -> tuple[NDArray[np.float64], Scores]:
    """Return the scores of the rows, [n_rows, n_queries], and of full float32, [n_queries]."""
    full = curve.per_query(metric, curve.full.point)
    return np.stack([curve.per_query(metric, row.point) for row in rows]), full


def _queries_needed(curve: Curve, chosen: Tested, testing: Rows, budget: Budget) -> int | None:
    """Estimate how many queries would confirm a row, with those that only order."""
    (cheap,), full = _per_query(curve, [chosen.row], budget.metric)
    differences = (cheap - budget.min_retention * full)[testing]
    needed = queries_needed(differences, lowest=-budget.min_retention, confidence=budget.confidence)
    return None if needed is None else 2 * needed


def _narrower(chosen: CurvePoint, tested: Sequence[Tested]) -> Tested | None:
    """Find the best row with fewer dims in stage 1 at the same precision."""
    first = chosen.point.stages[0]
    narrower = [
        result
        for result in tested
        if (stage := result.row.point.stages[0]).precision == first.precision
        and stage.dim < first.dim
    ]
    return max(narrower, key=lambda result: result.retention, default=None)


def _alone(chosen: CurvePoint, tested: Sequence[Tested]) -> Tested | None:
    """Find the first stage without those that rescore."""
    first, *others = chosen.point.stages
    alone = OperatingPoint.single(*first.representation)
    return next((result for result in tested if others and result.row.point == alone), None)
