"""What each operating point costs, measured with the code that a deployed index runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import numpy as np

from nestvec.curve_point import Cost
from nestvec.evaluate.representations import Representations
from nestvec.index.scan import Scan
from nestvec.index.staged import Bytes, Rescorer, StagedSearch
from nestvec.types import Embeddings, OperatingPoint, Precision

WARM_UP = 3
TIMED_QUERIES = 100
TIMED_K = 10


def costs(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    *,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Cost]:
    """Count bytes and time single searches, warm, on one thread of FAISS.

    Args:
        points: What to run.
        queries: [n_queries, full_dim]; the first 100 are timed.
        corpus: What to search.
        on_step: Called after each point.
    """
    measured: dict[OperatingPoint, Cost] = {}
    with _one_thread():
        # Points with the same first stage stand together, so that each scan is made once.
        for key, group in groupby(sorted(points, key=_first), key=_first):
            scan = Scan(corpus[key].codec, corpus[key].codes, empty=corpus.empty)
            for point in group:
                measured[point] = _cost(point, scan, queries, corpus)
                on_step()
    return measured


def _first(point: OperatingPoint) -> tuple[int, Precision]:
    return point.stages[0].representation


def _cost(point: OperatingPoint, scan: Scan, queries: Embeddings, corpus: Representations) -> Cost:
    made = {stage.representation: corpus[stage.representation] for stage in point.stages}
    later = [made[stage.representation] for stage in point.stages[1:]]
    rescorers = [Rescorer(each.codec, each.codes, corpus.empty) for each in later]
    times = _time(StagedSearch(point, scan, rescorers), queries[:TIMED_QUERIES])
    size = Bytes.of(point, {key: each.codec for key, each in made.items()})
    p50, p95, p99 = np.percentile(times, (50, 95, 99)).tolist()
    return Cost(
        ram_bytes_per_vector=size.ram_per_vector,
        disk_bytes_per_vector=size.disk_per_vector,
        read_bytes_per_query=size.read_per_query,
        build_s=sum(each.build_s for each in made.values()),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def _time(search: StagedSearch, queries: Embeddings) -> list[float]:
    """Return the milliseconds of each query searched alone."""
    for query in queries[:WARM_UP]:
        search.search(query[None], TIMED_K)
    times = []
    for query in queries:
        start = time.perf_counter()
        search.search(query[None], TIMED_K)
        times.append((time.perf_counter() - start) * 1000)
    return times


@contextmanager
def _one_thread() -> Iterator[None]:
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
