"""Scores of several curves relative to the first curve: the data of all tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint, Interval
from nestvec.errors import InvalidArgument
from nestvec.types import PRECISIONS, OperatingPoint, Precision

_BASELINE_NAMES = {"bm25": "BM25", "svd": "SVD", "pca": "PCA", "random": "random dims"}


@dataclass(frozen=True)
class CurveComparison:
    """Curves whose scores are divided by the score of the FIRST curve at full precision.

    A weaker second model has shares below 1 at full precision too.

    Attributes:
        curves: Curves by display name, the main curve first.
        metric: Name of the metric.

    Raises:
        InvalidArgument: If there is no curve, a curve does not have the metric, the curves were
            measured on different queries or documents, or the first curve scores 0 at full
            precision.
    """

    curves: Mapping[str, Curve]
    metric: str

    def __post_init__(self) -> None:
        """Check that the curves can be compared."""
        if not self.curves:
            raise InvalidArgument("no curve given. Pass at least one curve.")
        for name, curve in self.curves.items():
            if self.metric not in curve.full.metrics:
                measured = ", ".join(curve.full.metrics)
                raise InvalidArgument(
                    f"metric={self.metric!r} was not measured on {name}. Choose one of {measured}."
                )
            if not _same_data(curve, self.curve):
                raise InvalidArgument(
                    f"{name} and {self.name} were measured on different queries or documents. "
                    "Evaluate both on the same dataset and split."
                )
        if not self.full_score > 0:
            raise InvalidArgument(
                f"{self.name} scores 0 on {self.metric} at full precision, so retention is "
                "undefined. Check the relevance labels or choose another metric."
            )

    @cached_property
    def name(self) -> str:
        """The name of the first curve."""
        return next(iter(self.curves))

    @cached_property
    def curve(self) -> Curve:
        """The first curve."""
        return self.curves[self.name]

    def rows(self, name: str) -> tuple[CurvePoint, ...]:
        """Return the rows of a curve that have the metric."""
        return tuple(row for row in self.curves[name].points if self.metric in row.metrics)

    @property
    def full_score(self) -> float:
        """The score of the first curve at full precision, which has share 1."""
        return self.curve.full.metrics[self.metric]

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """Dims of the single-stage points of the first curve, the largest first."""
        points = (row.point.stages for row in self.rows(self.name))
        single_stage = (stages for stages in points if len(stages) == 1)
        return tuple(sorted({stages[0].dim for stages in single_stage}, reverse=True))

    @cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions of the single-stage points of the first curve, most bits first."""
        return tuple(name for name in PRECISIONS if self.single_stage(self.name, name))

    def share(self, row: CurvePoint) -> float:
        """Return the score of a row divided by ``full_score``."""
        return row.metrics[self.metric] / self.full_score

    def interval(self, row: CurvePoint) -> Interval | None:
        """Return the 95 % interval of the retention of a row of the first curve, or None."""
        return row.interval.get(self.metric)

    def single_stage(self, name: str, precision: Precision) -> dict[int, CurvePoint]:
        """Return the single-stage rows of a curve at a precision, by dim, the largest first."""
        found = {
            row.point.stages[0].dim: row
            for row in self.rows(name)
            if len(row.point.stages) == 1 and row.point.stages[0].precision == precision
        }
        return dict(sorted(found.items(), reverse=True))

    def rescored(self) -> tuple[CurvePoint, ...]:
        """Return the best rescored row of the first curve for each number of bytes in memory."""
        best: dict[float, CurvePoint] = {}
        for row in self.rows(self.name):
            if len(row.point.stages) == 1:
                continue
            size = row.cost.ram_bytes_per_vector
            if size not in best or self.share(row) > self.share(best[size]):
                best[size] = row
        return tuple(best[size] for size in sorted(best))

    def front(self, chosen: OperatingPoint | None = None) -> list[CurvePoint]:
        """Return the Pareto front of the first curve, full precision and a chosen point.

        The rows are sorted by memory.
        """
        rows = {row.point: row for row in self.curve.pareto_front(self.metric)}
        rows[self.curve.full.point] = self.curve.full
        if chosen is not None:
            rows[chosen] = self.curve[chosen]
        return sorted(rows.values(), key=lambda row: row.cost.ram_bytes_per_vector)

    def baselines(self) -> dict[str, float]:
        """Return the scores of methods without dims on the same queries, by display name."""
        return {
            baseline_name(name): point.metrics[self.metric]
            for name, points in self.curve.baselines.items()
            for point in points
            if point.dim is None and self.metric in point.metrics
        }

    def baselines_by_dim(self) -> dict[str, dict[int, float]]:
        """Return the shares of other methods of dimensionality reduction, by display name and dim.

        These baselines are float32: a vector needs 4 bytes per dim.
        """
        shares = {
            baseline_name(name): {
                point.dim: point.metrics[self.metric] / self.full_score
                for point in sorted(points, key=lambda point: -(point.dim or 0))
                if point.dim is not None and self.metric in point.metrics
            }
            for name, points in self.curve.baselines.items()
        }
        return {name: by_dim for name, by_dim in shares.items() if by_dim}


def _same_data(one: Curve, other: Curve) -> bool:
    sizes = [curve.dataset.get("n_documents") for curve in (one, other)]
    return sizes[0] == sizes[1] and np.array_equal(one.scores.query_ids, other.scores.query_ids)


def baseline_name(name: str) -> str:
    """Return the display name of a baseline.

    >>> baseline_name("bm25"), baseline_name("my own")
    ('BM25', 'my own')
    """
    return _BASELINE_NAMES.get(name, name)
