"""What a point keeps on each slice of the queries, and which slices are too small to say.

Each bound is one-sided and of its slice by itself: of many slices, one may well stand below.
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
"""A slice of fewer is not judged."""


@dataclass(frozen=True)
class SliceRow:
    """What is kept of one slice.

    Attributes:
        value: What its queries have in the field.
        n_queries: How many they are.
        retention: Share of what full float32 scores on them.
        at_least: Lower bound of it, with 95 % confidence.
    """

    value: str
    n_queries: int
    retention: float
    at_least: float


@dataclass(frozen=True)
class SlicedField:
    """The slices by one field.

    Attributes:
        field: Its name.
        rows: What is kept, the least first.
        too_small: Slices of too few queries, or that even full width does not answer.
    """

    field: str
    rows: tuple[SliceRow, ...]
    too_small: tuple[str, ...]


def slice_fields(curve: Curve, point: OperatingPoint, metric: str) -> tuple[SlicedField, ...]:
    """Judge a point on each slice of each field that the curve's queries have.

    A metric without a value for each query cannot be sliced: nothing is returned.
    """
    if metric not in curve.scores.metrics:
        return ()
    cheap, full = (curve.per_query(metric, each) for each in (point, curve.full.point))
    return tuple(_field(name, values, cheap, full) for name, values in curve.scores.slices.items())


def _field(name: str, values: NDArray[np.str_], cheap: Scores, full: Scores) -> SlicedField:
    rows = tuple(_rows(values, cheap, full))
    judged = {row.value for row in rows}
    return SlicedField(
        name,
        tuple(sorted(rows, key=lambda row: row.retention)),
        tuple(value for value in map(str, np.unique(values)) if value not in judged),
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
