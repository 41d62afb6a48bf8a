"""Measure the embedded engine as a service: opening, many readers, cold disk, bandwidth."""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.filters.where import Where
from nestvec.engines.flat.scan import Scan
from nestvec.measure.cost import _reads_from_disk as reads_from_disk
from nestvec.types import Embeddings, Hits, Precision
from speed_clock import (
    Numbers,
    bytes_from_disk,
    grown,
    latencies,
    memory,
    one_at_a_time,
    run_on,
    stopwatch,
    summary,
    threads_at_once,
)
from speed_contenders import FIELD
from speed_corpus import Corpus, K

READERS = (1, 8, 32)
COLD_QUERIES, FILTERED_QUERIES = 300, 300
_SHARES = (1, 10, 50)  # percent of the documents that match a filter
_REPETITIONS = 20
_SCANNED: tuple[tuple[int, Precision], ...] = ((512, "binary"), (256, "binary"), (512, "int4"))


def opening(corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """Open an index with FAISS already imported; return the time, the memory and its codes."""
    with stopwatch() as importing:
        import_module("faiss")
    before = memory()
    with stopwatch() as taken:
        index = EmbeddedEngine(corpus.place(options.name))
    return {
        "importing_faiss": importing,
        "opening": taken,
        "grown": grown(before),
        "codes_mb": round(index.stats().resident_bytes / 2**20, 1),
    }


def threads(corpus: Corpus, options: argparse.Namespace) -> list[Numbers]:
    """Search one open index from 1, 8 and 32 threads, without FAISS's own threads."""
    # FAISS's setter affects only the calling thread; threads started later read this variable.
    os.environ["OMP_NUM_THREADS"] = "1"
    index = EmbeddedEngine(corpus.place(options.name))
    search = partial(_search, index)
    one_at_a_time(search, corpus.queries, 0.5)
    return [threads_at_once(search, corpus.queries, n, options.seconds) for n in READERS]


def cold(corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """Search with no vector in memory: the index is opened, then its files are dropped."""
    _one_thread()
    folder = corpus.place(options.name)
    index = EmbeddedEngine(folder)
    for file in (folder / "vectors").iterdir():
        _drop(file)
    search, before = partial(_search, index), (reads_from_disk(), bytes_from_disk())
    taken = latencies(search, corpus.queries[:COLD_QUERIES], seconds=60)
    reads = round((reads_from_disk() - before[0]) / len(taken), 1)
    kilobytes = round((bytes_from_disk() - before[1]) / len(taken) / 1024, 1)
    warm = summary(latencies(search, corpus.queries[:COLD_QUERIES], seconds=60))
    from_disk = {"reads_per_query": reads, "kb_per_query": kilobytes}
    return {"cold": summary(taken) | from_disk, "warm": warm}


def filtered(corpus: Corpus, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Search in turns without a filter and with filters that select a share of the documents."""
    _one_thread()
    run_on({sorted(os.sched_getaffinity(0))[-1]})
    index = EmbeddedEngine(corpus.place(options.name))
    filters = {share: Where.parse(f"{FIELD} < {share}") for share in _SHARES}
    taken: dict[int, list[float]] = {100: [], **{share: [] for share in filters}}
    for query in corpus.queries[:FILTERED_QUERIES]:
        for share, seconds in taken.items():
            start = time.perf_counter()
            index.search(query[None], K, where=filters.get(share))
            seconds.append(time.perf_counter() - start)
    return [{"share_percent": share, **summary(each[3:])} for share, each in taken.items()]


def bandwidth(corpus: Corpus, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare the bytes per second of a scan with those of summing and copying the same bytes."""
    _one_thread()
    run_on({sorted(os.sched_getaffinity(0))[-1]})
    rows = []
    for dim, precision in _SCANNED:
        codec = Codec.fit(np.ascontiguousarray(corpus.vectors[:50_000]), dim, precision)
        blocks = np.array_split(np.arange(corpus.n), max(1, corpus.n // 50_000))
        codes = np.concatenate([codec.encode(corpus.vectors[rows_]) for rows_ in blocks])
        scan = Scan(codec, codes, empty=np.empty(0, np.int64))
        words = codes.reshape(-1).view(np.uint64)
        copy = np.empty_like(words)
        seconds = {
            "scan": _median(lambda query, scan=scan: scan.search(query[None], 100), corpus.queries),
            "sum": _median(lambda _, words=words: words.sum(), corpus.queries),
            "copy": _median(lambda _, a=copy, b=words: np.copyto(a, b), corpus.queries),
        }
        rates = {f"{name}_gb_s": round(codes.nbytes / s / 1e9, 2) for name, s in seconds.items()}
        rows.append({"codes": f"{dim}:{precision}", "mb": round(codes.nbytes / 2**20, 1), **rates})
    return rows


def _search(index: EmbeddedEngine, query: Embeddings) -> Hits:
    return index.search(query, K)


def _median(work: Any, queries: Embeddings) -> float:
    taken = []
    for query in queries[: _REPETITIONS + 3]:
        start = time.perf_counter()
        work(query)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[3:]))


def _one_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)


def _drop(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
