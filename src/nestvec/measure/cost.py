"""What each operating point costs in an engine, timed with the search that the engine deploys."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nestvec.codec.threads import one_thread
from nestvec.curve.point import Cost
from nestvec.engines.engine import Search, Trial
from nestvec.types import CodeKey, Embeddings, OperatingPoint

WARM_UP = 3
TIMED_QUERIES = 100
TIMED_K = 10
BATCH = 64
COLD_QUERIES = 10


def costs(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    trial: Trial,
    *,
    k: int = TIMED_K,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Cost]:
    """Count bytes and time searches: single ones on one thread, warm and cold, and a batch.

    The time of a single search includes fetching its ``k`` documents, which is measured once, on a
    sample of them.

    Args:
        points: What to run.
        queries: [n_queries, full_dim]; the first 100 are timed alone, the first 64 in a batch on
            all threads of FAISS, the first 10 with rescore codes that must be read from disk.
        trial: The engine's search over the corpus.
        k: How many results each search asks for.
        on_step: Called after each point.
    """
    measured: dict[OperatingPoint, Cost] = {}
    timer = _Timer(queries, k, trial, trial.lookup_ms(k))
    # Points with the same first stage follow each other, so that each scan is made once.
    for point in sorted(points, key=lambda point: point.stages[0].representation):
        measured[point] = timer.cost(point)
        on_step()
    return measured


_Read = tuple[tuple[int | None, CodeKey], ...]


@dataclass(frozen=True)
class _Timer:
    """Times a point's searches.

    Attributes:
        queries: [n_queries, full_dim].
        k: How many results each search asks for.
        trial: What is searched.
        lookup_ms: Of fetching k documents.
        read: Milliseconds of reading from disk, by the lengths of shortlists and the codes read.
    """

    queries: Embeddings
    k: int
    trial: Trial
    lookup_ms: float
    read: dict[_Read, float | None] = field(default_factory=dict)

    def cost(self, point: OperatingPoint) -> Cost:
        """Measure one point."""
        size = self.trial.bytes(point)
        search = self.trial.searcher(point)
        alone = np.array(self._alone(search)) + self.lookup_ms
        p50, p95, p99 = np.percentile(alone, (50, 95, 99)).tolist()
        qps = self._batch_qps(search)
        del search  # it maps the files that a cold search has to read
        reading = self._reading_ms(point, p50 - self.lookup_ms)
        return Cost(
            ram_bytes_per_vector=size.ram_per_vector,
            disk_bytes_per_vector=size.disk_per_vector,
            text_bytes_per_vector=size.text_per_vector,
            read_bytes_per_query=size.read_per_query,
            build_s=self.trial.build_s(point),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            lookup_ms=self.lookup_ms,
            batch_qps=qps,
            cold_p50_ms=None if reading is None else p50 + reading,
        )

    def _alone(self, search: Search) -> list[float]:
        """Return the milliseconds of each query searched alone on one thread."""
        queries = self.queries[:TIMED_QUERIES]
        with one_thread():
            for query in queries[:WARM_UP]:
                self._ms(search, query[None])
            return [self._ms(search, query[None]) for query in queries]

    def _batch_qps(self, search: Search) -> float:
        """Return the queries a second of a batch, on as many threads as FAISS has."""
        batch = self.queries[:BATCH]
        return len(batch) / self._ms(search, batch) * 1000

    def _reading_ms(self, point: OperatingPoint, warm_ms: float) -> float | None:
        """Return how much longer a single query takes whose rescore codes are on disk only.

        Measured once for all points that read as many rows of the same codes: which first stage
        names the rows does not change what reading them costs.
        """
        read = tuple((stage.keep, later.representation) for stage, later in pairwise(point.stages))
        if read not in self.read:
            cold_ms = self._cold_p50_ms(point)
            self.read[read] = None if cold_ms is None else max(0.0, cold_ms - warm_ms)
        return self.read[read]

    def _cold_p50_ms(self, point: OperatingPoint) -> float | None:
        reads, times = _reads_from_disk(), []
        with one_thread():
            for query in self.queries[:COLD_QUERIES]:
                search = self.trial.cold_searcher(point)
                if search is None:
                    return None
                times.append(self._ms(search, query[None]))
                del search  # what it read would stay in memory as long as it is mapped
        # A file system in memory, as /tmp may be, forgets nothing.
        return float(np.median(times)) if _reads_from_disk() > reads else None

    def _ms(self, search: Search, queries: Embeddings) -> float:
        start = time.perf_counter()
        search(queries, self.k)
        return (time.perf_counter() - start) * 1000


def _reads_from_disk() -> int:
    """Count the page faults so far that had to wait for a disk; 0 where nothing counts them."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
