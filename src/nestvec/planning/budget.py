"""The quality target of a plan, in one form for all goals, and its cost limits.

Every goal is a ratio of means that must reach a threshold.
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
from nestvec.metrics.relevance import is_agreement
from nestvec.types import Scores

Minimize = Literal["ram", "latency", "disk"]

DEFAULT_RETENTION = 0.98
DEFAULT_OVERLAP = 0.95  # for curves without relevance labels
_RENAMED = {"minimise": "minimize"}
_LATENCY_STEP = 1.1  # measurements cannot distinguish times that differ by less than this factor


@dataclass(frozen=True)
class Goal:
    """A ratio of means over the queries, and the threshold that the ratio must reach.

    ``cheap`` is the score of a query at a candidate, ``full`` at full float32. The third column is
    the worst case: full float32 scores 1 on a query, and the candidate scores 0.

    | kind | ratio | worst query | threshold |
    |---|---|---|---|
    | retention | mean(cheap) / mean(full) | 0 / 1 | minimum retention |
    | overlap | mean(cheap) / 1 | 0 / 1 | minimum overlap |
    | drop | mean(cheap - full) / 1 | -1 / 1 | minus the maximum drop |

    Attributes:
        kind: Row of the table.
        metric: Name of the metric, for example ``"ndcg@10"``.
        threshold: Minimum of the ratio.
    """

    kind: Literal["retention", "overlap", "drop"]
    metric: str
    threshold: float

    @property
    def lowest(self) -> float:
        """The lowest numerator of a query, with a denominator of 1."""
        return -1.0 if self.kind == "drop" else 0.0

    def ratio(self, cheap: NDArray[np.float64], full: Scores) -> tuple[NDArray[np.float64], Scores]:
        """Return the numerators [n_rows, n_queries] and the denominators [n_queries]."""
        if self.kind == "retention":
            return cheap, full
        return (cheap - full if self.kind == "drop" else cheap), np.ones_like(full)

    def differences(self, cheap: NDArray[np.float64], full: Scores) -> NDArray[np.float64]:
        """Return values [n_rows, n_queries] whose mean is >= 0 if the threshold is reached."""
        numerators, denominators = self.ratio(cheap, full)
        return numerators - self.threshold * denominators

    @property
    def lowest_difference(self) -> float:
        """The lowest possible difference, that of the worst query."""
        return self.lowest - self.threshold


@dataclass(frozen=True)
class Budget:
    """The quality target of a plan, and its cost limits.

    Set at most one of ``min_retention``, ``max_drop`` and ``min_overlap``. The default is a
    retention of 98 %, or an overlap of 95 % if the curve was measured without relevance labels.

    Attributes:
        min_retention: Minimum retention: the metric divided by the metric of full float32.
        metric: Metric of the target; None for the first metric of the curve, or for its first
            agreement metric.
        max_drop: Maximum absolute loss of the metric: 0.01 allows a drop from 0.40 to 0.39.
        min_overlap: Minimum share of the results of full float32 that the point also returns,
            whether these results are relevant or not.
        min_slice_retention: Minimum retention in each slice of the queries, an additional target.
        max_ram_bytes_per_vector: Maximum bytes of memory per vector, or None.
        max_disk_bytes_per_vector: Maximum bytes on disk per vector, or None.
        max_p95_ms: Maximum 95th percentile of the search time in milliseconds, or None.
        confidence: One-sided confidence with which the targets must be confirmed.
        minimize: The cost to minimize; the other costs break ties.
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
        """Check each value against its limits."""
        goals = [name for name in _GOALS if getattr(self, name) is not None]
        if len(goals) > 1:
            raise InvalidArgument(
                f"{' and '.join(goals)} cannot be combined. Pass only one of them."
            )
        for name in (*_GOALS, "min_slice_retention"):
            _check_share(name, getattr(self, name))
        if not 0.5 <= self.confidence <= 0.999:
            raise InvalidArgument(
                f"confidence={self.confidence} is out of range. Choose a value from 0.5 to 0.999."
            )
        for name, limit in self.limits.items():
            if not limit >= 0:
                raise InvalidArgument(f"max_{name}={limit} is invalid. Pass a number >= 0.")
        if self.minimize not in get_args(Minimize):
            known = ", ".join(get_args(Minimize))
            raise InvalidArgument(f"minimize={self.minimize!r} is unknown. Choose one of {known}.")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Budget:
        """Read the budget of a plan file; names of earlier versions are accepted."""
        return cls(**{_RENAMED.get(name, name): value for name, value in values.items()})

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by cost name."""
        limits = {name: getattr(self, f"max_{name}") for name in _LIMITED}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def minimized(self) -> str:
        """The cost to minimize, in words."""
        return {"ram": "memory", "latency": "time", "disk": "disk space"}[self.minimize]

    def allows(self, row: CurvePoint) -> bool:
        """Return whether a row is within all limits."""
        return all(getattr(row.cost, name) <= limit for name, limit in self.limits.items())

    def cost(self, row: CurvePoint) -> tuple[float, float, float]:
        """Return the sort key of a row: the cost to minimize, then the costs that break ties."""
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
            InvalidArgument: If the curve does not have the metric that the goal requires.
        """
        own = self.metric in curve.scores.metrics and not is_agreement(self.metric or "")
        labeled = curve.evidence != "agreement" or own
        if not labeled and (self.min_retention or self.max_drop):
            raise InvalidArgument(
                "this curve was measured without relevance labels, so it has agreement with full "
                "precision but no quality. Use min_overlap."
            )
        if self.min_overlap is not None or not labeled:
            return self._overlap(curve)
        metric = self.metric or curve.main_metric
        if self.max_drop is not None:
            return Goal("drop", metric, -self.max_drop)
        share = DEFAULT_RETENTION if self.min_retention is None else self.min_retention
        return Goal("retention", metric, share)

    def resolved(self, goal: Goal) -> Budget:
        """Return the budget with its defaults filled in: the goal and its metric."""
        budget = replace(self, metric=goal.metric)
        if goal.kind == "retention":
            return replace(budget, min_retention=goal.threshold)
        return replace(budget, min_overlap=goal.threshold) if goal.kind == "overlap" else budget

    @property
    def resolved_goal(self) -> Goal:
        """The goal of a budget that ``resolved`` returned.

        Raises:
            InvalidArgument: If the budget has no metric or no goal.
        """
        if self.metric is not None and self.max_drop is not None:
            return Goal("drop", self.metric, -self.max_drop)
        if self.metric is not None and self.min_overlap is not None:
            return Goal("overlap", self.metric, self.min_overlap)
        if self.metric is not None and self.min_retention is not None:
            return Goal("retention", self.metric, self.min_retention)
        raise InvalidArgument("the budget has no metric or no goal. Use the budget of a plan.")

    def _overlap(self, curve: Curve) -> Goal:
        agreement = [name for name in curve.scores.metrics if is_agreement(name)]
        if not agreement:
            raise InvalidArgument(
                "this curve has no agreement metric. Evaluate again with overlap@10."
            )
        metric = self.metric or agreement[0]
        if metric not in agreement:
            known = ", ".join(agreement)
            raise InvalidArgument(
                f"metric={metric!r} does not measure agreement. Choose one of {known}."
            )
        share = DEFAULT_OVERLAP if self.min_overlap is None else self.min_overlap
        return Goal("overlap", metric, share)


def _check_share(name: str, share: float | None) -> None:
    if share is not None and not 0 < share <= 1:
        raise InvalidArgument(f"{name}={share} is out of range. Choose a value above 0, at most 1.")
    if name == "min_slice_retention" and share == 1:
        raise InvalidArgument(
            f"{name}={share} cannot be confirmed with any number of queries. "
            "Choose a value below 1."
        )


_GOALS = ("min_retention", "max_drop", "min_overlap")
_LIMITED = ("ram_bytes_per_vector", "disk_bytes_per_vector", "p95_ms")
