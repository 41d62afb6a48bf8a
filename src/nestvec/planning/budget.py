"""What a plan must keep, in one form for all goals, and what it may cost.

A goal is a ratio of means that must reach a threshold; what is tested and chosen is for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.errors import InvalidArgument
from nestvec.types import Scores

Minimize = Literal["ram", "latency", "disk"]

DEFAULT_RETENTION = 0.98
DEFAULT_OVERLAP = 0.95  # of curves that know nothing but agreement
_RENAMED = {"minimise": "minimize"}
_LATENCY_STEP = 1.1  # times nearer than this are one step: no measurement tells them apart


@dataclass(frozen=True)
class Goal:
    """A ratio of means over the queries, and the threshold that it must reach.

    | kind | ratio | a query lost wholly | threshold |
    |---|---|---|---|
    | retention | mean(cheap) / mean(full) | 0 / 1 | the share to keep |
    | overlap | mean(cheap) / 1 | 0 / 1 | the share to keep |
    | drop | mean(cheap - full) / 1 | -1 / 1 | minus the drop allowed |

    Attributes:
        kind: Which of them.
        metric: Of which metric.
        threshold: What the ratio must reach.
    """

    kind: Literal["retention", "overlap", "drop"]
    metric: str
    threshold: float

    @property
    def lowest(self) -> float:
        """The lowest value of a numerator; the denominator beside it is 1."""
        return -1.0 if self.kind == "drop" else 0.0

    def ratio(self, cheap: NDArray[np.float64], full: Scores) -> tuple[NDArray[np.float64], Scores]:
        """Return numerators, as ``cheap`` [n_rows, n_queries], and denominators [n_queries]."""
        if self.kind == "retention":
            return cheap, full
        return (cheap - full if self.kind == "drop" else cheap), np.ones_like(full)

    def differences(self, cheap: NDArray[np.float64], full: Scores) -> NDArray[np.float64]:
        """Return numbers whose mean is at or above 0 where the threshold is reached."""
        numerators, denominators = self.ratio(cheap, full)
        return numerators - self.threshold * denominators

    @property
    def lowest_difference(self) -> float:
        """The lowest value that a difference can take: of a query lost wholly."""
        return self.lowest - self.threshold


@dataclass(frozen=True)
class Budget:
    """What a point must keep, and what it may cost.

    At most one of ``min_retention``, ``max_drop`` and ``min_overlap`` may be given; with none, 98 %
    must be retained, or 95 % of the ranking where a curve knows nothing but agreement.

    Attributes:
        min_retention: Share of the metric of full float32 to keep.
        metric: Which metric; None for the curve's first, or its first overlap.
        max_drop: What the metric may lose, in its own unit: 0.01 is from 0.40 to 0.39.
        min_overlap: Share of the results of full float32 to keep, right or wrong.
        min_slice_retention: Share of the metric to keep in each slice of the queries, too.
        max_ram_bytes_per_vector: Limit, or None.
        max_disk_bytes_per_vector: Limit, or None.
        max_p95_ms: Limit, or None.
        confidence: One-sided, of the statement that all this is kept.
        minimize: The cost that decides; ties go to the others.
    """

    min_retention: float | None = None
    metric: str | None = None
    max_drop: float | None = None
    min_overlap: float | None = None
    min_slice_retention: float | None = None
    max_ram_bytes_per_vector: float | None = None
    max_disk_bytes_per_vector: float | None = None
    max_p95_ms: float | None = None
    confidence: float = 0.95
    minimize: Minimize = "ram"

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        goals = [name for name in _GOALS if getattr(self, name) is not None]
        if len(goals) > 1:
            raise InvalidArgument(f"{' and '.join(goals)}: a plan has one goal, give one")
        for name in (*_GOALS, "min_slice_retention"):
            _check_share(name, getattr(self, name))
        if not 0.5 <= self.confidence <= 0.999:
            raise InvalidArgument(f"confidence {self.confidence} is outside [0.5, 0.999]")
        for name, limit in self.limits.items():
            if not limit >= 0:
                raise InvalidArgument(f"max_{name} {limit} is not a number >= 0")
        if self.minimize not in get_args(Minimize):
            known = ", ".join(get_args(Minimize))
            raise InvalidArgument(f"minimize {self.minimize!r} is not one of {known}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Budget:
        """Read the budget of a plan's file, also under the names of earlier versions."""
        return cls(**{_RENAMED.get(name, name): value for name, value in values.items()})

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of the cost."""
        limits = {name: getattr(self, f"max_{name}") for name in _LIMITED}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def minimized(self) -> str:
        """What decides, in words."""
        return {"ram": "memory", "latency": "time", "disk": "disk"}[self.minimize]

    def allows(self, row: CurvePoint) -> bool:
        """Tell whether a row stays within the limits."""
        return all(getattr(row.cost, name) <= limit for name, limit in self.limits.items())

    def cost(self, row: CurvePoint) -> tuple[float, float, float]:
        """Return what rows are compared by: what is minimized in steps, then the ties."""
        cost = row.cost
        ram, disk = cost.ram_bytes_per_vector, cost.disk_bytes_per_vector
        if self.minimize == "ram":
            return ram, disk, cost.p95_ms
        if self.minimize == "disk":
            return disk, ram, cost.p95_ms
        step = np.floor(np.log(max(cost.p95_ms, 1e-6)) / np.log(_LATENCY_STEP))
        return float(step), ram, disk

    def goal(self, curve: Curve) -> Goal:
        """Return the goal of this budget on a curve.

        Raises:
            InvalidArgument: If the curve measured nothing that the goal speaks of.
        """
        judged = curve.evidence != "agreement"
        if not judged and (self.min_retention or self.max_drop):
            raise InvalidArgument(
                "this curve measured agreement with full precision, not quality: give min_overlap"
            )
        if self.min_overlap is not None or not judged:
            return self._overlap(curve)
        metric = self.metric or curve.main_metric
        if self.max_drop is not None:
            return Goal("drop", metric, -self.max_drop)
        kept = DEFAULT_RETENTION if self.min_retention is None else self.min_retention
        return Goal("retention", metric, kept)

    def resolved(self, goal: Goal) -> Budget:
        """Return the budget with what it left open, as it was taken: the goal and its metric."""
        budget = replace(self, metric=goal.metric)
        if goal.kind == "retention":
            return replace(budget, min_retention=goal.threshold)
        return replace(budget, min_overlap=goal.threshold) if goal.kind == "overlap" else budget

    def _overlap(self, curve: Curve) -> Goal:
        agreement = [name for name in curve.scores.metrics if name.startswith(_AGREEMENT)]
        metric = self.metric or next(iter(agreement), None)
        if metric not in agreement:
            asked = "min_overlap" if metric is None else f"min_overlap of {metric}"
            known = ", ".join(agreement) or "none: evaluate again with overlap@10"
            raise InvalidArgument(f"{asked}: agreement is measured by {known}")
        share = DEFAULT_OVERLAP if self.min_overlap is None else self.min_overlap
        return Goal("overlap", metric, share)


def _check_share(name: str, share: float | None) -> None:
    if share is not None and not 0 < share <= 1:
        raise InvalidArgument(f"{name} {share} is outside (0, 1]")
    if name == "min_slice_retention" and share == 1:
        raise InvalidArgument(f"{name} {share}: no number of queries shows that nothing is lost")


_GOALS = ("min_retention", "max_drop", "min_overlap")
_LIMITED = ("ram_bytes_per_vector", "disk_bytes_per_vector", "p95_ms")
_AGREEMENT = ("overlap@", "rbo@")
