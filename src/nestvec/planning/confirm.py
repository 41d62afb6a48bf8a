"""Order the candidates on one part of the queries, test them on the other.

A choice by estimate sits on the boundary and rarely holds on other queries. A sequence that is
fixed before the test holds: each candidate is tested at the full level, from the safest to the
cheapest, until one fails. To say what is false, the first bad one of the sequence must pass, so the
chance of it stays within 1 - confidence, whatever the number of candidates.

A candidate passes where every claim holds: the goal on all queries and, where asked, one for each
slice. As it is said to pass only if all tests reject, each may use the full level (an
intersection-union test: Berger 1982, Technometrics 24:295).

What is proven of a candidate that passed is the threshold, no more: its own bound is above it also
by luck, and being chosen last. The bound of the first that failed holds as it stands (Hsu and
Berger 1999, JASA 94:468).

What a candidate may cost, and what is made of the outcome, is for ``plan`` to say.
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
# on the other half nine times in ten: 1.64 + 1.28 * sqrt(2).
_SAFE = 3.5


@dataclass(frozen=True)
class Claim:
    """What must hold of a candidate on some of the queries.

    Attributes:
        goal: What must be reached.
        queries: Whether each query counts, bool [n_queries].
        name: Of the slice, as ``field=value``; empty for the claim about all queries.
    """

    goal: Goal
    queries: NDArray[np.bool_]
    name: str = ""

    def on(self, part: Rows) -> Rows:
        """Return the queries among ``part`` that count."""
        return part[self.queries[part]]


@dataclass(frozen=True)
class Candidates:
    """The rows that may be chosen, with what each query scored.

    Attributes:
        rows: The rows.
        cheap: Scores at each, [n_rows, n_queries].
        full: Scores at full float32, [n_queries].
    """

    rows: Sequence[CurvePoint]
    cheap: NDArray[np.float64]
    full: Scores

    def retention(self, queries: Rows) -> Scores:
        """Return each row's mean score over that of full float32, [n_rows]."""
        kept: Scores = self.cheap[:, queries].mean(axis=1) / self.full[queries].mean()
        return kept


class Test(NamedTuple):
    """The queries that test, and how."""

    queries: Rows
    confidence: float
    seed: int


@dataclass(frozen=True)
class Tested:
    """What a row keeps on the queries that were not used to choose.

    Attributes:
        row: The row.
        retention: Its mean score over that of full float32.
        kept: The ratio of the goal.
        at_least: Lower confidence bound of the same, of this row by itself.
        slices: What it keeps in each slice that was tested, by name.
        lost: The slices of which it was not confirmed.
    """

    row: CurvePoint
    retention: float
    kept: float
    at_least: float
    slices: Mapping[str, float]
    lost: tuple[str, ...]


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


def slice_claims(
    goal: Goal, slices: Mapping[str, NDArray[np.str_]], answered: Rows, *, confidence: float
) -> tuple[list[Claim], list[str]]:
    """Make a claim of each slice that can be judged, and name the others.

    A slice with fewer queries than would rule out, were all of them flawless, that the share that
    may be lost is lost, can be confirmed of no point.

    Args:
        goal: What must be reached in each.
        slices: By field, the value of each query, [n_queries].
        answered: The queries of the test that full float32 answers.
        confidence: Of the test.

    Returns:
        The claims, and the names of the slices that are too small.
    """
    fewest = math.log(1 - confidence) / math.log(goal.threshold)
    judged: list[Claim] = []
    small: list[str] = []
    for field, values in slices.items():
        for value in np.unique(values).tolist():
            claim = Claim(goal, values == value, f"{field}={value}")
            if len(claim.on(answered)) >= fewest:
                judged.append(claim)
            else:
                small.append(claim.name)
    return judged, small


def margins(cheap: NDArray[np.float64], full: Scores, goal: Goal) -> Scores:
    """Count the standard errors by which each row seems to lie above the threshold, [n_rows].

    One lost query is added, as in the bound: rows that lost none by luck are not all the same.
    """
    lost = np.full((len(cheap), 1), goal.lowest_difference)
    differences = np.hstack([goal.differences(cheap, full), lost])
    errors = differences.std(axis=1) / math.sqrt(differences.shape[1])
    margins: Scores = differences.mean(axis=1) / np.maximum(errors, 1e-12)
    return margins


def safety(scores: Candidates, claims: Sequence[Claim], ordering: Rows) -> Scores:
    """Return the least of the ``margins`` of all claims on the queries that order, [n_rows]."""
    parts = [(claim.goal, part) for claim in claims if len(part := claim.on(ordering))]
    each = [margins(scores.cheap[:, part], scores.full[part], goal) for goal, part in parts]
    least: Scores = np.min(each, axis=0)
    return least


def sequence(costs: Sequence[tuple[float, ...]], safety: Scores) -> list[int]:
    """Choose and order the rows to test: from the safest to the cheapest.

    One row for each step of the first cost, as near-equal steps would each have to pass. Of these,
    the ones that no cheaper and safer row makes needless; one that seems just as safe does not, as
    it may be so by luck, and failing it would end the sequence.

    Args:
        costs: What each candidate costs, what decides first.
        safety: The ``safety`` of each, [n_rows].

    Returns:
        Positions in ``costs``.
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


def held_out(
    scores: Candidates, in_turn: Sequence[int], claims: Sequence[Claim], test: Test
) -> list[Tested]:
    """Say of rows what they keep on the queries of the test.

    Args:
        scores: All candidates.
        in_turn: Positions of the rows to test, in their order.
        claims: The goal on all queries, then those of slices.
        test: The queries, the confidence of each bound by itself, and the seed.
    """
    turn = list(in_turn)
    kept, bounds = zip(*(_bounds(scores, turn, claim, test) for claim in claims), strict=True)
    retention = scores.retention(test.queries)[turn].tolist()
    return [
        Tested(
            row=scores.rows[number],
            retention=retention[i],
            kept=float(kept[0][i]),
            at_least=float(bounds[0][i]),
            slices={claim.name: float(each[i]) for claim, each in _after_first(claims, kept)},
            lost=tuple(
                claim.name
                for claim, each in _after_first(claims, bounds)
                if each[i] < claim.goal.threshold
            ),
        )
        for i, number in enumerate(turn)
    ]


def _bounds(scores: Candidates, turn: list[int], claim: Claim, test: Test) -> tuple[Scores, Scores]:
    """Return the ratio of a claim for each row, and its lower bound."""
    queries = claim.on(test.queries)
    numerators, denominators = claim.goal.ratio(
        scores.cheap[turn][:, queries], scores.full[queries]
    )
    bounds = ratio_lower_bounds(
        numerators,
        denominators,
        lowest=claim.goal.lowest,
        confidence=test.confidence,
        seed=test.seed,
    )
    return numerators.mean(axis=1) / denominators.mean(), bounds


def _after_first(claims: Sequence[Claim], values: Sequence[Scores]) -> list[tuple[Claim, Scores]]:
    return list(zip(claims, values, strict=True))[1:]
