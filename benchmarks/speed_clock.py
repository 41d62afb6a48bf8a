"""Measure the time, memory and disk reads of a process, and pin it to cores."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nestvec.types import Embeddings

Numbers = dict[str, float]
_SEARCH = Callable[[Embeddings], object]
_MEGABYTE = 2**20


def memory() -> Numbers:
    """Return the process's resident megabytes: its own, of mapped files, and the peak of all."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("RssAnon", "RssFile", "VmHWM")
    }
    return {
        "own_mb": kilobytes["RssAnon"] / 1024,
        "mapped_mb": kilobytes["RssFile"] / 1024,
        "peak_mb": kilobytes["VmHWM"] / 1024,
    }


def grown(before: Numbers) -> Numbers:
    """Return the growth of each value of ``memory`` since ``before``."""
    now = memory()
    return {name: round(now[name] - before[name], 1) for name in now}


def folder_mb(folder: Path) -> float:
    """Return the size of all files below a folder in megabytes."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return round(sum(sizes) / _MEGABYTE, 1)


def bytes_from_disk() -> int:
    """Return the bytes that this process has read from disks so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


@contextmanager
def stopwatch() -> Iterator[Numbers]:
    """Measure the wall time and the processor time of the block in seconds."""
    taken: Numbers = {}
    wall, processor = time.perf_counter(), time.process_time()
    yield taken
    taken["seconds"] = round(time.perf_counter() - wall, 3)
    taken["processor_seconds"] = round(time.process_time() - processor, 3)


def run_on(cores: set[int]) -> None:
    """Pin every thread of this process to some cores."""
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def one_at_a_time(search: _SEARCH, queries: Embeddings, seconds: float) -> Numbers:
    """Time queries one by one, after a warm-up.

    The processor time does not depend on other programs or on waiting for a disk.

    Args:
        search: A function of a query, [1, dim].
        queries: [n, dim]; only those that start within the time are used.
        seconds: The time limit.
    """
    for query in queries[:5]:
        search(query[None])
    with stopwatch() as all_:
        taken = latencies(search, queries, seconds)
    processor = round(1000 * all_["processor_seconds"] / len(taken), 3)
    return summary(taken) | {"processor_ms": processor}


def latencies(search: _SEARCH, queries: Embeddings, seconds: float) -> list[float]:
    """Return the seconds of each query, run one by one until the time is over."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for query in queries:
        start = time.perf_counter()
        search(query[None])
        now = time.perf_counter()
        taken.append(now - start)
        if now > end:
            break
    return taken


def summary(taken: list[float]) -> Numbers:
    """Return queries per second, and the median and the 99th percentile in milliseconds."""
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return {
        "qps": round(len(taken) / sum(taken), 1),
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "timed": len(taken),
    }


def threads_at_once(
    search: _SEARCH, queries: Embeddings, n_threads: int, seconds: float
) -> Numbers:
    """Search from several threads for a time. Each thread starts with another query.

    Returns:
        Queries per second of all threads together, and percentiles of milliseconds per query.
    """
    taken: list[list[float]] = [[] for _ in range(n_threads)]
    barrier = threading.Barrier(n_threads + 1)

    def work(number: int) -> None:
        own = np.roll(queries, -number * len(queries) // n_threads, axis=0)
        barrier.wait()
        taken[number] = latencies(search, own, seconds)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    together = [each for own in taken for each in own]
    wall = time.perf_counter() - start
    return summary(together) | {"qps": round(len(together) / wall, 1), "threads": n_threads}
