"""Measure the cost of operating points in an engine: bytes, and times of the deployed search."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.threads import n_threads, one_thread
from nestvec.curve.point import Cost
from nestvec.engines.engine import Search, Trial
from nestvec.types import CodeKey, Embeddings, OperatingPoint, Precision

WARM_UP, WARM_S = 3, 0.05  # queries before the timing starts; after this time, no further ones
TIMED_QUERIES, LEAST_QUERIES = 100, 20
ENOUGH_S = 0.1  # after this time, LEAST_QUERIES are enough
STABLE_QUERIES, STABLE = 8, 0.05  # or fewer, if the times of a long scan deviate by at most 5 %
TIMED_K = 10
BATCH, LEAST_BATCH = 64, 20  # FAISS scores 20 or more queries with matrix products
ONE_BY_ONE = ("float16", "int8")  # FAISS scans these codes once for each query, on one thread
EACH_THREAD = 2  # queries of the smallest batch that is scanned one by one
BATCH_S = 0.2  # maximum duration of a larger batch than the least, estimated on one thread
COLD_QUERIES = 10


def costs(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    trial: Trial,
    *,
    k: int = TIMED_K,
    on_search: Callable[[OperatingPoint, Search], None] = lambda point, search: None,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Cost]:
    """Count bytes and time searches: single queries on one thread, warm and cold, and a batch.

    The time of a single search includes the lookup of ``k`` documents of a sample. Each search is
    followed by a lookup, as in use: a lookup moves the codes out of the processor's caches.

    Args:
        points: Operating points to measure.
        queries: [n_queries, full_dim]. The first 100 are timed one by one. After a tenth of a
            second, 20 are enough, or 8 if their times are stable. The first 64 are timed as a batch
            on all threads of FAISS, or fewer if one query is slow: at least 20, or 2 for each
            thread if FAISS scans the codes once for each query. The first 10 are timed with
            rescore codes that are read from disk.
        trial: The engine's search over the corpus.
        k: Number of results of each search.
        on_search: Called with each point and its search, before the search is timed.
        on_step: Called after each point.
    """
    measured: dict[OperatingPoint, Cost] = {}
    timer = _Timer(queries, k, trial)
    # Points with the same first stage share one scan.
    for _, group in groupby(sorted(points, key=_first), key=_first):
        warm = {}
        for point in group:
            warm[point] = timer.cost(point, on_search)
            on_step()
        # Cold searches come last: they drop files, which a warm search would have to load again.
        for point, cost in warm.items():
            measured[point] = replace(cost, cold_p50_ms=timer.cold_p50_ms(point, cost.p50_ms))
    return measured


def _first(point: OperatingPoint) -> CodeKey:
    return point.stages[0].representation


_Read = tuple[tuple[int | None, CodeKey], ...]


@dataclass(frozen=True)
class _Timer:
    """Times the searches of operating points.

    Attributes:
        queries: [n_queries, full_dim].
        k: Number of results of each search.
        trial: The engine's search over the corpus.
        warm_ms: Median times of the searches that were timed one by one, by point.
        read: Cached times of reading codes from disk, by shortlist lengths and representations.
    """

    queries: Embeddings
    k: int
    trial: Trial
    warm_ms: dict[OperatingPoint, float] = field(default_factory=dict)
    read: dict[_Read, float | None] = field(default_factory=dict)

    def cost(
        self, point: OperatingPoint, on_search: Callable[[OperatingPoint, Search], None]
    ) -> Cost:
        """Measure one point, with all data in memory."""
        size = self.trial.bytes(point)
        search = self.trial.searcher(point)
        on_search(point, search)
        searches, lookups = self._single_ms(search)
        share = self.trial.scanned_share(point)
        # The time of a scan is proportional to the number of documents.
        times = searches / share + lookups
        p50, p95, p99 = np.percentile(times, (50, 95, 99)).tolist()
        self.warm_ms[point] = single_ms = float(np.median(searches))
        qps = self._batch_qps(search, point.stages[0].precision, single_ms) * share
        return Cost(
            ram_bytes_per_vector=size.ram_per_vector,
            disk_bytes_per_vector=size.disk_per_vector,
            text_bytes_per_vector=size.text_per_vector,
            read_bytes_per_query=size.read_per_query,
            build_s=self.trial.build_s(point),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            lookup_ms=float(np.median(lookups)),
            batch_qps=qps,
            cold_p50_ms=None,
        )

    def cold_p50_ms(self, point: OperatingPoint, warm_p50_ms: float) -> float | None:
        """Return the median with rescore codes that are read from disk.

        Points that read the same number of rows of the same codes share one measurement of the
        additional time, because this time does not depend on the first stage. None if it cannot be
        measured. ``cost`` must have measured the point.
        """
        read = tuple((stage.keep, later.representation) for stage, later in pairwise(point.stages))
        if read not in self.read:
            cold_ms = self._cold_ms(point)
            reading = None if cold_ms is None else max(0.0, cold_ms - self.warm_ms[point])
            self.read[read] = reading
        additional = self.read[read]
        return None if additional is None else warm_p50_ms + additional

    def _single_ms(self, search: Search) -> NDArray[np.float64]:
        """Time queries one at a time on one thread: searches and lookups, [2, n_queries]."""
        queries, times = self.queries[:TIMED_QUERIES], []
        with one_thread():
            start = time.perf_counter()
            for query in queries[:WARM_UP]:
                self._ms(search, query[None])
                if time.perf_counter() - start > WARM_S:
                    break
            start = time.perf_counter()
            for query in queries:
                times.append((self._ms(search, query[None]), self.trial.lookup_ms(self.k)))
                if time.perf_counter() - start > ENOUGH_S and _are_enough(times):
                    break
        return np.array(times).T

    def _batch_qps(self, search: Search, first: Precision, single_ms: float) -> float:
        """Return the queries per second of a batch, on all threads of FAISS."""
        least = LEAST_BATCH
        if first in ONE_BY_ONE:
            least = min(least, EACH_THREAD * n_threads())
        within = int(BATCH_S * 1000 / max(single_ms, 1e-3))
        batch = self.queries[: min(BATCH, max(least, within))]
        return len(batch) / self._ms(search, batch) * 1000

    def _cold_ms(self, point: OperatingPoint) -> float | None:
        reads, times = _reads_from_disk(), []
        with one_thread():
            for query in self.queries[:COLD_QUERIES]:
                search = self.trial.cold_searcher(point)
                if search is None:
                    return None
                times.append(self._ms(search, query[None]))
                del search  # its mapping would keep the codes in memory
        # Without page faults, the files are on a file system in memory, as /tmp can be.
        return float(np.median(times)) if _reads_from_disk() > reads else None

    def _ms(self, search: Search, queries: Embeddings) -> float:
        start = time.perf_counter()
        search(queries, self.k)
        return (time.perf_counter() - start) * 1000


def _are_enough(times: Sequence[tuple[float, float]]) -> bool:
    """Return whether more queries would hardly change the percentiles of the search times."""
    if not STABLE_QUERIES <= len(times) < LEAST_QUERIES:
        return len(times) >= LEAST_QUERIES
    searches = [search for search, _ in times]
    return float(np.std(searches)) <= STABLE * float(np.mean(searches))


def _reads_from_disk() -> int:
    """Return the number of page faults so far that read from disk; 0 if it is not known."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
