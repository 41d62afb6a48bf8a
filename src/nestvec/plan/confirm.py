"""Order the candidates on one part of the queries, test them on the other.

A choice by estimate sits on the boundary and rarely holds on other queries. A sequence that is
fixed before the test holds: each candidate is tested at the full level, from the safest to the
cheapest, until one fails. To say what is false, the first bad one of the sequence must pass, so the
chance of it stays within 1 - confidence, whatever the number of candidates.

What a candidate may cost, and what is made of the outcome, is for ``plan`` to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from nestvec.curve_point import CurvePoint
from nestvec.errors import InvalidArgument
from nestvec.stats import retention_lower_bounds
from nestvec.types import Rows, Scores

# A candidate this many standard errors above the target on one half of the queries passes at 95 %
# on the other half nine times in ten: 1.64 + 1.28 * sqrt(2).
_SAFE = 3.5


@dataclass(frozen=True)
class Tested:
    """What a row keeps on the queries that were not used to choose.

    Attributes:
        row: The row.
        retention: Its mean score over that of full float32.
        at_least: Lower confidence bound of the same.
    """

    row: CurvePoint
    retention: float
    at_least: float


def split(full: Scores, *, seed: int) -> tuple[Rows, Rows]:
    """Split the queries at random into those that order and those that test.

    Args:
        full: Scores of full float32, [n_queries].
        seed: Of the split.

    Raises:
        InvalidArgument: If a half would have no query that full float32 answers.
    """
    if len(full) < 2:
        raise InvalidArgument(f"{len(full)} queries: a plan needs some to choose, some to test")
    shuffled = np.random.default_rng(seed).permutation(len(full)).astype(np.int64)
    parts = shuffled[: len(full) // 2], shuffled[len(full) // 2 :]
    if not all(full[part].any() for part in parts):
        raise InvalidArgument(
            "full float32 scores 0 on half of the queries or more: nothing to keep"
        )
    return parts


def margins(cheap: NDArray[np.float64], full: Scores, target: float) -> Scores:
    """Count the standard errors by which each row seems to lie above the target, [n_rows].

    One lost query is added, as in the bound: rows that lost none by luck are not all the same.
    """
    differences = np.column_stack([cheap - target * full, np.full(len(cheap), -target)])
    errors = differences.std(axis=1) / math.sqrt(differences.shape[1])
    margins: Scores = differences.mean(axis=1) / np.maximum(errors, 1e-12)
    return margins


def sequence(rows: Sequence[CurvePoint], safety: Scores) -> list[int]:
    """Choose and order the rows to test: from the safest to the cheapest in memory.

    One row for each size in memory, as near-equal steps would each have to pass. Of these, the
    ones that no cheaper and safer row makes needless; one that seems just as safe does not, as it
    may be so by luck, and failing it would end the sequence.

    Args:
        rows: The candidates.
        safety: The ``margins`` of each on the queries that order, [n_rows].

    Returns:
        Positions in ``rows``.
    """
    cost = [_cost(row) for row in rows]
    by_cost = sorted(range(len(rows)), key=cost.__getitem__)
    front: list[int] = []
    for _, group in groupby(by_cost, key=lambda number: cost[number][0]):
        same_memory = list(group)
        safest = max(same_memory, key=safety.__getitem__)
        chosen = next((number for number in same_memory if safety[number] >= _SAFE), safest)
        if not front or safety[chosen] >= safety[front[-1]]:
            front.append(chosen)
    return front[::-1]


def held_out(
    rows: Sequence[CurvePoint],
    cheap: NDArray[np.float64],
    full: Scores,
    *,
    confidence: float,
    seed: int,
) -> list[Tested]:
    """Say of each row what it keeps on the queries of the test.

    Args:
        rows: The rows.
        cheap: Their scores on those queries, [n_rows, n_queries].
        full: Scores of full float32 on the same, [n_queries].
        confidence: One-sided, of each bound by itself.
        seed: Of the bounds.
    """
    bounds = retention_lower_bounds(cheap, full, confidence=confidence, seed=seed)
    retentions = cheap.mean(axis=1) / full.mean()
    values = zip(rows, retentions.tolist(), bounds.tolist(), strict=True)
    return [Tested(row, retention, at_least) for row, retention, at_least in values]


def _cost(row: CurvePoint) -> tuple[float, float, float]:
    cost = row.cost
    return cost.ram_bytes_per_vector, cost.disk_bytes_per_vector, cost.p95_ms
