"""What each operating point costs, measured with the code that a deployed index runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import numpy as np

from nestvec.codec.threads import one_thread
from nestvec.curve.point import Cost
from nestvec.engines.flat.scan import Scan
from nestvec.engines.flat.staged import Bytes, Rescorer, StagedSearch
from nestvec.measure.cold import ColdCodes, can_forget, reads_from_disk
from nestvec.measure.representations import Key, Representations
from nestvec.types import Embeddings, OperatingPoint

WARM_UP = 3
TIMED_QUERIES = 100
TIMED_K = 10
BATCH = 64
COLD_QUERIES = 10


def costs(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    *,
    k: int = TIMED_K,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Cost]:
    """Count bytes and time searches: single ones on one thread, warm and cold, and a batch.

    Args:
        points: What to run.
        queries: [n_queries, full_dim]; the first 100 are timed alone, the first 64 in a batch on
            all threads of FAISS, the first 10 with rescore codes that must be read from disk.
        corpus: What to search.
        k: How many results each search asks for.
        on_step: Called after each point.
    """
    measured: dict[OperatingPoint, Cost] = {}
    with ColdCodes() as cold:
        timer = _Timer(queries, k, corpus, cold)
        # Points with the same first stage stand together, so that each scan is made once.
        for key, group in groupby(sorted(points, key=_first), key=_first):
            scan = Scan(corpus[key].codec, corpus[key].codes, empty=corpus.empty)
            for point in group:
                measured[point] = _cost(point, scan, timer)
                on_step()
    return measured


def _first(point: OperatingPoint) -> Key:
    return point.stages[0].representation


_Read = tuple[tuple[int | None, Key], ...]


@dataclass(frozen=True)
class _Timer:
    """Times a point's searches.

    Attributes:
        queries: [n_queries, full_dim].
        k: How many results each search asks for.
        corpus: What is searched.
        cold: Where codes lie that are read from disk.
        read: What reading takes, by the lengths of shortlists and the codes that they are read of.
    """

    queries: Embeddings
    k: int
    corpus: Representations
    cold: ColdCodes
    read: dict[_Read, float | None] = field(default_factory=dict)

    def alone(self, search: StagedSearch) -> list[float]:
        """Return the milliseconds of each query searched alone on one thread."""
        queries = self.queries[:TIMED_QUERIES]
        with one_thread():
            for query in queries[:WARM_UP]:
                self._ms(search, query[None])
            return [self._ms(search, query[None]) for query in queries]

    def batch_qps(self, search: StagedSearch) -> float:
        """Return the queries a second of a batch, on as many threads as FAISS has."""
        batch = self.queries[:BATCH]
        return len(batch) / self._ms(search, batch) * 1000

    def reading_ms(self, point: OperatingPoint, scan: Scan, warm_ms: float) -> float | None:
        """Return what a single query takes longer where its rescore codes lie on disk only.

        Measured once for all points that read as many rows of the same codes: which first stage
        names the rows does not change what it takes to read them.
        """
        if len(point.stages) == 1 or not can_forget():
            return None
        read = tuple((stage.keep, later.representation) for stage, later in pairwise(point.stages))
        if read not in self.read:
            cold_ms = self._cold_p50_ms(point, scan)
            self.read[read] = None if cold_ms is None else max(0.0, cold_ms - warm_ms)
        return self.read[read]

    def _cold_p50_ms(self, point: OperatingPoint, scan: Scan) -> float | None:
        reads = reads_from_disk()
        with one_thread():
            times = [
                # Made again for each: what the last query read is still mapped in its search.
                self._ms(StagedSearch(point, scan, self._rescorers(point, cold=True)), query[None])
                for query in self.queries[:COLD_QUERIES]
            ]
        # A file system in memory, as /tmp may be, forgets nothing.
        return float(np.median(times)) if reads_from_disk() > reads else None

    def warm(self, point: OperatingPoint, scan: Scan) -> StagedSearch:
        """Return the search with all codes in memory."""
        return StagedSearch(point, scan, self._rescorers(point, cold=False))

    def _rescorers(self, point: OperatingPoint, *, cold: bool) -> list[Rescorer]:
        rescorers = []
        for key in (stage.representation for stage in point.stages[1:]):
            made = self.corpus[key]
            codes = self.cold.map(key, made.codes) if cold else made.codes
            rescorers.append(Rescorer(made.codec, codes, self.corpus.empty))
        return rescorers

    def _ms(self, search: StagedSearch, queries: Embeddings) -> float:
        start = time.perf_counter()
        search.search(queries, self.k)
        return (time.perf_counter() - start) * 1000


def _cost(point: OperatingPoint, scan: Scan, timer: _Timer) -> Cost:
    made = {stage.representation: timer.corpus[stage.representation] for stage in point.stages}
    size = Bytes.of(point)
    search = timer.warm(point, scan)
    p50, p95, p99 = np.percentile(timer.alone(search), (50, 95, 99)).tolist()
    reading = timer.reading_ms(point, scan, p50)
    return Cost(
        ram_bytes_per_vector=size.ram_per_vector,
        disk_bytes_per_vector=size.disk_per_vector,
        read_bytes_per_query=size.read_per_query,
        build_s=sum(each.build_s for each in made.values()),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        batch_qps=timer.batch_qps(search),
        cold_p50_ms=None if reading is None else p50 + reading,
    )
