"""Measure the search speed of the embedded engine and of other libraries, on a large real corpus.

Every contender is built once and searched in its own process, with the same vectors, queries, exact
results and threads. Single queries run on one core, batches on all threads.

    python benchmarks/sentences.py --model nestvec-demo/model --out corpus
    python benchmarks/index_speed.py --corpus corpus

This requires usearch, hnswlib, scann, lancedb, turbovec, rabitqlib, scalable-vs, zvec and
qdrant-edge-py. Packages that are not installed are left out and listed in the results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from record import record
from speed_corpus import Corpus, K
from speed_rivals import CONTENDERS, left_out

GROWING = ("nestvec 512:binary", "nestvec 512:int4", "nestvec 512:pq4")
LARGE = 200_000  # larger corpora are measured only for COMPARED_LARGE: the others are too slow
COMPARED_LARGE = (
    *GROWING,
    "nestvec 256:binary",
    "nestvec, exact",
    "FAISS flat float32",
    "turbovec 2-bit, rescored",
    "turbovec 4-bit, rescored",
    "FAISS RaBitQ fast-scan, rescored",
    "rabitqlib IVF, 7 bits",
    "SVS Vamana float16",
    "FAISS HNSW16 float32",
    "FAISS HNSW32 float32",
    "FAISS IVF-PQ fast-scan, refined at float16",
    "usearch float16",
    "ScaNN",
)
_PACKAGES = (
    *("faiss-cpu", "usearch", "hnswlib", "scann", "lancedb", "turbovec", "rabitqlib"),
    *("scalable-vs", "zvec", "qdrant-edge-py"),
)
_TASK = Path(__file__).parent / "speed_task.py"


def main() -> None:
    """Build and search all contenders, and record the results."""
    options = _options()
    for results in _results(options):  # recorded after each step, as all steps run for hours
        path = record(options.name, settings=_settings(options), results=results)
    print(path)


def _results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the results so far, after each measurement."""
    compared = [Corpus(options.corpus, n, options.work) for n in options.n]
    others = [Corpus(options.corpus, n, options.work) for n in options.sizes]
    largest = max([*others, *compared], key=lambda each: each.n)
    names = [name for name in options.only or CONTENDERS if name not in left_out()]
    results: dict[str, Any] = {"corpus": largest.about, "left_out": left_out()}
    for key, corpora in (("contenders", compared), ("growth", others)):
        results[key] = []
        for corpus in corpora:
            for name in names:
                if _is_measured(name, corpus, growth=key == "growth"):
                    results[key].append(_measure(corpus, name, options))
                    yield results
    results["service_n"] = largest.n
    for task in ("opening", "threads", "filtered", "cold", "bandwidth"):
        results[task] = _run(task, largest, options)
    yield results | {"processes": _two_processes(largest, options)}


def _is_measured(name: str, corpus: Corpus, *, growth: bool) -> bool:
    if growth:
        return name in GROWING
    return corpus.n <= LARGE or name in COMPARED_LARGE


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "n": options.n,
        "sizes": options.sizes,
        "k": K,
        "threads": options.threads,
        "seconds": options.seconds,
        "least_overlap": options.least,
        "versions": dict(_versions(_PACKAGES)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="Folder of sentences.py.")
    parser.add_argument(
        "--work", type=Path, default=Path("index-speed"), help="Folder for built indexes."
    )
    parser.add_argument("--n", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[10_000, 200_000], help="More sizes for nestvec."
    )
    parser.add_argument("--only", nargs="*", help="Run only these contenders.")
    parser.add_argument("--name", default="index_speed", help="Name of the recorded results.")
    parser.add_argument("--least", type=float, default=0.0, help="Least overlap that is timed.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="Seconds of one timing.")
    return parser.parse_args()


def _measure(corpus: Corpus, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build a contender, if it is not built yet, and search it."""
    _ = corpus.exact  # computed here, as the memory of the child process is measured
    file = corpus.place(name).with_suffix(".json")
    if not file.exists():
        file.write_text(json.dumps(_run("build", corpus, options, name)))
    built = json.loads(file.read_text())
    found = _run("search", corpus, options, name)
    return {"name": name, "n": corpus.n, "build": built, **found}


def _run(task: str, corpus: Corpus, options: argparse.Namespace, name: str | None = None) -> Any:
    """Return the result of a task, with the load average of the machine before it."""
    load = os.getloadavg()[0]
    command = _command(task, corpus, options, name)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{task} of {name or 'the index'} failed")
    found = json.loads(done.stdout.splitlines()[-1])
    if isinstance(found, dict):
        found["load_before"] = round(load, 2)
    print(corpus.n, task, name or "", json.dumps(found), flush=True)
    return found


def _two_processes(corpus: Corpus, options: argparse.Namespace) -> list[dict[str, float]]:
    """Search the same folder from two processes at once, each with 1, 8 and 32 threads."""
    command = _command("threads", corpus, options, None)
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [json.loads(each.communicate()[0].splitlines()[-1]) for each in both]
    return [
        {
            "threads": own["threads"],
            "qps": round(own["qps"] + other["qps"], 1),
            "p99_ms": max(own["p99_ms"], other["p99_ms"]),
        }
        for own, other in zip(*found, strict=True)
    ]


def _command(task: str, corpus: Corpus, options: argparse.Namespace, name: str | None) -> list[str]:
    places = [str(corpus.folder), str(corpus.work), str(corpus.n)]
    clocks = ["--threads", str(options.threads), "--seconds", str(options.seconds)]
    clocks += ["--least", str(options.least)]
    named = [] if name is None else ["--name", name]
    return [sys.executable, str(_TASK), task, *places, *clocks, *named]


def _versions(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for package in packages:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


if __name__ == "__main__":
    main()
