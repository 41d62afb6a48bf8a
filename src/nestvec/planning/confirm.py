"""Order the candidates on one half of the queries, and test them on the other half.

The cheapest candidate whose estimate reaches the threshold is often at the threshold only by
chance, and then fails on other queries. A fixed-sequence test avoids this selection bias. The
order of the candidates is fixed before the test, from the safest to the cheapest. Each candidate
is tested at the full confidence level, until one fails. A false confirmation requires that the
first candidate below the threshold passes. The probability of this is at most 1 - confidence,
whatever the number of candidates.

A candidate passes if every claim passes: the goal on all queries and, if the budget has a slice
target, one claim for each slice. Each claim may be tested at the full level, because all of them
must pass (an intersection-union test: Berger 1982, Technometrics 24:295).

For a candidate that passed, the threshold is the only valid lower bound. Its own bound is biased
upward, because the candidate was selected as the last one that passed. The bound of the first
candidate that failed is valid (Hsu and Berger 1999, JASA 94:468).

``plan`` determines the costs of the candidates and uses the test results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import CurvePoint
from nestvec.errors import InvalidArgument
from nestvec.metrics.stats import ratio_lower_bounds
from nestvec.planning.budget import Goal
from nestvec.types import Rows, Scores

# A candidate this many standard errors above the target on one half of the queries passes at 95 %
# on the other half in 90 % of cases: 1.64 + 1.28 * sqrt(2).
_SAFE = 3.5


@dataclass(frozen=True)
class Claim:
    """A goal that a candidate must reach on all queries or on a slice.

    Attributes:
        goal: The goal.
        queries: Mask of the queries that count, bool [n_queries].
        name: Name of the slice as ``field=value``; empty for the claim about all queries.
    """

    goal: Goal
    queries: NDArray[np.bool_]
    name: str = ""

    def on(self, part: Rows) -> Rows:
        """Return the queries of ``part`` that count."""
        return part[self.queries[part]]


@dataclass(frozen=True)
class Candidates:
    """The rows of the curve that may be chosen, with their scores per query.

    Attributes:
        rows: The rows.
        cheap: Scores of each row, [n_rows, n_queries].
        full: Scores of full float32, [n_queries].
    """

    rows: Sequence[CurvePoint]
    cheap: NDArray[np.float64]
    full: Scores

    def retention(self, queries: Rows) -> Scores:
        """Return the mean score of each row divided by that of full float32, [n_rows]."""
        shares: Scores = self.cheap[:, queries].mean(axis=1) / self.full[queries].mean()
        return shares


class TestSettings(NamedTuple):
    """The test queries, the confidence of each bound, and the seed of the bounds."""

    queries: Rows
    confidence: float
    seed: int


@dataclass(frozen=True)
class TestResult:
    """The scores of a row on the test queries.

    Attributes:
        row: The row.
        retention: Mean score divided by that of full float32.
        ratio: The ratio of the goal.
        at_least: Lower confidence bound of ``ratio``, for this row alone.
        slices: Retention in each tested slice, by name.
        failed: Names of the slices whose target is not confirmed.
    """

    row: CurvePoint
    retention: float
    ratio: float
    at_least: float
    slices: Mapping[str, float]
    failed: tuple[str, ...]


def split(full: Scores, *, seed: int) -> tuple[Rows, Rows]:
    """Split the queries at random: one half orders the candidates, the other half tests them.

    Args:
        full: Scores of full float32, [n_queries].
        seed: Seed of the split.

    Returns:
        The query numbers of the ordering half and of the test half.

    Raises:
        InvalidArgument: If there are fewer than two queries, or full float32 scores 0 on every
            query of a half.
    """
    if len(full) < 2:
        raise InvalidArgument(
            f"n_queries={len(full)} is too few. A plan needs 2 queries or more: one half orders "
            "the candidates, the other half tests them."
        )
    shuffled = np.random.default_rng(seed).permutation(len(full)).astype(np.int64)
    parts = shuffled[: len(full) // 2], shuffled[len(full) // 2 :]
    if not all(full[part].any() for part in parts):
        raise InvalidArgument(
            "full precision scores 0 on every query of one half, so retention is undefined. "
            "Check the relevance labels or add queries."
        )
    return parts


def slice_claims(
    goal: Goal, slices: Mapping[str, NDArray[np.str_]], answered: Rows, *, confidence: float
) -> tuple[list[Claim], list[str]]:
    """Make a claim for each slice that has enough queries.

    A slice is too small if no point could be confirmed on it, even with a perfect score on every
    query. With n such queries, the lower bound is (1 - confidence) ** (1 / n).

    Args:
        goal: The goal in each slice.
        slices: By field, the value of each query, [n_queries].
        answered: The test queries on which full float32 scores above 0.
        confidence: Confidence of the test.

    Returns:
        The claims, and the names of the slices that are too small.
    """
    fewest = math.log(1 - confidence) / math.log(goal.threshold)
    claims: list[Claim] = []
    small: list[str] = []
    for field, values in slices.items():
        for value in np.unique(values).tolist():
            claim = Claim(goal, values == value, f"{field}={value}")
            if len(claim.on(answered)) >= fewest:
                claims.append(claim)
            else:
                small.append(claim.name)
    return claims, small


def margins(cheap: NDArray[np.float64], full: Scores, goal: Goal) -> Scores:
    """Return by how many standard errors each row is above the threshold, [n_rows].

    One worst query is added to each row, as in the confidence bound. Otherwise rows without any
    loss in a small sample would have a standard error of 0.
    """
    worst = np.full((len(cheap), 1), goal.lowest_difference)
    differences = np.hstack([goal.differences(cheap, full), worst])
    errors = differences.std(axis=1) / math.sqrt(differences.shape[1])
    margins: Scores = differences.mean(axis=1) / np.maximum(errors, 1e-12)
    return margins


def safety(scores: Candidates, claims: Sequence[Claim], ordering: Rows) -> Scores:
    """Return the smallest of the ``margins`` over all claims on the ordering half, [n_rows]."""
    parts = [(claim.goal, part) for claim in claims if len(part := claim.on(ordering))]
    each = [margins(scores.cheap[:, part], scores.full[part], goal) for goal, part in parts]
    least: Scores = np.min(each, axis=0)
    return least


def sequence(costs: Sequence[tuple[float, ...]], safety: Scores) -> list[int]:
    """Select the rows to test and order them from the safest to the cheapest.

    Rows of equal first cost form a step, and one row of each step is tested. A step is left out
    if a cheaper row is safer. A cheaper row that is exactly as safe does not replace the step: its
    safety may be due to chance, and a failure would end the test.

    Args:
        costs: Sort key of each candidate, the cost to minimize first.
        safety: The ``safety`` of each candidate, [n_rows].

    Returns:
        Positions in ``costs``, in test order.
    """
    by_cost = sorted(range(len(costs)), key=costs.__getitem__)
    front: list[int] = []
    for _, group in groupby(by_cost, key=lambda number: costs[number][0]):
        same_step = list(group)
        safest = max(same_step, key=safety.__getitem__)
        chosen = next((number for number in same_step if safety[number] >= _SAFE), safest)
        if not front or safety[chosen] >= safety[front[-1]]:
            front.append(chosen)
    return front[::-1]


def run_tests(
    scores: Candidates, order: Sequence[int], claims: Sequence[Claim], settings: TestSettings
) -> list[TestResult]:
    """Score rows on the test queries.

    Args:
        scores: All candidates.
        order: Positions of the rows to test, in test order.
        claims: The claim about all queries, then the claims about slices.
        settings: The test queries, the confidence of each bound, and the seed.

    Returns:
        One result for each position in ``order``.
    """
    rows = list(order)
    ratios, bounds = zip(*(_bounds(scores, rows, claim, settings) for claim in claims), strict=True)
    retention = scores.retention(settings.queries)[rows].tolist()
    return [
        TestResult(
            row=scores.rows[number],
            retention=retention[i],
            ratio=float(ratios[0][i]),
            at_least=float(bounds[0][i]),
            slices={claim.name: float(each[i]) for claim, each in _of_slices(claims, ratios)},
            failed=tuple(
                claim.name
                for claim, each in _of_slices(claims, bounds)
                if each[i] < claim.goal.threshold
            ),
        )
        for i, number in enumerate(rows)
    ]


def _bounds(
    scores: Candidates, rows: list[int], claim: Claim, settings: TestSettings
) -> tuple[Scores, Scores]:
    """Return the ratio of a claim for each row, and its lower bound, each [n_rows]."""
    queries = claim.on(settings.queries)
    numerators, denominators = claim.goal.ratio(
        scores.cheap[rows][:, queries], scores.full[queries]
    )
    bounds = ratio_lower_bounds(
        numerators,
        denominators,
        lowest=claim.goal.lowest,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return numerators.mean(axis=1) / denominators.mean(), bounds


def _of_slices(claims: Sequence[Claim], values: Sequence[Scores]) -> list[tuple[Claim, Scores]]:
    """Pair the claims about slices with their values; the first claim is about all queries."""
    return list(zip(claims, values, strict=True))[1:]
