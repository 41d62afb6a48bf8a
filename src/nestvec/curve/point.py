"""One row of a curve: an operating point with its quality and cost.

The values round-trip through JSON. ``query_scores`` has the per-query scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from nestvec.types import OperatingPoint

_MAY_BE_ABSENT = ("cold_p50_ms", "text_bytes_per_vector")
_LEFT_OUT = ("settings", "filtered_p50_ms")  # of the file, if they are empty


class Interval(NamedTuple):
    """A two-sided 95 % confidence interval over queries."""

    low: float
    high: float


class SizeRetention(NamedTuple):
    """Retention of a point at one corpus size.

    Attributes:
        n_documents: Number of documents.
        retention: Score over the score of full float32 at the same size.
        low: Lower end of the 95 % interval of the retention.
        high: Upper end of the interval.
    """

    n_documents: int
    retention: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """Memory, disk space and time of an operating point.

    Attributes:
        ram_bytes_per_vector: Bytes of codes that must be in memory to search.
        disk_bytes_per_vector: Bytes of full vectors, codes and index files, as the engine reports
            them. Curves of version 2 count only codes that are read for rescoring.
        read_bytes_per_query: Bytes of codes or vectors that one query reads for rescoring.
        build_s: Seconds to quantize the corpus at this point.
        p50_ms: Median time of one query with a warm cache on one thread. It includes the search
            and fetching the documents, but not encoding the query. Curves of version 2 measured
            the search only.
        p95_ms: 95th percentile of the same time.
        p99_ms: 99th percentile of the same time.
        batch_qps: Queries per second in batches, on all threads.
        cold_p50_ms: Median time of one query whose rescoring data is not in the page cache; None
            if nothing is read from disk or the cache cannot be dropped.
        text_bytes_per_vector: Bytes of text and metadata on disk; None if not measured.
        lookup_ms: Time to fetch the documents of one query; p50_ms, p95_ms and p99_ms include it.
    """

    ram_bytes_per_vector: float
    disk_bytes_per_vector: float
    read_bytes_per_query: float
    build_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    batch_qps: float = 0.0
    cold_p50_ms: float | None = None
    text_bytes_per_vector: float | None = None
    lookup_ms: float = 0.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Cost:
        """Create a cost from JSON values; other keys are ignored."""
        known: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            if name in values:
                absent = name in _MAY_BE_ABSENT and values[name] is None
                known[name] = None if absent else float(values[name])
        return cls(**known)


@dataclass(frozen=True)
class CurvePoint:
    """The measurements of one operating point.

    Attributes:
        point: The operating point.
        metrics: Mean score, by metric.
        retention: Mean score over that of full float32, by metric.
        cost: Memory, disk space and time.
        interval: Confidence interval of the retention, by metric.
        by_size: Retention at several corpus sizes, by metric, smallest size first.
        k_for_full_recall: Smallest k whose recall@k equals recall@10 of full float32; None if no
            measured depth is enough or there are no relevance labels.
        settings: Settings of the engine's search structures at this point; empty if the search is
            exhaustive.
        filtered_p50_ms: Median time of one query with a filter, by the share of documents that
            match, such as "below 1 %"; the time includes what ``Cost.p50_ms`` includes. Empty
            without filters, and if the first stage scores every document.
    """

    point: OperatingPoint
    metrics: Mapping[str, float]
    retention: Mapping[str, float]
    cost: Cost
    interval: Mapping[str, Interval] = field(default_factory=dict)
    by_size: Mapping[str, tuple[SizeRetention, ...]] = field(default_factory=dict)
    k_for_full_recall: int | None = None
    settings: Mapping[str, int | float | str] = field(default_factory=dict)
    filtered_p50_ms: Mapping[str, float] = field(default_factory=dict)

    def with_metric(
        self, metric: str, mean: float, retention: float, interval: Interval
    ) -> CurvePoint:
        """Return a copy with a further metric, after the metrics of this point."""
        return replace(
            self,
            metrics={**self.metrics, metric: mean},
            retention={**self.retention, metric: retention},
            interval={**self.interval, metric: interval},
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {
            "point": str(self.point),
            "metrics": dict(self.metrics),
            "retention": dict(self.retention),
            "interval": {metric: list(ends) for metric, ends in self.interval.items()},
            "by_size": {
                metric: [each._asdict() for each in sizes] for metric, sizes in self.by_size.items()
            },
            "k_for_full_recall": self.k_for_full_recall,
            **{name: dict(getattr(self, name)) for name in _LEFT_OUT if getattr(self, name)},
            **asdict(self.cost),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CurvePoint:
        """Create a point from the values of ``to_json``."""
        return cls(
            point=OperatingPoint.parse(values["point"]),
            metrics=values["metrics"],
            retention=values["retention"],
            cost=Cost.from_json(values),
            interval={metric: Interval(*ends) for metric, ends in values["interval"].items()},
            by_size={
                metric: tuple(SizeRetention(**each) for each in sizes)
                for metric, sizes in values["by_size"].items()
            },
            k_for_full_recall=values["k_for_full_recall"],
            **{name: values.get(name, {}) for name in _LEFT_OUT},
        )


@dataclass(frozen=True)
class BaselinePoint:
    """Scores of another method on the same queries.

    Attributes:
        dim: Number of dimensions of its vectors; None if it has no vectors (BM25).
        metrics: Mean score, by metric.
    """

    dim: int | None
    metrics: Mapping[str, float]
