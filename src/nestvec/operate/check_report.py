"""The result of ``check``: what a search in use loses, as numbers that can be saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from nestvec.operate.drift_report import CalibrationCheck, CanaryCheck
from nestvec.operate.thresholds import ScoreThreshold

Source = Literal["log", "sampled documents"]


@dataclass(frozen=True)
class OverlapAtK:
    """How much of the exact results a search returns.

    Attributes:
        k: Number of results.
        mean: Mean overlap@k over the queries.
        at_least: The true mean is at least this, with 95 % confidence.
        worst: Mean overlap@k of the worst 1 % of the queries, at least one query.
    """

    k: int
    mean: float
    at_least: float
    worst: float


@dataclass(frozen=True)
class FilterCheck:
    """The queries with one filter.

    Attributes:
        filter: The filter; "" for queries without one.
        queries: Number of queries.
        matching: Number of documents that match; None if it is unknown.
        overlap: Mean overlap at the largest k.
        short: Number of queries that got fewer results than there are, up to the largest k.
        p50_ms: Median latency in milliseconds.
    """

    filter: str
    queries: int
    matching: int | None
    overlap: float
    short: int
    p50_ms: float


@dataclass(frozen=True)
class Losses:
    """Shares of the exact results that are lost, at the largest k.

    Attributes:
        dims: By fewer dims, and by the lengths of shortlists.
        bits: By fewer bits of each dim.
        index: By the approximate index. Below 0 if its results happen to be better.
        queries: Number of queries that were answered without an index to measure this.
    """

    dims: float
    bits: float
    index: float
    queries: int


@dataclass(frozen=True)
class Remedy:
    """A changed setting, and what it would reach. It was measured on some of the queries.

    Attributes:
        setting: The setting, such as ``hnsw.ef_search = 160``.
        overlap: Mean overlap at the largest k.
        p50_ms: Median latency in milliseconds; None if it was not measured.
    """

    setting: str
    overlap: float
    p50_ms: float | None


@dataclass(frozen=True)
class Retention:
    """Relevance of the results, by labels.

    Attributes:
        metric: The metric, such as ``ndcg@10``.
        exact: Mean of the exact results.
        found: Mean of the results of the search.
        share: ``found / exact``.
        at_least: The true share is at least this, with 95 % confidence.
        queries: Number of queries with labels.
    """

    metric: str
    exact: float
    found: float
    share: float
    at_least: float
    queries: int


@dataclass(frozen=True)
class CheckReport:
    """What a search in use loses, compared with exact answers.

    Attributes:
        place: The index or table, without credentials.
        documents: Number of searched documents.
        zeros: Number of documents whose vector is zero.
        dim: Number of dimensions of the vectors.
        metric: cosine, ip or l2.
        index: The index or the statement of the search; "" for a search of all vectors.
        point: The operating point of the search; "" if it is unknown.
        width: The setting of the approximate index and its value, such as
            ``hnsw.ef_search = 40``; "" for none.
        source: Where the queries come from.
        queries: Number of queries.
        counts: Counts of queries that were left out of the log.
        overlaps: One for each k, ascending.
        filters: One for each distinct filter.
        latency_ms: p50, p95 and p99 in milliseconds, one query at a time.
        exact_s: Seconds to find the exact answers of all queries.
        losses: What the loss consists of; None if it is unknown.
        remedies: Settings that would reduce the loss.
        unused_index: An index that the search could use and does not; "" for none.
        retention: Relevance by labels; None without labels.
        canaries: The model of an index, compared with earlier vectors; None for a table.
        calibration: Whether the calibration of the codes fits the documents; None without one.
        threshold: A score threshold that was fitted to labels; None if none was requested.
        min_overlap: The lowest mean overlap at the largest k that passes; None for none.
        min_retention: The lowest share of relevance that passes; None for none.
        seed: Seed of the samples.
        checked_at: Time of the check, ISO 8601, UTC.
        machine: Processor, cores and versions of the client.
    """

    place: str
    documents: int
    zeros: int
    dim: int
    metric: str
    index: str
    point: str
    width: str
    source: Source
    queries: int
    counts: Mapping[str, int]
    overlaps: tuple[OverlapAtK, ...]
    filters: tuple[FilterCheck, ...]
    latency_ms: Mapping[str, float]
    exact_s: float
    losses: Losses | None = None
    remedies: tuple[Remedy, ...] = ()
    unused_index: str = ""
    retention: Retention | None = None
    canaries: CanaryCheck | None = None
    calibration: CalibrationCheck | None = None
    threshold: ScoreThreshold | None = None
    min_overlap: float | None = None
    min_retention: float | None = None
    seed: int = 0
    checked_at: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overlap(self) -> float:
        """Mean overlap at the largest k."""
        return self.overlaps[-1].mean

    @property
    def failures(self) -> tuple[str, ...]:
        """What is below its limit, in one sentence each; empty if the check passed."""
        found = []
        if self.min_overlap is not None and self.overlap < self.min_overlap:
            k = self.overlaps[-1].k
            found.append(f"overlap@{k} is {self.overlap:.3f}, below {self.min_overlap:g}")
        kept = self.retention
        if kept is not None and self.min_retention is not None and kept.share < self.min_retention:
            problem = f"retention of {kept.metric} is {kept.share:.3f}"
            found.append(f"{problem}, below {self.min_retention:g}")
        if self.canaries is not None and not self.canaries.passed:
            found.append(self.canaries.failure)
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether everything with a limit reaches this limit."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return the values for a JSON file."""
        return {**asdict(self), "passed": self.passed, "failures": list(self.failures)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that ``to_json`` wrote."""
        own = {name: each for name, each in values.items() if name not in ("passed", "failures")}
        losses, retention = own["losses"], own["retention"]
        return cls(
            **own
            | {
                "overlaps": tuple(OverlapAtK(**each) for each in own["overlaps"]),
                "filters": tuple(FilterCheck(**each) for each in own["filters"]),
                "remedies": tuple(Remedy(**each) for each in own["remedies"]),
                "losses": None if losses is None else Losses(**losses),
                "retention": None if retention is None else Retention(**retention),
                **_drift_from(own),
            }
        )

    def to_prometheus(self) -> str:
        """Return the numbers in the text format of Prometheus, for the node exporter's files."""
        place = json.dumps(self.place)
        lines = []
        for name, kind, samples in self._samples():
            lines.append(f"# TYPE nestvec_check_{name} {kind}")
            for labels, value in samples:
                shown = f"{{place={place}{labels}}}"
                lines.append(f"nestvec_check_{name}{shown} {value!r}")
        return "\n".join(lines) + "\n"

    def _samples(self) -> list[tuple[str, str, list[tuple[str, float]]]]:
        overlaps = [(f',k="{each.k}"', each.mean) for each in self.overlaps]
        latency = [
            (f',quantile="0.{name[1:-3]}"', value / 1000) for name, value in self.latency_ms.items()
        ]
        found = [
            ("passed", "gauge", [("", float(self.passed))]),
            ("overlap", "gauge", overlaps),
            ("latency_seconds", "gauge", latency),
            ("documents", "gauge", [("", float(self.documents))]),
            ("queries", "gauge", [("", float(self.queries))]),
        ]
        if self.retention is not None:
            label = f",metric={json.dumps(self.retention.metric)}"
            found.append(("retention", "gauge", [(label, self.retention.share)]))
        if self.losses is not None:
            names = ("dims", "bits", "index")
            samples = [(f',cause="{name}"', getattr(self.losses, name)) for name in names]
            found.append(("loss", "gauge", samples))
        if self.canaries is not None and self.canaries.lowest is not None:
            found.append(("canary_cosine", "gauge", [("", self.canaries.lowest)]))
        if self.calibration is not None:
            found.append(("outside_calibration", "gauge", [("", self.calibration.outside)]))
        return found


def _drift_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a report on drift; reports of earlier versions have none."""
    read: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "canaries": lambda own: CanaryCheck(**own),
        "calibration": CalibrationCheck.from_json,
        "threshold": ScoreThreshold.from_json,
    }
    return {name: parse(values[name]) for name, parse in read.items() if values.get(name)}
