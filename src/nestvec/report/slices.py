"""Retention of a point on each slice of the queries.

Each lower bound is one-sided and for its slice alone. With many slices, some bounds may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.metrics.stats import ratio_lower_bounds
from nestvec.types import OperatingPoint, Scores

LEAST_QUERIES = 30
"""Minimum number of queries of an evaluated slice."""


@dataclass(frozen=True)
class SliceRow:
    """Retention on one slice.

    Attributes:
        value: Value of the field.
        n_queries: Number of queries with this value.
        retention: Mean score divided by that of full precision.
        at_least: Lower bound of ``retention`` with 95 % confidence.
    """

    value: str
    n_queries: int
    retention: float
    at_least: float


@dataclass(frozen=True)
class SlicedField:
    """The slices by one field.

    Attributes:
        field: Name of the field.
        rows: Evaluated slices, the lowest retention first.
        not_evaluated: Slices with too few queries, or on which full precision scores 0.
    """

    field: str
    rows: tuple[SliceRow, ...]
    not_evaluated: tuple[str, ...]


def slice_fields(curve: Curve, point: OperatingPoint, metric: str) -> tuple[SlicedField, ...]:
    """Evaluate a point on each slice of each field of the queries.

    Returns:
        One entry for each field; empty if the metric has no value for each query.
    """
    if metric not in curve.scores.metrics:
        return ()
    cheap, full = (curve.per_query(metric, each) for each in (point, curve.full.point))
    return tuple(_field(name, values, cheap, full) for name, values in curve.scores.slices.items())


def _field(name: str, values: NDArray[np.str_], cheap: Scores, full: Scores) -> SlicedField:
    rows = tuple(_rows(values, cheap, full))
    evaluated = {row.value for row in rows}
    return SlicedField(
        name,
        tuple(sorted(rows, key=lambda row: row.retention)),
        tuple(value for value in map(str, np.unique(values)) if value not in evaluated),
    )


def _rows(values: NDArray[np.str_], cheap: Scores, full: Scores) -> Iterator[SliceRow]:
    for value in np.unique(values):
        inside = values == value
        count = int(np.count_nonzero(inside))
        if count < LEAST_QUERIES or not full[inside].any():
            continue
        bound = ratio_lower_bounds(cheap[None, inside], full[inside])
        retention = float(cheap[inside].mean() / full[inside].mean())
        yield SliceRow(str(value), count, retention, float(bound[0]))
