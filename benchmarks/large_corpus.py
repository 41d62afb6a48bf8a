"""Measure `evaluate` on a large corpus: processor time and memory, next to exhaustive searches.

The data set is synthetic and has structure: unit vectors of a Gaussian mixture whose variance
decreases with the dim, queries near documents, and labels that are near neighbors of noisy queries.
The rival is FAISS: one exhaustive search (IndexFlatIP) for each dim, with the same queries.

python benchmarks/large_corpus.py --rows 200000 --folder /tmp/large    # while developing
python benchmarks/large_corpus.py --rows 1000000 --folder /tmp/large --record

Both are measured in one process, with the environment of the command line. Memory is the anonymous
memory of the process (RssAnon), sampled every 20 ms: pages of mapped files are not counted, because
the system can drop them at any time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread

import nestvec.cli  # isort: skip  # before numpy, so that idle threads of OpenBLAS sleep

import numpy as np

import nestvec as nv
from record import record

DIMS, FULL_DIM = (768, 256, 128, 64), 768
CLUSTERS, SEED, K = 2_000, 7, 100
BLOCK = 50_000
GRID = nv.Grid(
    dims=DIMS,
    precisions=("float32", "int8", "binary"),
    shortlisted=("int8", "binary"),
    keeps=(100, 400),
)


@dataclass(frozen=True)
class Used:
    """Seconds and peak memory of one task."""

    processor_s: float
    wall_s: float
    anonymous_bytes: int


def main() -> None:
    """Make the data set if it does not exist, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--folder", type=Path, required=True, help="parent of the data set")
    parser.add_argument("--texts", choices=("short", "none"), default="short")
    parser.add_argument("--skip-faiss", action="store_true")
    parser.add_argument("--record", action="store_true", help="write the JSON file")
    parser.add_argument("--make", action="store_true", help="only make the data set")
    arguments = parser.parse_args()
    name = f"{arguments.rows}-{arguments.dtype}-{arguments.queries}-{arguments.texts}"
    folder = arguments.folder / name
    if arguments.make:
        make(folder, arguments.rows, arguments.queries, arguments.dtype, arguments.texts)
        return
    if not (folder / "data" / "qrels").exists():  # in a process of its own, to measure memory
        subprocess.run([sys.executable, *sys.argv, "--make"], check=True)
    curve, opening, evaluating = measure(folder)
    found = {"open": asdict(opening), "evaluate": asdict(evaluating), "points": len(curve.points)}
    found["retention"] = {str(row.point): row.retention["ndcg@10"] for row in curve.points}
    print(opening, evaluating, flush=True)
    if not arguments.skip_faiss:
        rival = search_with_faiss(folder)
        found["faiss"] = asdict(rival)
        found["ratio"] = evaluating.processor_s / rival.processor_s
        total = opening.processor_s + evaluating.processor_s
        found["ratio_with_opening"] = total / rival.processor_s
        print(rival, f"\nratio {found['ratio']:.2f}, {found['ratio_with_opening']:.2f}", flush=True)
    if arguments.record:
        settings = {
            "rows": arguments.rows,
            "queries": arguments.queries,
            "dtype": arguments.dtype,
            "texts": arguments.texts,
            "dims": DIMS,
            "faiss_k": K,
            "clusters": CLUSTERS,
            "seed": SEED,
        }
        print(record("large_corpus", settings=settings, results=found))


def measure(folder: Path) -> tuple[nv.Curve, Used, Used]:
    """Open the data set and the vectors, which checks every row, and evaluate them."""
    with used() as opening:
        data = nv.load_dataset(folder / "data")
        vectors = nv.load_model(folder / "vectors")
    with used() as evaluating:
        curve = nv.evaluate(vectors, data, GRID)
    return curve, opening[0], evaluating[0]


def search_with_faiss(folder: Path) -> Used:
    """Search at every dim: truncate, renormalize, add to a flat index, search."""
    import faiss

    with used() as result:
        corpus = np.load(folder / "vectors" / "corpus.npy", mmap_mode="r")
        queries = np.load(folder / "vectors" / "queries.npy").astype(np.float32)
        for dim in DIMS:
            index = faiss.IndexFlatIP(dim)
            for start in range(0, len(corpus), BLOCK):
                block = np.array(corpus[start : start + BLOCK, :dim], dtype=np.float32, order="C")
                faiss.normalize_L2(block)
                index.add(block)
            own = np.array(queries[:, :dim], order="C")
            faiss.normalize_L2(own)
            index.search(own, K)
            del index
    return result[0]


@contextmanager
def used() -> Iterator[list[Used]]:
    """Measure a block; the result is appended when the block ends."""
    result: list[Used] = []
    peak, stop = [anonymous_bytes()], Event()

    def sample() -> None:
        while not stop.wait(0.02):
            peak[0] = max(peak[0], anonymous_bytes())

    thread = Thread(target=sample)
    thread.start()
    wall, processor = time.perf_counter(), time.process_time()
    yield result
    seconds = time.process_time() - processor, time.perf_counter() - wall
    stop.set()
    thread.join()
    result.append(Used(*seconds, peak[0]))


def anonymous_bytes() -> int:
    """Return the anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not report RssAnon")


def make(folder: Path, rows: int, n_queries: int, dtype: str, texts: str) -> None:
    """Write vectors and the retrieval set."""
    rng = np.random.default_rng(SEED)
    scale = (np.arange(1, FULL_DIM + 1) ** -0.4).astype(np.float32)
    mean = rng.standard_normal(FULL_DIM).astype(np.float32) * 0.3
    centers = rng.standard_normal((CLUSTERS, FULL_DIM)).astype(np.float32)
    vectors = folder / "vectors"
    vectors.mkdir(parents=True, exist_ok=True)
    corpus = np.lib.format.open_memmap(
        vectors / "corpus.npy", mode="w+", dtype=dtype, shape=(rows, FULL_DIM)
    )
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        noise = rng.standard_normal((n, FULL_DIM), dtype=np.float32)
        block = (mean + centers[rng.integers(CLUSTERS, size=n)] + 0.8 * noise) * scale
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        corpus[start : start + n] = block
    ids = [f"doc-{number:08}" for number in rng.permutation(rows).tolist()]
    (vectors / "corpus.ids.txt").write_text("".join(f"{id_}\n" for id_ in ids))
    noise = 0.02 * rng.standard_normal((2, n_queries, FULL_DIM)).astype(np.float32)
    start = corpus[np.sort(rng.choice(rows, n_queries, replace=False))].astype(np.float32)
    queries, hidden = start + 1.5 * noise[0] * scale, start + 1.5 * noise[1] * scale
    np.save(vectors / "queries.npy", queries)
    names = [f"q{number}" for number in range(n_queries)]
    (vectors / "queries.ids.txt").write_text("".join(f"{id_}\n" for id_ in names))
    write_set(folder / "data", ids, names, nearest(hidden, corpus, 5), texts)


def nearest(queries: np.ndarray, corpus: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the nearest documents of each query."""
    scores = np.empty((len(queries), 0), np.float32)
    found = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(corpus), BLOCK):
        block = corpus[start : start + BLOCK].astype(np.float32)
        rows = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        scores = np.concatenate((scores, queries @ block.T), axis=1)
        found = np.concatenate((found, rows), axis=1)
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        scores, found = (np.take_along_axis(each, best, 1) for each in (scores, found))
    return found


def write_set(
    folder: Path, ids: list[str], queries: list[str], relevant: np.ndarray, texts: str
) -> None:
    """Write corpus.jsonl with short texts, queries.jsonl and qrels/test.tsv."""
    (folder / "qrels").mkdir(parents=True)
    if texts != "none":
        with (folder / "corpus.jsonl").open("w") as file:
            for id_ in ids:
                file.write(f'{{"_id": "{id_}", "title": "", "text": "The text of {id_}."}}\n')
    with (folder / "queries.jsonl").open("w") as file:
        file.writelines(f'{{"_id": "{id_}", "text": "query {id_}"}}\n' for id_ in queries)
    with (folder / "qrels" / "test.tsv").open("w") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for id_, rows in zip(queries, relevant.tolist(), strict=True):
            file.writelines(f"{id_}\t{ids[row]}\t1\n" for row in rows)


if __name__ == "__main__":
    main()
