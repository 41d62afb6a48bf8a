"""Running figures of shadow reads: counts, overlap, latency and the worst recent queries.

Texts, filters and ids of documents are kept only if the server was started with ``--shadow-texts``.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from nestvec.operate.compared_rankings import RankChanges

RECENT = 1_000
"""Comparisons that latency and the worst queries are computed from."""
_WORST = 20
_SHARES = (50, 95)


@dataclass(frozen=True)
class ShadowedQuery:
    """One request that both searches answered.

    Attributes:
        at: Time of the comparison, ISO 8601, UTC.
        k: Number of requested results.
        overlap: Overlap@k; None if no result can be compared.
        rbo: Rank-biased overlap; None if no result can be compared.
        entered: Number of results that only NEW returns.
        left: Number of results that only OLD returns.
        largest_move: The largest change of rank of a common result.
        only_old: Number of results of OLD whose document NEW does not contain.
        only_new: Number of results of NEW whose document OLD does not contain.
        old_ms: Search time of OLD in milliseconds, without encoding.
        new_ms: Search time of NEW in milliseconds, without encoding.
        text: The query; None unless texts are kept, or if it was a vector.
        where: The filter; None unless texts are kept, or without a filter.
        old: Ids of the results of OLD; None unless texts are kept.
        new: Ids of the results of NEW; None unless texts are kept.
    """

    at: str
    k: int
    overlap: float | None
    rbo: float | None
    entered: int
    left: int
    largest_move: int
    only_old: int
    only_new: int
    old_ms: float
    new_ms: float
    text: str | None = None
    where: str | None = None
    old: Sequence[str] | None = None
    new: Sequence[str] | None = None


@dataclass(frozen=True)
class ShadowReport:
    """The figures since the server was started.

    Attributes:
        requests: Number of answered searches.
        skipped: Searches that NEW cannot answer in the same way: with an operating point of their
            own, or with a vector of another model.
        shadowed: Searches that NEW has answered as well.
        dropped: Searches that were drawn, but the queue was full.
        failed: Searches that NEW failed to answer.
        failures: Number of failures by the type of the error.
        overlap: Mean overlap@k of the shadowed searches; None before the first one.
        identical: Share of the shadowed searches with the same results in the same order.
        missing: Number of results of OLD whose document NEW does not contain.
        old_ms: p50 and p95 of the search time of OLD in milliseconds, of recent comparisons.
        new_ms: The same for NEW.
        worst: Recent comparisons with the lowest overlap.
    """

    requests: int = 0
    skipped: int = 0
    shadowed: int = 0
    dropped: int = 0
    failed: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    overlap: float | None = None
    identical: float | None = None
    missing: int = 0
    old_ms: Mapping[str, float] = field(default_factory=dict)
    new_ms: Mapping[str, float] = field(default_factory=dict)
    worst: tuple[ShadowedQuery, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the values for JSON; what is not kept of a query is left out."""
        kept = [
            {name: value for name, value in asdict(each).items() if value is not None}
            for each in self.worst
        ]
        return {**asdict(self), "worst": kept}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that ``to_json`` wrote."""
        entries = [{name: _frozen(value) for name, value in e.items()} for e in values["worst"]]
        worst = tuple(ShadowedQuery(**each) for each in entries)
        return cls(**{**values, "worst": worst})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class ShadowFigures:
    """Collects the figures; its methods may be called from any thread."""

    def __init__(self) -> None:
        """Start without requests."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._overlaps, self._compared = 0.0, 0
        self._recent: deque[ShadowedQuery] = deque(maxlen=RECENT)

    def count(self, name: str) -> None:
        """Count a request: ``requests``, ``skipped`` or ``dropped``."""
        with self._lock:
            self._counts[name] += 1

    def fail(self, error: Exception) -> bool:
        """Count a failure, and return whether it is the first of its type."""
        with self._lock:
            name = type(error).__name__
            self._failures[name] += 1
            return self._failures[name] == 1

    def add(self, query: ShadowedQuery, changes: RankChanges) -> None:
        """Add a comparison."""
        with self._lock:
            self._counts["shadowed"] += 1
            self._counts["identical"] += changes.identical
            self._counts["missing"] += changes.only_old
            if changes.overlap is not None:
                self._overlaps += changes.overlap
                self._compared += 1
            self._recent.append(query)

    def report(self) -> ShadowReport:
        """Return the present figures."""
        with self._lock:
            counts, failures = self._counts.copy(), dict(self._failures)
            overlaps, compared, recent = self._overlaps, self._compared, list(self._recent)
        shadowed = counts["shadowed"]
        worst = sorted(
            (each for each in recent if each.overlap is not None and each.overlap < 1),
            key=lambda each: (each.overlap, each.rbo),
        )
        return ShadowReport(
            requests=counts["requests"],
            skipped=counts["skipped"],
            shadowed=shadowed,
            dropped=counts["dropped"],
            failed=sum(failures.values()),
            failures=failures,
            overlap=overlaps / compared if compared else None,
            identical=counts["identical"] / shadowed if shadowed else None,
            missing=counts["missing"],
            old_ms=_percentiles([each.old_ms for each in recent]),
            new_ms=_percentiles([each.new_ms for each in recent]),
            worst=tuple(worst[:_WORST]),
        )


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    if not times:
        return {}
    return {f"p{share}": round(float(np.percentile(times, share)), 4) for share in _SHARES}
