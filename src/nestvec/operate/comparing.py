"""Compare two searches on the same queries: their results, relevance, latency and bytes.

``check`` compares one search with exact answers. Here, neither side is the truth: without relevance
labels, a changed result is only a change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.threads import one_thread
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.machine import describe_machine
from nestvec.metrics.relevance import parse_metric
from nestvec.metrics.stats import lower_bound, ratio_lower_bounds
from nestvec.operate.check import check_threshold, live_queries
from nestvec.operate.compared_lists import (
    EPSILON,
    WORST_SHARE,
    QueryLists,
    SideResults,
    changed_most,
    worst_queries,
)
from nestvec.operate.compared_rankings import RankChanges, compare_rankings
from nestvec.operate.compared_sides import (
    DocumentIds,
    SearchedPlace,
    check_vectors,
    model_of,
    open_both,
    same_engine,
    sizes_of,
    titles_of,
)
from nestvec.operate.comparison_report import (
    ComparedSide,
    ComparisonReport,
    MissingDocuments,
    OverlapSummary,
    QueryComparison,
    RelevanceComparison,
)
from nestvec.operate.exact import LiveQueries
from nestvec.operate.live.database import LiveDatabase
from nestvec.operate.relevance_check import Labels
from nestvec.sources.logged_queries import LoggedQueries

_WARM_UP = 5  # queries before the timed ones
_QUANTILES = (1, 5, 10, 25, 50)
_BINS = 10


@dataclass(frozen=True)
class CompareOptions:
    """What is compared.

    Attributes:
        k: Number of results per query.
        min_overlap: The lowest mean overlap@k that passes; None for none.
        min_retention: The lowest share of the relevance of OLD that passes; None for none.
        labels: Relevance labels; None for none.
        sampled: Number of documents of OLD that serve as queries if there is no log.
        seed: Seed of the sample.
    """

    k: int = 10
    min_overlap: float | None = None
    min_retention: float | None = None
    labels: Labels | None = None
    sampled: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InvalidArgument: If a value is outside its limits.
        """
        for name in ("k", "sampled"):
            if getattr(self, name) < 1:
                problem = f"{name}={getattr(self, name)} is below 1."
                raise InvalidArgument(f"{problem} Choose 1 or more.")
        for name in ("min_overlap", "min_retention"):
            check_threshold(name, getattr(self, name))
        if self.labels is None and self.min_retention is not None:
            raise InvalidArgument("min_retention needs relevance labels. Pass a file of qrels.")
        if self.labels is not None and parse_metric(self.labels.metric).k > self.k:
            metric = self.labels.metric
            problem = f"metric {metric} needs {parse_metric(metric).k} results, and k is {self.k}."
            raise InvalidArgument(f"{problem} Choose a larger k, or another metric.")


def compare_searches(
    old: SearchedPlace,
    new: SearchedPlace,
    queries: LoggedQueries | None = None,
    options: CompareOptions | None = None,
) -> ComparisonReport:
    """Compare two searches on the same queries. Nothing is changed.

    Args:
        old: The search in use.
        new: The search that would replace it.
        queries: The queries; None to use sampled documents of OLD, each without finding itself.
        options: What is compared.

    Raises:
        DataError: If there is no index and no table at a place, or OLD has no documents.
        InvalidArgument: If both searches are the same, a filter cannot be parsed, texts have no
            model, or the vectors of one side cannot search the other.
    """
    with open_both(old, new) as (before, after):
        return _Comparison(before, after, queries, options or CompareOptions()).report()


class _Asked(NamedTuple):
    """The queries as both sides search for them.

    Attributes:
        ids: The id of each query.
        texts: The text of each query; "" if it is a vector.
        old: The vectors that search OLD, with filters.
        new: The vectors that search NEW.
        own: The ids of documents that serve as queries; empty for a log.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    old: LiveQueries
    new: LiveQueries
    own: Sequence[str]


class _Comparison:
    """One comparison of two open searches."""

    def __init__(
        self,
        old: LiveDatabase,
        new: LiveDatabase,
        log: LoggedQueries | None,
        options: CompareOptions,
    ) -> None:
        self._sides, self._log, self._options = (old, new), log, options
        self._k = options.k
        self._asked = _sampled(old, new, options) if log is None else _logged(old, new, log)

    def report(self) -> ComparisonReport:
        """Search both sides, and compare."""
        with one_thread():
            found = self._search()
        ids = [DocumentIds(side) for side in self._sides]
        if same_engine(*self._sides):
            ids[1] = ids[0]
        only = [
            {id_ for results in own.ids for id_ in results if id_ not in other}
            for own, other in zip(found, reversed(ids), strict=True)
        ]
        changes = compare_rankings(
            found[0].ids, found[1].ids, self._k, only_old=only[0], only_new=only[1]
        )
        relevance, scores = self._relevance(found)
        rows = self._rows(found, changes, scores)
        lists = QueryLists(self._sides, found, only, self._grades(), rows)
        options, log = self._options, self._log
        return ComparisonReport(
            old=_side(self._sides[0], len(ids[0]), found[0].ms),
            new=_side(self._sides[1], len(ids[1]), found[1].ms),
            k=self._k,
            source="sampled documents" if log is None else "log",
            counts={} if log is None else dict(log.counts),
            overlap=_overlaps(changes),
            only_old=_missing(ids[0], ids[1], [each.only_old for each in changes]),
            only_new=_missing(ids[1], ids[0], [each.only_new for each in changes]),
            queries=tuple(rows),
            worst=lists.of(worst_queries(rows)),
            losses=lists.of(changed_most(rows, sign=-1)),
            wins=lists.of(changed_most(rows, sign=1)),
            relevance=relevance,
            min_overlap=options.min_overlap,
            min_retention=options.min_retention,
            seed=options.seed,
            compared_at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=describe_machine(),
        )

    def _search(self) -> tuple[SideResults, SideResults]:
        """Search both sides for each query in turn; the side that goes first alternates."""
        n = len(self._asked.ids)
        for query in range(min(_WARM_UP, n)):
            for number in range(2):
                self._search_one(number, query)
        ids: tuple[list[list[str]], list[list[str]]] = ([], [])
        times = np.empty((2, n))
        for query in range(n):
            for number in (0, 1) if query % 2 == 0 else (1, 0):
                start = time.perf_counter()
                results = self._search_one(number, query)
                times[number, query] = (time.perf_counter() - start) * 1000
                if self._asked.own:
                    results = [id_ for id_ in results if id_ != self._asked.own[query]]
                ids[number].append(results[: self._k])
        return SideResults(ids[0], times[0]), SideResults(ids[1], times[1])

    def _search_one(self, number: int, query: int) -> list[str]:
        queries = self._asked.new if number else self._asked.old
        k = self._k + bool(self._asked.own)
        where = self._asked.old.condition(query)
        return self._sides[number].search(queries.values[query], k, where)

    def _grades(self) -> Mapping[str, Mapping[str, int]]:
        return {} if self._options.labels is None else self._options.labels.qrels

    def _relevance(
        self, found: Sequence[SideResults]
    ) -> tuple[RelevanceComparison | None, dict[str, tuple[float, float]]]:
        """Return the comparison by labels, and both scores of each query with labels."""
        labels, ids = self._options.labels, self._asked.ids
        if labels is None:
            return None, {}
        if self._log is None:
            raise InvalidArgument("labels need a log with the query ids of the labels.")
        old, new = (labels.scores(ids, side.ids) for side in found)
        if not old.any():
            problem = f"the results of OLD have a mean {labels.metric} of 0."
            raise InvalidArgument(f"{problem} Check the document ids of the labels.")
        change = new - old
        compared = RelevanceComparison(
            metric=labels.metric,
            queries=len(old),
            old=float(old.mean()),
            new=float(new.mean()),
            retention=float(new.mean() / old.mean()),
            retention_at_least=float(ratio_lower_bounds(new[None], old)[0]),
            wins=int((change > EPSILON).sum()),
            losses=int((change < -EPSILON).sum()),
            ties=int((np.abs(change) <= EPSILON).sum()),
            at_least=lower_bound(change),
            at_most=-lower_bound(-change),
        )
        pairs = zip(old.tolist(), new.tolist(), strict=True)
        return compared, dict(zip(labels.labeled(ids), pairs, strict=True))

    def _rows(
        self,
        found: Sequence[SideResults],
        changes: Sequence[RankChanges],
        scores: Mapping[str, tuple[float, float]],
    ) -> list[QueryComparison]:
        filters = [""] * len(changes) if self._log is None else self._log.filters
        rows = []
        for n, (id_, change) in enumerate(zip(self._asked.ids, changes, strict=True)):
            old_score, new_score = scores.get(id_, (None, None))
            rows.append(
                QueryComparison(
                    id=id_,
                    text=self._asked.texts[n],
                    filter=filters[n],
                    **change._asdict(),
                    old_ms=float(found[0].ms[n]),
                    new_ms=float(found[1].ms[n]),
                    old_score=old_score,
                    new_score=new_score,
                )
            )
        return rows


def _logged(old: LiveDatabase, new: LiveDatabase, log: LoggedQueries) -> _Asked:
    if log.vectors is not None:
        check_vectors(old, new, "the vectors of the log")
    before = live_queries(old, log)
    after = before
    if not same_engine(old, new):
        values = new.encode(list(log.texts) if log.vectors is None else log.vectors)
        after = before._replace(values=values)
    return _Asked(log.ids, log.texts, before, after, ())


def _sampled(old: LiveDatabase, new: LiveDatabase, options: CompareOptions) -> _Asked:
    check_vectors(old, new, "documents that serve as queries")
    own, values = old.sample(options.sampled, options.seed)
    if not own:
        raise DataError(old.place, "has no documents. Add documents first.")
    titles = titles_of([old], own)
    queries = LiveQueries(values, [], np.full(len(values), -1))
    return _Asked(own, [titles.get(id_, "") for id_ in own], queries, queries, own)


def _side(side: LiveDatabase, documents: int, ms: NDArray[np.float64]) -> ComparedSide:
    path, model, sizes = side.path, model_of(side), sizes_of(side)
    width = "" if path.width is None else f"{path.width.name} = {path.width.value}"
    return ComparedSide(
        place=str(side.place),
        search=", ".join(each for each in (path.index, width) if each),
        point="" if path.point is None else str(path.point),
        model="" if model is None else model.name,
        documents=documents,
        dim=side.dim,
        metric=side.metric,
        latency_ms={f"p{share}_ms": float(np.percentile(ms, share)) for share in (50, 95, 99)},
        ram_bytes=sizes.ram,
        disk_bytes=sizes.disk,
        unknown_bytes=sizes.unknown,
    )


def _missing(own: DocumentIds, other: DocumentIds, results: Sequence[int]) -> MissingDocuments:
    documents, examples = own.missing_from(other)
    affected = sum(count > 0 for count in results)
    return MissingDocuments(documents, examples, sum(results), affected)


def _overlaps(changes: Sequence[RankChanges]) -> OverlapSummary | None:
    known = [each for each in changes if each.overlap is not None]
    if not known:
        return None
    values = np.sort(np.array([each.overlap for each in known], dtype=np.float64))
    worst = values[: max(1, round(WORST_SHARE * len(values)))]
    bins = np.minimum((values * _BINS + EPSILON).astype(int), _BINS)
    return OverlapSummary(
        queries=len(known),
        mean=float(values.mean()),
        at_least=lower_bound(values, lowest=0.0),
        worst=float(worst.mean()),
        worst_queries=len(worst),
        rbo=float(np.mean([each.rbo for each in known])),
        identical=float(np.mean([not (e.entered or e.left or e.moved) for e in known])),
        same_documents=float(np.mean([not (each.entered or each.left) for each in known])),
        quantiles={f"p{share}": float(np.percentile(values, share)) for share in _QUANTILES},
        histogram=tuple(np.bincount(bins, minlength=_BINS + 1).tolist()),
    )
