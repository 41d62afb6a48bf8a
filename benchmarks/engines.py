"""Compare nestvec's engines on the same vectors, queries and labels.

    python benchmarks/sentences.py --model nestvec-demo/model --out corpus --n 100000
    OMP_NUM_THREADS=1 python benchmarks/engines.py --folder corpus --record

Each engine loads the vectors, builds its search structures for its operating points, and is
searched without a filter and with filters that match 10 % and 1 % of the documents. Where nestvec
is compared with the engine's own client, both run the same stages and widths, in turns.
``--engines`` chooses engines by name; an engine whose packages are missing is left out and named.
Servers run from PyPI packages in a network namespace (Linux), with their default settings, except
for PostgreSQL's shared_buffers (2 GB).
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine_clients import BATCH, Native, Wanted, metadata_of
from engine_places import PLACES, Place, enter_namespace
from markdown_tables import results as recorded
from nestvec.engines.engine import Engine
from nestvec.engines.filters.where import Where
from nestvec.engines.manifest import Manifest, stored_for
from nestvec.engines.registry import engine_class
from nestvec.errors import MissingExtra
from nestvec.metrics.agreement import overlap
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint, Rows
from record import record
from speed_corpus import Corpus, K

CLIENTS = (1, 8, 32)
FILTERS = {"none": None, "10 %": "tenth = 3", "1 %": "hundredth = 3"}
TIMED, WARM_UP = 200, 20
FILTERED = 300  # queries with a filter, at most
SECONDS = 2.0
Search = Callable[[Embeddings], list[str]]


def main() -> None:
    """Measure the chosen engines; print and record the results after each engine."""
    options = _options()
    enter_namespace()
    corpus = Corpus(options.folder, options.n, options.work.resolve())
    settings = {
        **corpus.about,
        "documents": len(corpus.vectors),
        "timed_queries": TIMED,
        "filtered_queries": FILTERED,
        "documents_per_commit": BATCH,
    }
    results: dict[str, Any] = recorded("engines") if options.add else {}
    for name in options.engines:
        try:
            with PLACES[name](options.work / name) as place:
                results[name] = _measure(place, replace(corpus, n_queries=place.queries))
        except MissingExtra as error:
            results[name] = {"left_out": str(error)}
        print(json.dumps({name: results[name]}, indent=1), flush=True)
        if options.record:
            print(record("engines", settings=settings, results=results), flush=True)


def _measure(place: Place, corpus: Corpus) -> dict[str, Any]:
    exact = {name: _exact(corpus, where) for name, where in FILTERS.items()}
    kind, full_dim = engine_class(place.engine), corpus.vectors.shape[1]
    model = ModelInfo("benchmark", "b" * 64, full_dim, (full_dim,), "", True)
    points = [OperatingPoint.parse(text) for text in place.points]
    bare_s = place.bare_load(corpus.vectors)
    engine = kind.create(place.url("docs"), Manifest(model, stored_for(points[0]), points[0]))
    try:
        load_s = _load(engine, corpus)
        bare = None if bare_s is None else round(bare_s, 2)
        measured: dict[str, Any] = {
            "queries": len(corpus.queries),
            "load_s": load_s,
            "bare_load_s": bare,
        }
        for point in points:
            measured[str(point)] = _measure_point(engine, place, point, corpus, exact)
            print(point, json.dumps(measured[str(point)]), flush=True)
        return measured
    finally:
        engine.close()


def _measure_point(
    engine: Engine, place: Place, point: OperatingPoint, corpus: Corpus, exact: dict[str, Rows]
) -> dict[str, Any]:
    start = time.perf_counter()
    engine.use(point)
    engine.build_codes()
    build_s = time.perf_counter() - start
    size, stats = engine.bytes(), engine.stats()
    return {
        "build_s": round(build_s, 2),
        "settings": dict(stats.settings),
        "ram_bytes_per_vector": round(size.ram_per_vector, 1),
        "disk_bytes_per_vector": round(size.disk_per_vector, 1),
        "filters": {
            name: _searches(engine, corpus, where, exact[name]) for name, where in FILTERS.items()
        },
        "clients_qps": {n: _qps(engine, corpus.queries, n) for n in CLIENTS},
        "overhead": _overhead(engine, place, point, corpus.queries),
    }


def _load(engine: Engine, corpus: Corpus) -> float:
    start = time.perf_counter()
    for first in range(0, len(corpus.vectors), BATCH):
        block = np.array(corpus.vectors[first : first + BATCH])
        rows = range(first, first + len(block))
        documents = {str(row): Document("", "", metadata_of(row)) for row in rows}
        engine.add(documents, block, build_codes=False)
    return round(time.perf_counter() - start, 2)


def _exact(corpus: Corpus, where: str | None) -> Rows:
    """Return the best rows that match a filter, [n_queries, K]."""
    rows = np.arange(len(corpus.vectors))
    if where is not None:
        field, _, value = where.split()
        rows = rows[rows % {"tenth": 10, "hundredth": 100}[field] == int(value)]
    queries = corpus.queries if where is None else corpus.queries[:FILTERED]
    vectors, found = np.asarray(corpus.vectors[rows]), []
    for query in queries:
        found.append(rows[np.argsort(-(vectors @ query), kind="stable")[:K]])
    return np.stack(found)


def _searches(engine: Engine, corpus: Corpus, where: str | None, exact: Rows) -> dict[str, Any]:
    condition = None if where is None else Where.parse(where)

    def search(query: Embeddings) -> list[str]:
        return engine.search(query, K, where=condition).ids[0]

    found = np.full_like(exact, -1)
    for line, query in zip(found, corpus.queries, strict=False):
        ids = search(query[None])
        line[: len(ids)] = [int(id_) for id_ in ids]
    times = _times(search, corpus.queries)
    return {
        "overlap@10": round(float(overlap(found, exact, K).mean()), 4),
        "ndcg@10": None if where is not None else corpus.ndcg([found]),
        "fewest_results": int((found >= 0).sum(axis=1).min()),
        "p50_ms": round(float(np.percentile(times, 50)), 3),
        "p95_ms": round(float(np.percentile(times, 95)), 3),
    }


def _times(search: Search, queries: Embeddings) -> list[float]:
    for query in queries[:WARM_UP]:
        search(query[None])
    times = []
    for query in queries[:TIMED]:
        start = time.perf_counter()
        search(query[None])
        times.append((time.perf_counter() - start) * 1000)
    return times


def _overhead(
    engine: Engine, place: Place, point: OperatingPoint, queries: Embeddings
) -> dict[str, float] | None:
    """Time nestvec and the native client in turns, in milliseconds, and compare their results."""
    native = place.native(Wanted(point, K, dict(engine.stats().settings)))
    if native is None:
        return None
    both: tuple[Native, Native] = (lambda query: engine.search(query, K).ids[0], native)
    n = min(TIMED, len(queries))
    times, equal = np.zeros((2, n)), []
    for row in range(-WARM_UP, n):
        ids = []
        for number, search in enumerate(both):
            start = time.perf_counter()
            ids.append({*search(queries[[row]])})
            if row >= 0:
                times[number, row] = (time.perf_counter() - start) * 1000
        equal.append(len(ids[0] & ids[1]) / K)
    ours, theirs = np.median(times, axis=1).tolist()
    return {
        "nestvec_p50_ms": round(ours, 3),
        "native_p50_ms": round(theirs, 3),
        "equal_ids": round(float(np.mean(equal)), 4),
    }


def _qps(engine: Engine, queries: Embeddings, clients: int) -> float:
    """Return the queries per second of several threads, each with one query at a time."""
    counts, end = [0] * clients, time.perf_counter() + SECONDS

    def run(client: int) -> None:
        row = client
        while time.perf_counter() < end:
            engine.search(queries[row % len(queries)][None], K)
            row += clients
            counts[client] += 1

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / (time.perf_counter() - start), 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="Output of sentences.py.")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--engines", type=_names, default=list(PLACES))
    parser.add_argument("--work", type=Path, default=Path("engines-work"))
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--add", action="store_true", help="keep recorded results of others")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    return options


def _names(text: str) -> Sequence[str]:
    return text.split(",")


if __name__ == "__main__":
    main()
