"""What each measured point keeps of the first curve's full width: the base of tables and charts.

Numbers and their wording only; drawing and laying out is for the files that use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint, Interval
from nestvec.errors import InvalidArgument
from nestvec.types import PRECISIONS, Precision

_BASELINE_NAMES = {"bm25": "BM25", "svd": "SVD", "pca": "PCA", "random": "random dims"}


@dataclass(frozen=True)
class Kept:
    """Curves by name, read as shares of what the FIRST one scores at full width in float32.

    A twin that is weaker at full width therefore shows less than 1 there too.

    Attributes:
        curves: The main curve first, then what it is compared with.
        metric: Which metric.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured on one of them, they
            were measured on other queries, or the first one scores 0 at full width.
    """

    curves: Mapping[str, Curve]
    metric: str

    def __post_init__(self) -> None:
        """Check that there is something to take shares of."""
        if not self.curves:
            raise InvalidArgument("no curve given")
        for name, curve in self.curves.items():
            if self.metric not in curve.full.metrics:
                measured = ", ".join(curve.full.metrics)
                raise InvalidArgument(
                    f"metric {self.metric!r} was not measured on {name} (measured: {measured})"
                )
            if not _same_texts(curve, self.curve):
                raise InvalidArgument(
                    f"{name} was measured on other texts than {self.name}: no picture can hold "
                    f"both (evaluate them on one data set and split)"
                )
        if not self.full_score > 0:
            raise InvalidArgument(f"{self.name} scores 0 {self.metric} at full width: no share")

    @cached_property
    def name(self) -> str:
        """The first curve's name."""
        return next(iter(self.curves))

    @cached_property
    def curve(self) -> Curve:
        """The first curve."""
        return self.curves[self.name]

    @property
    def full_score(self) -> float:
        """What stands for 1."""
        return self.curve.full.metrics[self.metric]

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """Widths of the first curve's points of one stage, widest first."""
        singles = (row.point.stages for row in self.curve.points if len(row.point.stages) == 1)
        return tuple(sorted({stages[0].dim for stages in singles}, reverse=True))

    @cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions of the first curve's points of one stage, most bits first."""
        return tuple(name for name in PRECISIONS if self.singles(self.name, name))

    def share(self, row: CurvePoint) -> float:
        """Return a row's score over the first curve's at full width."""
        return row.metrics[self.metric] / self.full_score

    def interval(self, row: CurvePoint) -> Interval | None:
        """Return where a row of the first curve lies with 95 % confidence; None where unknown."""
        return row.interval.get(self.metric)

    def singles(self, name: str, precision: Precision) -> dict[int, CurvePoint]:
        """Return a curve's rows of one stage at a precision by dim, widest first."""
        found = {
            row.point.stages[0].dim: row
            for row in self.curves[name].points
            if len(row.point.stages) == 1 and row.point.stages[0].precision == precision
        }
        return dict(sorted(found.items(), reverse=True))

    def rescored(self) -> tuple[CurvePoint, ...]:
        """Return the first curve's best row of several stages for each size in memory."""
        best: dict[float, CurvePoint] = {}
        for row in self.curve.points:
            if len(row.point.stages) == 1:
                continue
            size = row.cost.ram_bytes_per_vector
            if size not in best or self.share(row) > self.share(best[size]):
                best[size] = row
        return tuple(best[size] for size in sorted(best))

    def baselines(self) -> dict[str, float]:
        """Return the scores of methods without dims on the same queries, by readable name."""
        return {
            baseline_name(name): point.metrics[self.metric]
            for name, points in self.curve.baselines.items()
            for point in points
            if point.dim is None and self.metric in point.metrics
        }

    def baselines_by_dim(self) -> dict[str, dict[int, float]]:
        """Return what other ways to cut the vectors keep, by readable name and dim, widest first.

        They are float32: a vector takes 4 bytes for each dim.
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


def _same_texts(one: Curve, other: Curve) -> bool:
    sizes = [curve.dataset.get("n_documents") for curve in (one, other)]
    return sizes[0] == sizes[1] and np.array_equal(one.scores.query_ids, other.scores.query_ids)


def baseline_name(name: str) -> str:
    """Write the name of another method as the field does.

    >>> baseline_name("bm25"), baseline_name("my own")
    ('BM25', 'my own')
    """
    return _BASELINE_NAMES.get(name, name)
