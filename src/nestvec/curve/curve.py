"""A measured curve: quality and cost of each operating point, with per-query scores.

``evaluate`` measures a curve, and ``plan`` chooses a point of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.point import BaselinePoint, CurvePoint, Interval
from nestvec.curve.query_scores import QueryScores
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.files.atomic import replace_files
from nestvec.files.versioned import read_versioned
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.types import Evidence, ModelInfo, OperatingPoint

CURVE_VERSION = 3
_OLDEST_VERSION = 2


@dataclass(frozen=True, repr=False)
class Curve:
    """Quality and cost of the measured operating points of one model on one data set.

    Attributes:
        model: Information about the model at the time of the measurement.
        dataset: Name, split, sizes, task, depth and evidence of the data set.
        machine: Processor, threads and library versions.
        points: One row for each operating point.
        scores: Per-query scores of the same rows.
        encode_ms: Time to encode one query, not included in the search times; None for
            precomputed vectors.
        baselines: Other methods on the same queries, by name ("bm25", "svd").
        counts: Number of irregular items: zero vectors, truncated texts, unknown ids in qrels.
        version: Version of the loaded file. Costs of version 2 are defined differently (see
            ``Cost``).
    """

    model: ModelInfo
    dataset: Mapping[str, Any]
    machine: Mapping[str, Any]
    points: tuple[CurvePoint, ...]
    scores: QueryScores
    encode_ms: float | None
    baselines: Mapping[str, tuple[BaselinePoint, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    version: int = CURVE_VERSION

    @property
    def full(self) -> CurvePoint:
        """The reference of retention: one float32 stage at the model's full dim."""
        return self[OperatingPoint.single(self.model.full_dim, "float32")]

    @property
    def evidence(self) -> Evidence:
        """What the metrics are measured against; see ``Evidence``."""
        evidence: Evidence = self.dataset.get("evidence", "labels")
        return evidence

    @property
    def main_metric(self) -> str:
        """The first metric."""
        return next(iter(self.full.metrics))

    @cached_property
    def _rows(self) -> dict[OperatingPoint, int]:
        return {row.point: number for number, row in enumerate(self.points)}

    def __repr__(self) -> str:
        """Show what was measured, not the numbers of each query."""
        metric, data = self.main_metric, self.dataset.get("name")
        best = f"{metric} {self.full.metrics[metric]:.3f} at full precision"
        points = f"{len(self.points)} points"
        return f"Curve({points}, model={self.model.name!r}, data={data!r}, {best})"

    def __getitem__(self, point: OperatingPoint | str) -> CurvePoint:
        """Return the row of a point.

        Raises:
            InvalidArgument: If the point was not measured.
        """
        return self.points[self.row_number(point)]

    def row_number(self, point: OperatingPoint | str) -> int:
        """Return the position of a point's row.

        Raises:
            InvalidArgument: If the point was not measured.
        """
        wanted = OperatingPoint.parse(point) if isinstance(point, str) else point
        if wanted not in self._rows:
            raise InvalidArgument(f"Point {wanted} was not measured on this curve.")
        return self._rows[wanted]

    def per_query(self, metric: str, point: OperatingPoint | str) -> NDArray[np.float64]:
        """Return the score of each query at a point, float64 [n_queries].

        Raises:
            InvalidArgument: If the point or the metric was not measured.
        """
        if metric not in self.scores.metrics:
            measured = ", ".join(self.scores.metrics) or "none"
            if metric in self.full.metrics:
                raise InvalidArgument(
                    f"metric {metric!r} has no per-query scores. Metrics that have: {measured}."
                )
            raise InvalidArgument(f"metric {metric!r} was not measured. Measured: {measured}.")
        scores: NDArray[np.float64] = self.scores.metrics[metric][self.row_number(point)]
        return scores

    def pareto_front(self, metric: str) -> tuple[CurvePoint, ...]:
        """Return the Pareto-optimal rows of memory and quality, cheapest first."""
        front: list[CurvePoint] = []
        measured = [row for row in self.points if metric in row.metrics]
        for row in sorted(measured, key=lambda row: _order_by_cost(row, metric)):
            if not front or row.metrics[metric] > front[-1].metrics[metric]:
                front.append(row)
        return tuple(front)

    def with_baseline(self, name: str, metrics: Mapping[str, float]) -> Curve:
        """Return a copy with the mean metrics of a baseline that has no vectors."""
        point = BaselinePoint(None, dict(metrics))
        return replace(self, baselines={**self.baselines, name: (point,)})

    def with_metrics(self, scores: Mapping[str, NDArray[np.float64]]) -> Curve:
        """Return a copy with further metrics, after the metrics that the curve has.

        Args:
            scores: Score of each query at each point, [n_points, n_queries], by metric. A point
                with NaN has no scores of the metric. Full float32 has all scores.
        """
        full, rows = self.row_number(self.full.point), list(self.points)
        for metric, values in scores.items():
            means, shares = values.mean(axis=1).tolist(), retentions(values, values[full]).tolist()
            ends = retention_intervals(values, values[full]).tolist()
            for number in np.flatnonzero(~np.isnan(values).any(axis=1)).tolist():
                interval = Interval(*ends[number])
                rows[number] = rows[number].with_metric(
                    metric, means[number], shares[number], interval
                )
        query_scores = replace(self.scores, metrics={**self.scores.metrics, **scores})
        return replace(self, points=tuple(rows), scores=query_scores)

    def save(self, path: Path | str) -> None:
        """Write the curve to ``path``, and its per-query scores to ``*.scores.npz`` next to it.

        Raises:
            DataError: If the files cannot be written. Existing files are unchanged.
        """
        path = Path(path)
        with replace_files(_scores_path(path), path) as (scores, summary):
            self.scores.save(scores)
            text = json.dumps(self._summary(_sha256(scores)), indent=1)
            summary.write_text(text + "\n", encoding="utf-8")

    def _summary(self, scores_sha256: str) -> dict[str, Any]:
        return {
            "version": self.version,
            "model": self.model.to_json(),
            "dataset": dict(self.dataset),
            "machine": dict(self.machine),
            "encode_ms": self.encode_ms,
            "baselines": {
                name: [asdict(point) for point in points] for name, points in self.baselines.items()
            },
            "counts": dict(self.counts),
            "scores_sha256": scores_sha256,
            "points": [row.to_json() for row in self.points],
        }

    @classmethod
    def load(cls, path: Path | str) -> Curve:
        """Read a curve and its per-query scores.

        Raises:
            DataError: If a file is missing, is not a curve or has another version.
            DamagedFile: If the scores file does not belong to this curve.
        """
        path = Path(path)
        values = read_versioned(
            path,
            kind="curve",
            version=CURVE_VERSION,
            oldest=_OLDEST_VERSION,
            remedy="Evaluate again.",
        )
        try:
            points = tuple(CurvePoint.from_json(row) for row in values["points"])
            model = ModelInfo.from_json(values["model"])
            expected = values["scores_sha256"]
            known = {name: values[name] for name in _PLAIN_FIELDS}
            known["baselines"] = {
                name: tuple(BaselinePoint(**point) for point in points)
                for name, points in values["baselines"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(path, f"is not a nestvec curve: {error!r}. Evaluate again.") from error
        scores = _load_scores(_scores_path(path), expected)
        return cls(model=model, points=points, scores=scores, **known)


_PLAIN_FIELDS = ("dataset", "machine", "encode_ms", "counts", "version")


def _order_by_cost(row: CurvePoint, metric: str) -> tuple[float, float]:
    return row.cost.ram_bytes_per_vector, -row.metrics[metric]


def _scores_path(path: Path) -> Path:
    # Remove only .json: curves named model-v1.5 and model-v1.6 need different scores files.
    return path.with_name(path.name.removesuffix(".json") + ".scores.npz")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_scores(path: Path, expected_sha256: str) -> QueryScores:
    if not path.is_file():
        raise DataError(path, "is missing. Copy it next to the curve's JSON file.")
    if _sha256(path) != expected_sha256:
        raise DamagedFile(path, "does not belong to this curve (checksum). Evaluate again.")
    return QueryScores.load(path)
