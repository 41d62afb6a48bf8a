"""One row of a curve: an operating point, what it keeps and what it costs.

Plain values that round-trip through JSON; what each query scored stands in ``query_scores``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from nestvec.types import OperatingPoint

_MAY_BE_ABSENT = ("cold_p50_ms", "text_bytes_per_vector")


class Interval(NamedTuple):
    """Where a value lies with 95 % confidence, two-sided, over queries like those measured."""

    low: float
    high: float


class SizeRetention(NamedTuple):
    """What a point keeps at one size of the corpus.

    Attributes:
        n_documents: The size.
        retention: Share of what full float32 scores at the same size.
        low: Lower end of its 95 % interval.
        high: Upper end of the same.
    """

    n_documents: int
    retention: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What a point costs.

    Attributes:
        ram_bytes_per_vector: Codes that must be resident to search.
        disk_bytes_per_vector: Full vectors, codes and index files, as the engine reports them.
            Curves of version 2 counted only codes that are read for rescoring.
        read_bytes_per_query: Codes or vectors that one query reads for rescoring.
        build_s: Seconds to encode the corpus into this point's codes.
        p50_ms: Median time of one query: its search and fetching its documents, without encoding
            the query, warm, one thread. Curves of version 2 timed the search alone.
        p95_ms: 95th percentile of the same.
        p99_ms: 99th percentile of the same.
        batch_qps: Queries a second when they come in batches, on all threads.
        cold_p50_ms: Median time of one query whose rescore codes are not in the page cache; None
            where nothing is read from disk, or the machine does not let the cache be dropped.
        text_bytes_per_vector: Texts and metadata of a document on disk; None where not measured.
        lookup_ms: Fetching the documents of one query, which the times above include.
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
        """Read back the fields among other values."""
        known: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            if name in values:
                absent = name in _MAY_BE_ABSENT and values[name] is None
                known[name] = None if absent else float(values[name])
        return cls(**known)


@dataclass(frozen=True)
class CurvePoint:
    """What was measured of one operating point.

    Attributes:
        point: The point.
        metrics: Mean score by metric.
        retention: The same over that of full float32.
        cost: What it costs.
        interval: By metric, where the retention lies.
        by_size: By metric, what is kept at parts of the corpus and at all of it, smallest first.
        k_for_full_recall: The least k at which recall@k is that of full float32 at 10; None
            where no k within the measured depth is enough, or nothing is judged.
    """

    point: OperatingPoint
    metrics: Mapping[str, float]
    retention: Mapping[str, float]
    cost: Cost
    interval: Mapping[str, Interval] = field(default_factory=dict)
    by_size: Mapping[str, tuple[SizeRetention, ...]] = field(default_factory=dict)
    k_for_full_recall: int | None = None

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
            **asdict(self.cost),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CurvePoint:
        """Read back what ``to_json`` wrote."""
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
        )


@dataclass(frozen=True)
class BaselinePoint:
    """What another method scores on the same queries.

    Attributes:
        dim: The width that it cuts vectors to; None where it has no vectors (BM25).
        metrics: Mean score by metric.
    """

    dim: int | None
    metrics: Mapping[str, float]
