"""Run one task of ``index_speed.py`` in its own process, so that its memory can be measured.

The last line of the output is the result as JSON.

    python benchmarks/speed_task.py search corpus work 100000 --name "nestvec 512:binary"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import speed_deployment
from nestvec.metrics.agreement import overlap
from nestvec.types import Embeddings, Rows
from speed_clock import folder_mb, grown, memory, one_at_a_time, run_on, stopwatch
from speed_contenders import Search, Setting
from speed_corpus import Corpus, K
from speed_rivals import CONTENDERS

ENOUGH = 0.995  # overlap at which a sweep ends
WARM_UP = 50  # queries


def main() -> None:
    """Run the task, and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("n", type=int)
    parser.add_argument("--name", default="nestvec 512:binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="Seconds of one timing.")
    parser.add_argument("--least", type=float, default=0.0, help="Least overlap that is timed.")
    options = parser.parse_args()
    corpus = Corpus(options.folder, options.n, options.work.resolve())
    print(json.dumps(TASKS[options.task](corpus, options)))


def build(corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """Empty a contender's folder, and build its index there."""
    folder = corpus.place(options.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vectors = np.ascontiguousarray(corpus.vectors)
    before = memory()
    with stopwatch() as taken:
        CONTENDERS[options.name].build(vectors, folder, threads=options.threads)
    peak = round(memory()["peak_mb"] - before["own_mb"] - before["mapped_mb"], 1)
    return {**taken, "more_memory_mb": peak, "disk_mb": folder_mb(folder)}


def search(corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all settings of a contender: batches on all threads, single queries on one core."""
    contender, folder = CONTENDERS[options.name], corpus.place(options.name)
    queries, exact = corpus.queries, corpus.exact
    import_module(contender.package)
    cores, before = sorted(os.sched_getaffinity(0)), memory()
    with stopwatch() as opening:
        found = contender.open(folder)
    opened, rows, rankings = grown(before), [], []
    for setting in contender.settings:
        found(queries[:WARM_UP], K, setting, options.threads)
        with stopwatch() as taken:
            rankings.append(found(queries, K, setting, options.threads))
        kept = float(overlap(rankings[-1], exact, K).mean())
        if kept < options.least:
            rankings.pop()
            continue
        qps = round(len(queries) / taken["seconds"], 1)
        rows.append({"setting": setting, "overlap@10": round(kept, 4), "batch_qps": qps})
        if kept >= ENOUGH:
            break
    searched = grown(before)
    run_on({cores[-1]})
    for row in rows:
        one = partial(_one, found, row["setting"])
        row.update(one_at_a_time(one, queries, options.seconds))
    for row, ndcg in zip(rows, corpus.ndcg(rankings) or [], strict=False):
        row["ndcg@10"] = ndcg
    disk = folder_mb(folder)
    return dict(opening=opening, opened=opened, searched=searched, disk_mb=disk, settings=rows)


def _one(found: Search, setting: Setting, query: Embeddings) -> Rows:
    return found(query, K, setting, 1)


TASKS: Mapping[str, Callable[[Corpus, argparse.Namespace], dict[str, Any]]] = {
    "build": build,
    "search": search,
    "opening": speed_deployment.opening,
    "threads": speed_deployment.threads,
    "cold": speed_deployment.cold,
    "bandwidth": speed_deployment.bandwidth,
    "filtered": speed_deployment.filtered,
}


if __name__ == "__main__":
    main()
