"""Compare searches over HTTP with the same searches in a Python process, by queries per second.

    python benchmarks/serving_search.py nestvec-demo

Both sides search the same index with the same operating point and return the documents of the
results. In the process, 8 threads call ``Index.search`` and ``Index.get``. Over HTTP, 8 clients
send their next request after the last response, on the same processors as the server. The sides
take turns. Queries are vectors, and then texts that the static model of the demo encodes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np

import nestvec as nv
from record import record
from serving import NAME, cpu_seconds, running, short_texts
from serving_load import ask, post_request

_WORKERS = 8
_K = 10
_QUERIES = 4_000
_SHOWN = ("requests_per_s", "p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request")
Query = str | np.ndarray[Any, Any]


def main() -> None:
    """Measure, and write ``results/serving_search.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repetitions", type=int, default=5)
    settings = parser.parse_args()
    faiss.omp_set_num_threads(1)  # as in the server: several searches run at the same time
    texts = short_texts(settings.demo)[:_QUERIES]
    model = nv.load_model(settings.demo / "model")
    vectors = model.encode(texts, kind="query")
    command = [sys.executable, "-m", "nestvec.cli.main", "serve", str(settings.demo)]
    results: dict[str, Any] = {}
    with (
        nv.Index.open(settings.demo / "index", model=model) as index,
        running([*command, "--name", NAME, "--port"]) as (url, process),
    ):
        results["documents"], results["point"] = len(index), str(index.point)
        for name, queries in (("vectors", [*vectors[:, None]]), ("texts", texts)):
            requests = _requests(url, queries)
            turns = []
            for _ in range(settings.repetitions):
                turns.append(
                    {
                        "in_process": _in_process(index, queries, settings.seconds),
                        "http": _over_http(url, requests, settings.seconds, process.pid),
                    }
                )
            results[name] = {"turns": turns, "http_share": _share(turns)}
    print(json.dumps(results, indent=1))
    chosen = {name: str(value) for name, value in vars(settings).items()}
    print(record("serving_search", settings={**chosen, "workers": _WORKERS}, results=results))


def _requests(url: str, queries: Sequence[Query]) -> list[bytes]:
    return [
        post_request(
            f"{url}/v1/search",
            {"query": each, "k": _K}
            if isinstance(each, str)
            else {"embedding": each[0].tolist(), "k": _K},
        )
        for each in queries
    ]


def _in_process(index: nv.Index, queries: Sequence[Query], seconds: float) -> dict[str, Any]:
    def search(query: Query) -> None:
        hits = index.search([query] if isinstance(query, str) else query, _K)
        index.get(hits.ids[0])

    before = time.process_time()
    milliseconds, took = _closed_loop(search, queries, seconds)
    cpu_ms = (time.process_time() - before) * 1000 / len(milliseconds)
    return _summary(len(milliseconds) / took, milliseconds, cpu_ms)


def _closed_loop(
    search: Callable[[Query], None], queries: Sequence[Query], seconds: float
) -> tuple[list[float], float]:
    """Search in threads; return the milliseconds of each search, and the seconds of all."""
    milliseconds = list[float]()
    start = time.perf_counter()

    def work(number: int) -> None:
        for turn in count(number * len(queries) // _WORKERS):
            begun = time.perf_counter()
            if begun > start + seconds:
                return
            search(queries[turn % len(queries)])
            milliseconds.append((time.perf_counter() - begun) * 1000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(_WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return milliseconds, time.perf_counter() - start


def _over_http(url: str, requests: Sequence[bytes], seconds: float, process: int) -> dict[str, Any]:
    before = cpu_seconds(process)
    load = asyncio.run(ask(url, requests, clients=_WORKERS, seconds=seconds))
    if {*load.statuses} != {200}:
        raise SystemExit(f"unexpected statuses: {load.statuses}. Only 200 is expected.")
    n = len(load.milliseconds)
    cpu_ms = (cpu_seconds(process) - before) * 1000 / n
    return _summary(n / load.seconds, load.milliseconds, cpu_ms)


def _summary(rate: float, milliseconds: Sequence[float], cpu_ms: float) -> dict[str, Any]:
    values = (rate, *np.percentile(milliseconds, [50, 95, 99]), cpu_ms)
    return {name: round(float(value), 2) for name, value in zip(_SHOWN, values, strict=True)}


def _share(turns: Sequence[dict[str, Any]]) -> float:
    """Return the median over turns of the rate over HTTP, divided by the rate in the process."""
    shares = [
        turn["http"]["requests_per_s"] / turn["in_process"]["requests_per_s"] for turn in turns
    ]
    return round(median(shares), 3)


if __name__ == "__main__":
    main()
