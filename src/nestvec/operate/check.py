"""Compare the results of a search in use with exact answers.

Every query is searched once as its users do, one at a time, and timed. Then the vectors are read
once for the exact answers of all queries. ``losses`` tells the causes of a loss apart.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.where import Where
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.machine import describe_machine
from nestvec.operate.answers import ComparedResults, compare, without_own
from nestvec.operate.check_report import CheckReport, FilterCheck, Losses, Remedy
from nestvec.operate.drift import DriftOptions, check_drift
from nestvec.operate.exact import LiveQueries
from nestvec.operate.live.database import ExactAnswers, LiveDatabase, Settings, TableSearch
from nestvec.operate.live.indexes import LiveIndex
from nestvec.operate.live.opening import open_live
from nestvec.operate.losses import PointRankings, Variant
from nestvec.operate.relevance_check import Labels
from nestvec.operate.thresholds import ScoreThreshold, fit_threshold
from nestvec.sources.logged_queries import LoggedQueries
from nestvec.types import Encoder

SPLIT_QUERIES = 100
"""Most queries for which a changed setting is tried, or that are answered without an index."""
GOOD_OVERLAP = 0.99
"""Remedies are sought for a lower overlap than this, and than ``min_overlap``."""
_WARM_UP = 5  # searches before the timed ones


@dataclass(frozen=True)
class CheckOptions:
    """What is checked.

    Attributes:
        ks: Numbers of results, ascending. The largest is searched for.
        min_overlap: The lowest mean overlap at the largest k that passes; None for none.
        min_retention: The lowest share of relevance that passes; None for none.
        labels: Relevance labels; None for none.
        sampled: Number of documents that serve as queries if there is no log.
        seed: Seed of the samples.
        search: How a table is searched.
        drift: How the model and the documents of an index are compared with earlier ones.
        threshold: Whether to fit a score threshold to the labels; only for an index.
    """

    ks: tuple[int, ...] = (10,)
    min_overlap: float | None = None
    min_retention: float | None = None
    labels: Labels | None = None
    sampled: int = 500
    seed: int = 0
    search: TableSearch = field(default_factory=TableSearch)
    drift: DriftOptions = field(default_factory=DriftOptions)
    threshold: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InvalidArgument: If a value is outside its limits.
        """
        if not self.ks or min(self.ks) < 1 or list(self.ks) != sorted(set(self.ks)):
            problem = f"ks={self.ks} are not ascending numbers of at least 1."
            raise InvalidArgument(f"{problem} Example: (1, 10).")
        for name in ("min_overlap", "min_retention"):
            check_threshold(name, getattr(self, name))
        if self.min_retention is not None and self.labels is None:
            raise InvalidArgument("min_retention needs relevance labels. Pass a file of qrels.")
        if self.threshold and self.labels is None:
            raise InvalidArgument("threshold needs relevance labels. Pass a file of qrels.")
        if self.sampled < 1:
            raise InvalidArgument(f"sampled={self.sampled} is below 1. Choose 1 or more.")


def check_threshold(name: str, value: float | None) -> None:
    """Check the lowest share that passes; None for none.

    Raises:
        InvalidArgument: If it is not above 0 and at most 1.
    """
    if value is not None and not 0 < value <= 1:
        raise InvalidArgument(f"{name}={value:g} is not above 0 and at most 1. Example: .95.")


class _Results(NamedTuple):
    """Results of the search in use, and the milliseconds of each query."""

    ids: list[list[str]]
    ms: NDArray[np.float64]


def check_search(
    place: Path | str,
    queries: LoggedQueries | None = None,
    options: CheckOptions | None = None,
    *,
    model: Encoder | None = None,
) -> CheckReport:
    """Measure what a search in use loses. Nothing is changed.

    Args:
        place: The path or URL of an index, or the URL of a table of PostgreSQL.
        queries: The queries; None to use sampled documents, each without finding itself.
        options: What is checked.
        model: The model of the vectors, for queries that are texts. An index loads its own.

    Raises:
        DataError: If there is no such table or index, or the database refuses a statement.
        InvalidArgument: If a filter cannot be parsed, texts have no model, or an option needs an
            index of nestvec.
        ModelError: If canaries are requested, and the model of the index cannot encode them.
    """
    options = options or CheckOptions()
    with open_live(place, options.search, model) as live:
        drift = check_drift(live, options.drift)
        check = _Check(live, queries, options)
        threshold = check.threshold() if options.threshold else None
        report = replace(check.report(), threshold=threshold)
        return replace(report, canaries=drift.canaries, calibration=drift.calibration)


class _Check:
    """One check of an open search."""

    def __init__(
        self, live: LiveDatabase, log: LoggedQueries | None, options: CheckOptions
    ) -> None:
        self._live, self._log, self._options = live, log, options
        self._own: Sequence[str] = ()  # the ids of documents that serve as queries
        if log is None:
            self._own, values = live.sample(options.sampled, options.seed)
            if not self._own:
                raise DataError(live.place, "has no documents. Add documents first.")
            self._queries = LiveQueries(values, [], np.full(len(values), -1))
        else:
            self._queries = live_queries(live, log)
        self._k = options.ks[-1]
        self._some = self._draw()

    def report(self) -> CheckReport:
        """Search, find the exact answers, and compare."""
        everything = range(len(self._queries.values))
        for query in everything[:_WARM_UP]:
            self._search([query])
        found = self._search(everything)
        rankings, plain = self._rankings()
        start = time.perf_counter()
        observer = None if rankings is None else rankings.add
        exact = self._live.exact(self._queries, self._k + bool(self._own), observer)
        seconds = time.perf_counter() - start
        if self._own:
            exact = without_own(exact, self._own, self._k)
        compared = self._compare(found.ids, exact, everything)
        report = self._summary(found, exact, compared, exact_s=seconds)
        target = max(GOOD_OVERLAP, self._options.min_overlap or 0)
        remedies: list[Remedy] = []
        if rankings is not None:
            losses, remedies = self._losses(rankings, plain, exact, compared)
            report = replace(report, losses=losses)
        elif self._is_precise:  # only the index can lose results
            losses = Losses(0.0, 0.0, 1 - report.overlap, report.queries)
            report = replace(report, losses=losses)
        if report.overlap < target:
            other = self._other_settings(exact, compared, target)
            remedies = other + _enough(remedies, target)
            report = replace(report, remedies=tuple(remedies))
        return report

    def threshold(self) -> ScoreThreshold:
        """Fit a score threshold on the results of the queries that have labels."""
        labels, log = self._options.labels, self._log
        if not isinstance(self._live, LiveIndex) or labels is None or log is None:
            problem = "a score threshold needs an index of nestvec, a log and relevance labels"
            raise InvalidArgument(f"{problem}, but {self._live.place} is a table.")
        hits, own = self._live.hits(self._queries, self._k), labels.labeled(log.ids)
        rows = [row for row, id_ in enumerate(log.ids) if id_ in own]
        relevant = [
            [own[log.ids[row]].get(document, 0) > 0 for document in hits.ids[row]] for row in rows
        ]
        scores = [hits.scores[row] for row in rows]
        return fit_threshold(scores, relevant, seed=self._options.seed)

    def _summary(
        self, found: _Results, exact: ExactAnswers, compared: ComparedResults, *, exact_s: float
    ) -> CheckReport:
        path, options, live = self._live.path, self._options, self._live
        retention = None
        if options.labels is not None and self._log is not None:
            retention = options.labels.retention(self._log.ids, found.ids, exact.ids)
        return CheckReport(
            place=str(live.place),
            documents=exact.total,
            zeros=exact.zeros,
            dim=live.dim,
            metric=live.metric,
            index=path.index,
            point="" if path.point is None else str(path.point),
            width="" if path.width is None else f"{path.width.name} = {path.width.value}",
            source="log" if self._log is not None else "sampled documents",
            queries=len(found.ids),
            counts={} if self._log is None else dict(self._log.counts),
            overlaps=tuple(compared.at(k) for k in options.ks),
            filters=self._by_filter(found, exact, compared),
            latency_ms={
                f"p{share}_ms": float(np.percentile(found.ms, share)) for share in (50, 95, 99)
            },
            exact_s=exact_s,
            unused_index=path.unused,
            retention=retention,
            min_overlap=options.min_overlap,
            min_retention=options.min_retention,
            seed=options.seed,
            checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=describe_machine(),
        )

    def _search(self, queries: Sequence[int], settings: Settings | None = None) -> _Results:
        """Search for some queries, one at a time."""
        ids, times = [], []
        for query in queries:
            start = time.perf_counter()
            found = self._live.search(
                self._queries.values[query],
                self._k + bool(self._own),
                self._queries.condition(query),
                settings,
            )
            times.append((time.perf_counter() - start) * 1000)
            if self._own:
                found = [id_ for id_ in found if id_ != self._own[query]]
            ids.append(found[: self._k])
        return _Results(ids, np.array(times))

    def _compare(
        self, found: Sequence[Sequence[str]], exact: ExactAnswers, queries: Sequence[int]
    ) -> ComparedResults:
        answers = exact._replace(
            ids=[exact.ids[query] for query in queries],
            scores=[exact.scores[query] for query in queries],
        )
        values, live = self._queries.values[queries], self._live
        return compare(found, answers, values, live.metric, vectors=live.vectors)

    def _by_filter(
        self, found: _Results, exact: ExactAnswers, compared: ComparedResults
    ) -> tuple[FilterCheck, ...]:
        overlap, short = compared.overlap(self._k), compared.short(self._k)
        rows = []
        for group in np.unique(self._queries.groups):
            lines = self._queries.groups == group
            condition = "" if group < 0 else str(self._queries.conditions[group])
            matching = exact.total if group < 0 else exact.matching[group]
            rows.append(
                FilterCheck(
                    condition,
                    int(lines.sum()),
                    matching,
                    float(overlap[lines].mean()),
                    int(short[lines].sum()),
                    float(np.median(found.ms[lines])),
                )
            )
        return tuple(rows)

    def _draw(self) -> list[int]:
        """Draw the queries for which settings are tried."""
        n = len(self._queries.values)
        drawn = np.random.default_rng(self._options.seed).permutation(n)[:SPLIT_QUERIES]
        return sorted(drawn.tolist())

    @property
    def _is_precise(self) -> bool:
        """Whether the search compares all dims and bits of the vectors."""
        point = self._live.path.point
        return point is not None and all(
            stage.precision == "float32" and stage.dim == self._live.dim for stage in point.stages
        )

    def _rankings(self) -> tuple[PointRankings | None, list[int]]:
        """Return the rankings without an index, if a loss can have several causes.

        The point must be known, and have fewer dims or bits than the vectors. Only queries without
        a filter are answered.
        """
        point = self._live.path.point
        plain = [query for query in self._some if self._queries.groups[query] < 0]
        if point is None or self._is_precise or not plain:
            return None, []
        values, k = self._queries.values[plain], self._k + bool(self._own)
        return PointRankings(values, point, self._live.codec, k=k), plain

    def _losses(
        self,
        rankings: PointRankings,
        queries: Sequence[int],
        exact: ExactAnswers,
        compared: ComparedResults,
    ) -> tuple[Losses, list[Remedy]]:
        ranked = rankings.rank(self._live.vectors_of_rows)
        overlaps: dict[Variant, float] = {}
        for variant, rows in ranked.items():
            ids = [self._live.ids_of_rows(each) for each in rows]
            if self._own:
                pairs = zip(ids, queries, strict=True)
                ids = [[id_ for id_ in each if id_ != self._own[query]] for each, query in pairs]
            ids = [each[: self._k] for each in ids]
            overlap = self._compare(ids, exact, queries).overlap(self._k)
            overlaps[variant] = float(overlap.mean())
        dims, bits = overlaps[Variant(True)], overlaps[Variant(False)]
        live = float(compared.overlap(self._k, queries).mean())
        point = self._live.path.point
        keep = None if point is None else point.stages[0].keep
        remedies = [
            Remedy(f"a shortlist of {(keep or 0) * variant.longer}", overlap, None)
            for variant, overlap in overlaps.items()
            if not variant.precise and variant.longer > 1
        ]
        return Losses(1 - dims, dims - bits, bits - live, len(queries)), remedies

    def _other_settings(
        self, exact: ExactAnswers, compared: ComparedResults, target: float
    ) -> list[Remedy]:
        """Search some queries with other settings, until one reaches the target."""
        short = bool(compared.short(self._k).any())
        remedies: list[Remedy] = []
        for settings in self._live.alternatives(short=short):
            found = self._search(self._some, settings)
            overlap = self._compare(found.ids, exact, self._some).overlap(self._k)
            name = ", ".join(f"{name} = {value}" for name, value in settings.items())
            remedies.append(Remedy(name, float(overlap.mean()), float(np.median(found.ms))))
            if remedies[-1].overlap >= target:
                break
        return remedies


def _enough(remedies: list[Remedy], target: float) -> list[Remedy]:
    """Return the remedies up to the first that reaches the target."""
    first = next((n for n, each in enumerate(remedies) if each.overlap >= target), None)
    return remedies if first is None else remedies[: first + 1]


def live_queries(live: LiveDatabase, log: LoggedQueries) -> LiveQueries:
    """Return the queries of a log as vectors that search a database, with their filters.

    Raises:
        NestvecError: If a filter cannot be parsed, or the queries do not fit the database.
    """
    values = live.encode(list(log.texts) if log.vectors is None else log.vectors)
    distinct = list(dict.fromkeys(text for text in log.filters if text))
    groups = [distinct.index(text) if text else -1 for text in log.filters]
    return LiveQueries(values, [Where.parse(text) for text in distinct], np.array(groups))
