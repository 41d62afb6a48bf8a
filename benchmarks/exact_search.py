"""Compare exact searches of all vectors: nestvec from its files, and libraries from memory.

All contenders are searched in turns in one process, so that a busy machine slows all of them.
Single queries run on one thread, batches on all threads. FAISS's IndexFlatIP with float32 is the
reference.

    python benchmarks/sentences.py --model nestvec-demo/model --out corpus
    python benchmarks/exact_search.py --corpus corpus

A second process is limited to AVX2 by the variables of FAISS, OpenBLAS and NumPy. This requires
usearch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.measure.machine import describe_machine
from nestvec.types import Embeddings, Rows
from record import record
from speed_contenders import NestVec, Search
from speed_corpus import Corpus, K

AVX2 = {
    "FAISS_SIMD_LEVEL": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
"""Environment variables that limit FAISS, OpenBLAS and NumPy to AVX2."""
REFERENCE = "FAISS IndexFlatIP, float32"
_OURS = "nestvec, float16 in files"
_BATCH = 100
_POINT = NestVec("nestvec, exact", "512:binary", ((0,),))
_Contender = Callable[[Embeddings], Rows]


def main() -> None:
    """Measure with all instructions and with AVX2 only, and record the medians."""
    options = _options()
    if options.one:
        print(json.dumps(_measure(options)))
        return
    found = {"all": _run({}), "AVX2 only": _run(AVX2)}
    settings = {
        "n": options.n,
        "k": K,
        "batch": _BATCH,
        "threads_of_batches": options.threads,
        "repetitions": options.repetitions,
        "limited_by": AVX2,
        "corpus": Corpus(options.corpus, options.n[0], options.work).about,
    }
    print(record("exact_search", settings=settings, results=found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="Folder of sentences.py.")
    parser.add_argument("--work", type=Path, default=Path("index-speed"))
    parser.add_argument("--n", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--one", action="store_true", help="Measure in this process.")
    return parser.parse_args()


def _run(limits: Mapping[str, str]) -> Any:
    command = [sys.executable, __file__, *sys.argv[1:], "--one"]
    done = subprocess.run(command, env={**os.environ, **limits}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("the measurement failed")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    rows = [row for n in options.n for row in _measure_size(n, options)]
    return {"machine": describe_machine(), "faiss_level": _faiss_level(), "rows": rows}


def _measure_size(n: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    corpus = Corpus(options.corpus, n, options.work.resolve(), n_queries=1_000)
    contenders = _contenders(corpus, options.threads)
    rows = []
    for batch, threads in ((1, 1), (_BATCH, 1), (_BATCH, options.threads)):
        _use(threads)
        taken = _in_turns(contenders, corpus.queries, batch, options.repetitions)
        reference = statistics.median(taken[REFERENCE])
        for name, seconds in taken.items():
            median = statistics.median(seconds)
            row = {"n": n, "queries": batch, "threads": threads, "name": name}
            row["ms"] = [round(1000 * each, 3) for each in seconds]
            row["of_reference"] = round(median / reference, 3)
            rows.append(row)
            print(n, batch, threads, name, round(1000 * median, 2), file=sys.stderr)
    for name, search in contenders.items():
        found = search(corpus.queries[:_BATCH])
        equal = float(
            np.mean([len({*a} & {*b}) for a, b in zip(found, corpus.exact, strict=False)])
        )
        rows.append({"n": n, "name": name, "overlap@10": round(equal / K, 4)})
    return rows


def _in_turns(
    contenders: Mapping[str, _Contender], queries: Embeddings, batch: int, repetitions: int
) -> dict[str, list[float]]:
    """Return the seconds of each repetition, after one warm-up of each contender."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(repetitions + 1):
        start = number * batch % (len(queries) - batch + 1)
        for name, search in contenders.items():
            begin = time.perf_counter()
            search(queries[start : start + batch])
            if number:
                taken[name].append(time.perf_counter() - begin)
    return taken


def _contenders(corpus: Corpus, threads: int) -> dict[str, _Contender]:
    import faiss

    vectors = np.ascontiguousarray(corpus.vectors)
    dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    half = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, metric)
    half.train(vectors[:1])
    half.add(vectors)
    return {
        REFERENCE: lambda queries: flat.search(queries, K)[1],
        "FAISS QT_fp16": lambda queries: half.search(queries, K)[1],
        **_usearch(vectors),
        _OURS: _nestvec(corpus, vectors, threads),
    }


def _usearch(vectors: Embeddings) -> dict[str, _Contender]:
    from usearch.index import MetricKind, search

    halves = vectors.astype(np.float16)

    def found(queries: Embeddings) -> Rows:
        matches = search(
            halves, queries.astype(np.float16), K, MetricKind.IP, exact=True, threads=_threads()
        )
        rows: Rows = np.asarray(matches.keys, dtype=np.int64).reshape(len(queries), K)
        return rows

    return {"usearch exact, float16": found}


def _nestvec(corpus: Corpus, vectors: Embeddings, threads: int) -> _Contender:
    folder = corpus.place(_POINT.name)
    if not folder.exists():
        folder.mkdir(parents=True)
        _POINT.build(vectors, folder, threads=threads)
    search: Search = _POINT.open(folder)
    return lambda queries: search(queries, K, (0,), _threads())


def _threads() -> int:
    import faiss

    threads: int = faiss.omp_get_max_threads()
    return threads


def _use(threads: int) -> None:
    import faiss
    from threadpoolctl import threadpool_limits

    faiss.omp_set_num_threads(threads)
    threadpool_limits(threads)


def _faiss_level() -> str:
    import faiss

    config: Any = faiss.SIMDConfig
    level: str = config.get_level_name()
    return level


if __name__ == "__main__":
    main()
