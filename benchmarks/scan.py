"""Measure the speed of scanning codes of 1, 2 and 4 bits as product codes, and check the results.

One thread and one query at a time, with the codes of a real corpus. nestvec's scan (FAISS's
fast-scan with extra candidates and exact scores) is compared with FAISS's scalar quantizer on the
same bytes, and with float32. The share of the exact top 100 that each finds is recorded.

    python benchmarks/scan.py --demo nestvec-demo
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from nestvec.codec.codec import Codec
from nestvec.data.retrieval import load_dataset
from nestvec.engines.flat.scan import Scan
from nestvec.metrics.agreement import overlap
from nestvec.metrics.ranking import best
from nestvec.models.load import load_model
from nestvec.types import Embeddings, Precision, Rows
from record import record

K, REPETITIONS = 100, 5
PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "int4", "int2", "binary")


def main() -> None:
    """Time every precision at several dims, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("nestvec-demo"))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--documents", type=int, help="The first documents only. Default: all.")
    options = parser.parse_args()
    model, data = load_model(options.demo / "model"), load_dataset(options.demo / "data")
    texts = [each.content for each in data.corpus.values()][: options.documents]
    corpus = model.encode(texts, kind="document")
    queries = model.encode(list(data.queries.values())[: options.queries], kind="query")
    faiss.omp_set_num_threads(1)
    results = []
    for dim in (512, 128, 64):
        for precision in PRECISIONS:
            results.append(_measure(corpus, queries, dim, precision))
            print(results[-1], flush=True)
    settings = {"n": len(corpus), "queries": len(queries), "k": K, "threads": 1}
    print(record("scan", settings=settings, results=results))


def _measure(
    corpus: Embeddings, queries: Embeddings, dim: int, precision: Precision
) -> dict[str, object]:
    codec = Codec.fit(corpus, dim, precision)
    codes = codec.encode(corpus)
    exact = best(codec.prepare(queries) @ codec.decode(codes).T, K)[1]
    scan = Scan(codec, codes, empty=np.empty(0, np.int64))
    plain = codec.new_faiss_index()
    plain.add_sa_codes(codes)

    def search_plain(query: Embeddings) -> Rows:
        rows: Rows = plain.search(codec.prepare(query), K)[1]
        return rows

    ours, theirs = (
        _time(lambda query: scan.search(query, K)[1], queries),
        _time(search_plain, queries),
    )
    return {
        "dim": dim,
        "precision": precision,
        "bytes": codec.bytes_per_vector,
        "overlap@100": round(float(overlap(ours[1], exact, K).mean()), 5),
        "ms": ours[0],
        "scalar_quantizer_ms": theirs[0],
        "times_faster": round(float(np.median(theirs[0]) / np.median(ours[0])), 1),
    }


def _time(search: Callable[[Embeddings], Rows], queries: Embeddings) -> tuple[list[float], Rows]:
    """Return the mean milliseconds per query of each repetition, and the rows found."""
    found = np.concatenate([search(query[None]) for query in queries])  # also warms up
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for query in queries:
            search(query[None])
        times.append(round((time.perf_counter() - start) / len(queries) * 1000, 4))
    return times, found


if __name__ == "__main__":
    main()
