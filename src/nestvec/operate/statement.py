"""The statement of a certificate, computed from the scores of each query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import CurvePoint
from nestvec.curve.sample import full_corpus_text, sample_of, sampled_queries_text
from nestvec.errors import InvalidArgument
from nestvec.metrics.relevance import is_agreement
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.choose import all_claims, select, verdict_of
from nestvec.planning.confirm import Candidates, TestSettings, run_tests, split
from nestvec.planning.reasons import bound_text, ratio_text, threshold_text
from nestvec.types import OperatingPoint, Scores


@dataclass(frozen=True)
class TestRecord:
    """The settings and the scores of a fixed-sequence test, up to the chosen point.

    Attributes:
        budget: The budget of the plan, with its goal and metric.
        seed: Seed of the split of the queries and of the bound.
        full: The row of full float32.
        tested: The rows that passed, in test order: the last is the chosen point. If none passed,
            the first row.
        query_hashes: Hash of the id of each query, [n_queries].
        in_test: Whether a query tested the points; the other queries ordered them, [n_queries].
        full_scores: Scores of full float32, [n_queries].
        tested_scores: Scores of each row of ``tested``, [n_rows, n_queries].
        slices: Value of each query, [n_queries], by field; empty without a slice target.
    """

    budget: Budget
    seed: int
    full: CurvePoint
    tested: tuple[CurvePoint, ...]
    query_hashes: tuple[str, ...]
    in_test: NDArray[np.bool_]
    full_scores: Scores
    tested_scores: NDArray[np.float64]
    slices: Mapping[str, NDArray[np.str_]]

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        n = len(self.query_hashes)
        shapes = {
            "in_test": (self.in_test.shape, (n,)),
            "scores of full": (self.full_scores.shape, (n,)),
            "scores of tested": (self.tested_scores.shape, (len(self.tested), n)),
            **{f"slice {name}": (values.shape, (n,)) for name, values in self.slices.items()},
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise InvalidArgument(f"{name} have the shape {found} instead of {expected}")
        if (self.budget.min_slice_retention is not None) != bool(self.slices):
            raise InvalidArgument("a slice target requires slices, and slices require a target")
        if not self.tested:
            raise InvalidArgument("there is no tested point")
        if not (np.isfinite(self.full_scores).all() and np.isfinite(self.tested_scores).all()):
            raise InvalidArgument("a score is not a finite number")

    @property
    def scored_rows(self) -> list[tuple[CurvePoint, Scores]]:
        """The row of full float32 and the tested rows, each with its scores."""
        tested = zip(self.tested, self.tested_scores, strict=True)
        return [(self.full, self.full_scores), *tested]

    @property
    def goal(self) -> Goal:
        """The target."""
        return self.budget.resolved_goal


@dataclass(frozen=True)
class PlanStatement:
    """What a certificate states about a point.

    Attributes:
        text: The statement in one sentence, and the verdict.
        covers: What the statement covers, and what it does not cover.
        point: The operating point.
        verdict: As in ``Plan``.
        confirmed: Whether the test confirmed the point.
        kept: The ratio of the goal on the test queries.
        at_least: Lower bound of ``kept``: the threshold of the goal if confirmed, otherwise
            ``bound``.
        bound: Lower bound of this point alone. The bound of a confirmed point is biased upward,
            because the point was selected as the last one that passed.
        retention: Mean score divided by the mean score of full float32, on the test queries.
        mean: Mean score on the test queries.
        full_mean: Mean score of full float32 on the test queries.
        queries_ordering: Number of queries that ordered the points.
        queries_tested: Number of queries that tested the points.
    """

    text: str
    covers: tuple[str, ...]
    point: OperatingPoint
    verdict: str
    confirmed: bool
    kept: float
    at_least: float
    bound: float
    retention: float
    mean: float
    full_mean: float
    queries_ordering: int
    queries_tested: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {**asdict(self), "point": str(self.point), "covers": list(self.covers)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PlanStatement:
        """Create a statement from the values of ``to_json``."""
        point = OperatingPoint.parse(values["point"])
        return cls(**{**values, "point": point, "covers": tuple(values["covers"])})


def statement_of(record: TestRecord, dataset: Mapping[str, Any]) -> PlanStatement:
    """Compute the statement from the scores: split, means, bound and verdict.

    Args:
        record: The scores and the settings.
        dataset: The data set, as in the curve; its "evidence" is part of the statement.

    Raises:
        InvalidArgument: If the scores do not allow a test, as in ``plan``.
    """
    goal, budget, full = record.goal, record.budget, record.full_scores
    ordering, testing = split(full, seed=record.seed)
    claims, _ = all_claims(goal, budget, record.slices, full, testing)
    candidates = Candidates(record.tested, record.tested_scores, full)
    settings = TestSettings(testing, budget.confidence, record.seed)
    results = run_tests(candidates, range(len(record.tested)), claims, settings)
    chosen, _, confirmed = select(results, goal.threshold)
    at_least = goal.threshold if confirmed else chosen.at_least
    verdict = verdict_of(goal, confirmed)
    text = (
        f"{chosen.row.point} {ratio_text(goal, chosen.ratio)}, {bound_text(goal, at_least)} with "
        f"{budget.confidence * 100:g} % confidence, on {len(testing):,} queries not used to "
        f"choose. {verdict}"
    )
    number = [row.point for row in record.tested].index(chosen.row.point)
    return PlanStatement(
        text=text,
        covers=tuple(_scope(record, dataset, confirmed=confirmed)),
        point=chosen.row.point,
        verdict=verdict,
        confirmed=confirmed,
        kept=chosen.ratio,
        at_least=at_least,
        bound=chosen.at_least,
        retention=chosen.retention,
        mean=float(record.tested_scores[number, testing].mean()),
        full_mean=float(full[testing].mean()),
        queries_ordering=len(ordering),
        queries_tested=len(testing),
    )


def _scope(record: TestRecord, dataset: Mapping[str, Any], *, confirmed: bool) -> Iterator[str]:
    """Yield what a statement covers, and what it does not cover."""
    error = f"{100 - record.budget.confidence * 100:g} %"
    if confirmed:
        yield (
            "The choice among the measured points is covered: the queries that are not in the "
            "test ordered the points from the safest to the cheapest, and the test stopped at the "
            f"first point that failed. The test confirms a point that misses the target "
            f"({threshold_text(record.goal)}) with a probability of at most {error}, for any "
            f"number of points. Points that passed before this point: {len(record.tested) - 1}."
        )
    else:
        yield (
            "The target is not confirmed. The point is the safest of the measured points by the "
            "queries that are not in the test, so the choice does not bias its bound."
        )
    yield (
        "The choice of the budget, the metric and the seed is not covered: if several were tried "
        "and the best result is certified, the confidence does not hold."
    )
    yield (
        "The statement is about queries of which these are a random sample, and about this "
        "corpus. Other queries and larger corpora were not measured."
    )
    if (sample := sample_of(dataset)) is not None:
        yield f"The corpus was {sample}. {full_corpus_text(dataset)}"
    if queries := sampled_queries_text(dataset):
        yield queries
    if is_agreement(record.goal.metric):
        yield "Agreement with full precision was measured, and not relevance."
    if record.goal.metric in dataset.get("own_scores", ()):
        yield f"The scores of {record.goal.metric} were read from a file of the user."
    if ":" in record.goal.metric:
        yield (
            "The metric includes the results of another system, read from a run whose sha256 is "
            "recorded with the data set."
        )
    if dataset.get("evidence") == "made queries":
        yield "The queries were generated from the corpus."
    yield (
        "The lower bound is that of Gaffke (2005). That it is valid for every distribution of "
        "scores is not proven."
    )
