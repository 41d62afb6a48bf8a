"""Measure the slowest search while another thread of the process reads the same index.

A server searches while it fetches documents, reads a field for its first filter, or verifies the
index. The benchmark builds an index of synthetic vectors with real texts, runs one such read in a
thread, and times searches in the main thread until the read has ended. `--before` names the source
folder of another version of nestvec, which is measured in turns in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from record import record

N, FULL_DIM, POINT = 42_517, 512, "64:binary@400>256:float16"
READS = ("verify", "first filter", "get all", "ids")
SETS = ("scifact", "squad-sent", "xquad-en", "ms-support", "cosqa")


def main() -> None:
    """Build the index once, measure each version in turns, and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NESTVEC_DATA", "")))
    parser.add_argument("--folder", type=Path, required=True, help="Where the index is built.")
    parser.add_argument("--before", type=Path, help="Source folder of the version before.")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--one", choices=(*READS, "build"), help="Do one step in this process.")
    options = parser.parse_args()
    place = options.folder / "index"
    if options.one == "build":
        build(place, options.data)
        return
    if options.one:
        print(json.dumps(measure(place, options.one)))
        return
    versions = {"now": Path(__file__).parent.parent / "src"}
    if options.before:
        versions["before"] = options.before
    if not place.exists():  # files of the earlier version can be read by both
        _run(versions.get("before", versions["now"]), options, "build")
    runs: dict[str, dict[str, list[Any]]] = {read: {v: [] for v in versions} for read in READS}
    for _ in range(options.repetitions):
        for read in READS:
            for version, source in versions.items():
                runs[read][version].append(_run(source, options, read))
    medians = {
        read: {
            version: {key: round(float(np.median([run[key] for run in of])), 2) for key in of[0]}
            for version, of in by_version.items()
        }
        for read, by_version in runs.items()
    }
    setup = {"documents": N, "full_dim": FULL_DIM, "point": POINT}
    record("concurrent_reads", settings=setup, results={"median_ms": medians, "runs_ms": runs})
    print(json.dumps(medians, indent=1))


def _run(source: Path, options: argparse.Namespace, step: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--folder", str(options.folder), "--one", step]
    command += ["--data", str(options.data)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
    )
    result: dict[str, float] = json.loads(done.stdout or "{}")
    return result


def build(place: Path, data: Path) -> None:
    """Write an index of N real texts with random vectors that nest."""
    import nestvec as nv
    from nestvec.engines.embedded.engine import EmbeddedEngine
    from nestvec.engines.manifest import Manifest
    from nestvec.types import ModelInfo

    texts = [
        document
        for name in SETS
        for document in nv.load_dataset(data / "retrieval" / name).corpus.values()
    ]
    rng = np.random.default_rng(0)
    info = ModelInfo("synthetic", "0" * 64, FULL_DIM, (FULL_DIM,), "synthetic", True)
    manifest = Manifest(info, "float16", nv.OperatingPoint.parse(POINT))
    scale = np.linspace(1, 0.2, FULL_DIM, dtype=np.float32)
    with EmbeddedEngine.building(str(place), manifest, source={}) as engine:
        for start in range(0, N, 1_024):
            numbers = range(start, min(start + 1_024, N))
            batch = {
                f"doc-{i:06}": nv.Document(
                    texts[i % len(texts)].text,
                    texts[i % len(texts)].title,
                    {"line": i, "file": f"part-{i % 97}.py", "year": 2000 + i % 27},
                )
                for i in numbers
            }
            vectors = rng.standard_normal((len(batch), FULL_DIM), dtype=np.float32) * scale
            engine.add(batch, vectors, code=False)


def measure(place: Path, read: str) -> dict[str, float]:
    """Return milliseconds: the median search alone, the read, and searches while it runs."""
    import nestvec as nv
    from nestvec.engines.filters.where import Where

    with nv.Index.open(place) as index:
        engine = index._engine
        queries = np.random.default_rng(1).standard_normal((64, FULL_DIM), dtype=np.float32)
        ids = list(index.ids())
        reads: dict[str, Callable[[], object]] = {
            "verify": index.verify,
            "first filter": lambda: engine.search(queries[:1], 10, where=Where.parse("line > 5")),
            "get all": lambda: index.get(ids),
            "ids": lambda: list(index.ids()),
        }
        for query in queries:  # so that nothing is loaded while it is timed
            engine.search(query[None], 10)
        alone = [_timed(lambda q=query: engine.search(q[None], 10)) for query in queries]
        read_ms: list[float] = []
        thread = threading.Thread(target=lambda: read_ms.append(_timed(reads[read])))
        thread.start()
        times = []
        while thread.is_alive():
            query = queries[len(times) % len(queries)]
            times.append(_timed(lambda q=query: engine.search(q[None], 10)))
        thread.join()
    return {
        "search_alone_p50": float(np.median(alone)),
        "read": read_ms[0],
        "search_p50": float(np.median(times)),
        "search_slowest": max(times),
        "searches": len(times),
    }


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
