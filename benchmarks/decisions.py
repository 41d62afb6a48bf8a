"""Measure the errors of plans: false confirmations, missed confirmations, bytes above the oracle.

Each replicate draws queries with replacement from a full set, whose values are taken as the truth.
The queries are split, ordered and tested as in ``plan``. A confirmation is false if the point does
not reach the target on the full set. For comparison, a studentized bootstrap replaces Gaffke's
bound, on the same queries and sequences. A generated set is added, in which points lose a few
queries completely.

    OMP_NUM_THREADS=1 python benchmarks/decisions.py squad-sent.json docstrings.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.curve.point import Cost, CurvePoint
from nestvec.metrics.stats import ratio_lower_bounds
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.choose import plan
from nestvec.planning.confirm import Candidates, Claim, safety, sequence, split
from nestvec.types import OperatingPoint, Scores
from record import record

METRIC, CONFIDENCE = "ndcg@10", 0.95
SIZES, TARGETS = (100, 300, 1000, 3000), (0.95, 0.98)
BOOTSTRAPS = 1_000
_BLOCK = 250  # replicates per task of a process
_CHECKED = 10  # replicates that are compared with ``plan`` itself


@dataclass(frozen=True)
class Truth:
    """A full set of queries, from which replicates are drawn and whose values are the truth."""

    name: str
    scores: Candidates
    curve: Curve | None = None

    @property
    def bytes(self) -> NDArray[np.float64]:
        """Memory per vector, by row."""
        return np.array([row.cost.ram_bytes_per_vector for row in self.scores.rows])

    @property
    def retention(self) -> Scores:
        """The true retention of each row."""
        return self.scores.retention(np.arange(len(self.scores.full)))


def main() -> None:
    """Run all replicates and record them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curves", type=Path, nargs="+")
    parser.add_argument("--replicates", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    truths = [*map(_read, options.curves), _rare_losses()]
    results = []
    with ProcessPoolExecutor(options.processes) as pool:
        for truth in truths:
            for n in SIZES:
                tasks = [(truth, n, seed) for seed in range(options.replicates)]
                drawn = list(pool.map(_replicate, *zip(*tasks, strict=True), chunksize=_BLOCK))
                results += list(_summaries(truth, n, drawn))
                print(*results[-4:], sep="\n", flush=True)
    settings = {
        "metric": METRIC,
        "confidence": CONFIDENCE,
        "replicates": options.replicates,
        "queries": {truth.name: len(truth.scores.full) for truth in truths},
        "bootstrap_resamples": BOOTSTRAPS,
    }
    print(record("decisions", settings=settings, results=results))


def _read(path: Path) -> Truth:
    curve = Curve.load(path)
    budget = Budget()
    rows = [row for row in curve.points if budget.cost(row) < budget.cost(curve.full)]
    cheap = np.stack([curve.per_query(METRIC, row.point) for row in rows])
    return Truth(
        path.stem, Candidates(rows, cheap, curve.per_query(METRIC, curve.full.point)), curve
    )


def _rare_losses(n: int = 20_000) -> Truth:
    """Generate points that lose a few queries completely, slightly more than the target allows."""
    luck = (np.arange(n) + 0.5) / n
    kept = np.array([0.9799, 0.9798, 0.9499, 0.9498, 0.9])
    cost = 2.0 ** np.arange(8, 3, -1)
    rows = [
        CurvePoint(OperatingPoint.single(int(size), "int8"), {}, {}, Cost(size, 0, 0, 0, 0, 0, 0))
        for size in cost
    ]
    return Truth("rare losses", Candidates(rows, (luck < kept[:, None]).astype(float), np.ones(n)))


def _replicate(truth: Truth, n: int, seed: int) -> list[Mapping[str, Any]]:
    """Draw queries once, and decide for each target with both bounds."""
    drawn = np.random.default_rng([seed, n]).integers(0, len(truth.scores.full), n)
    full = truth.scores.full[drawn]
    scores = Candidates(truth.scores.rows, truth.scores.cheap[:, drawn], full)
    ordering, testing = split(full, seed=seed)
    sequences = []
    for target in TARGETS:
        claims = [Claim(Goal("retention", METRIC, target), np.ones(n, dtype=bool))]
        costs = [Budget().cost(row) for row in scores.rows]
        sequences.append(sequence(costs, safety(scores, claims, ordering)))
    needed = sorted({row for rows in sequences for row in rows})
    cheap, full = scores.cheap[needed][:, testing], full[testing]
    bounds = ratio_lower_bounds(cheap, full, confidence=CONFIDENCE, seed=seed)
    at_least = dict(zip(needed, bounds.tolist(), strict=True))
    outcomes = []
    for target, rows in zip(TARGETS, sequences, strict=True):
        own = [at_least[row] >= target for row in rows]
        rival = _bootstrap_t(scores.cheap[rows][:, testing] - target * full, seed) >= 0
        outcomes.append(_outcome(rows, own, [at_least[row] for row in rows]))
        outcomes.append(_outcome(rows, rival.tolist(), None))
    if seed < _CHECKED:
        _check(truth, drawn, seed, outcomes[::2])
    return outcomes


def _outcome(
    rows: Sequence[int], passes: Sequence[bool], at_least: Sequence[float] | None
) -> Mapping[str, Any]:
    steps = len(list(takewhile(bool, passes)))
    last = max(steps - 1, 0)
    return {
        "row": rows[last],
        "confirmed": steps > 0,
        "unlucky": any(passes[steps:]),
        "bound": None if at_least is None else at_least[last],
    }


def _check(
    truth: Truth, drawn: NDArray[np.int64], seed: int, outcomes: Sequence[Mapping[str, Any]]
) -> None:
    """Check that ``plan`` of the library makes the same decisions."""
    if truth.curve is None:
        return
    curve = truth.curve
    metrics = {METRIC: curve.scores.metrics[METRIC][:, drawn]}
    scores = replace(curve.scores, metrics=metrics, query_ids=curve.scores.query_ids[drawn])
    for target, outcome in zip(TARGETS, outcomes, strict=True):
        chosen = plan(replace(curve, scores=scores), Budget(target, METRIC), seed=seed)
        point = truth.scores.rows[outcome["row"]].point
        if (chosen.confirmed, chosen.point) != (outcome["confirmed"], point):
            raise RuntimeError(f"plan chose {chosen.point}, the benchmark {point}: {outcome}")


def _bootstrap_t(differences: NDArray[np.float64], seed: int) -> Scores:
    """Return the studentized bootstrap's lower bound of each row's mean."""
    n = differences.shape[1]
    drawn = np.random.default_rng(seed).integers(0, n, (BOOTSTRAPS, n))
    places = drawn + n * np.arange(BOOTSTRAPS)[:, None]
    counts = np.bincount(places.ravel(), minlength=n * BOOTSTRAPS).reshape(BOOTSTRAPS, n) / n
    mean, error = differences.mean(axis=1), differences.std(axis=1)
    means = differences @ counts.T
    errors = np.sqrt(np.maximum((differences**2) @ counts.T - means**2, 0))
    shifts = means - mean[:, None]
    studentized = np.divide(shifts, errors, out=np.zeros_like(shifts), where=errors > 1e-12)
    bound: Scores = mean - np.quantile(studentized, CONFIDENCE, axis=1) * error
    return bound


def _summaries(
    truth: Truth, n: int, drawn: Sequence[Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    for i, target in enumerate(TARGETS):
        for j, bound in enumerate(("gaffke", "bootstrap-t")):
            outcomes = [each[2 * i + j] for each in drawn]
            yield {
                "set": truth.name,
                "queries": n,
                "target": target,
                "bound": bound,
                **_summary(truth, target, outcomes),
            }


def _summary(truth: Truth, target: float, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = np.array([each["row"] for each in outcomes])
    confirmed = np.array([each["confirmed"] for each in outcomes])
    kept = truth.retention[rows]
    false = float((confirmed & (kept < target)).mean())
    summary: dict[str, Any] = {
        "false": false,
        "standard_error": round(float(np.sqrt(false * (1 - false) / len(rows))), 5),
        "confirmed": float(confirmed.mean()),
        "unlucky_stop": float(np.mean([each["unlucky"] for each in outcomes])),
    }
    if outcomes[0]["bound"] is not None:
        bounds = np.array([each["bound"] for each in outcomes])
        # The bound of a confirmed point, which a plan does not print.
        summary["own_bound_false"] = float((bounds > kept).mean())
        unconfirmed = bounds[~confirmed] > kept[~confirmed]
        summary["unconfirmed_bound_false"] = float(unconfirmed.sum() / len(rows))
    if (good := truth.bytes[truth.retention >= target]).size and confirmed.any():
        ratios = truth.bytes[rows[confirmed]] / good.min()
        summary["bytes_over_oracle"] = {
            "median": float(np.median(ratios)),
            "mean": round(float(ratios.mean()), 3),
        }
    return summary


if __name__ == "__main__":
    main()
