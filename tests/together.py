"""A writer and readers in processes of their own, at the same time: for tests, and for the soak.

Each batch replaces the same documents, so a reader that sees two batches at once is caught.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import numpy as np

from kills import POINTS, add, document, new_index, processes_of
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.filters.condition import Comparison
from nestvec.types import OperatingPoint

N = 30  # documents of a batch
IDS = [f"d{number}" for number in range(N)]
EVERY = Comparison("number", ">=", 0)


def batch(number):
    """The same ids each time; what they hold tells which batch it was."""
    return {id_: number * N + line for line, id_ in enumerate(IDS)}


def look(index, seen):
    """Search in all ways, and note which batches were seen; of one search, it must be one."""
    query = np.ones((1, 32), np.float32)
    points = [None, *(OperatingPoint.parse(point) for point in POINTS)]
    for options in [{"point": point} for point in points] + [{"exact": True}]:
        for where in (None, EVERY):
            [ids] = index.search(query, 2 * N, where=where, **options).ids
            assert sorted(ids) == sorted(IDS), (options, where, len(ids))
    found = index.get(IDS)
    assert found == {id_: document(int(each.metadata["number"])) for id_, each in found.items()}
    [of] = {int(each.metadata["number"]) // N for each in found.values()}
    assert not seen or of >= seen[-1], "a commit was taken back"
    seen.append(of)


def write(folder, seconds, tell):
    index, choose = EmbeddedEngine(folder), random.Random(0)
    end, number = time.monotonic() + seconds, 1
    while time.monotonic() < end:
        add(index, batch(number), replace=True)
        number += 1
        what = choose.choice(["add", "add", "build_codes", "compact", "use", "reopen"])
        if what == "use":
            index.use(OperatingPoint.parse(choose.choice(POINTS)))
        elif what == "reopen":
            index.close()
            index = EmbeddedEngine(folder)
        elif what != "add":
            getattr(index, what)()
    index.close()
    tell.send(number - 1)


def read(folder, seconds, reopen, tell):
    index, seen = EmbeddedEngine(folder), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        look(index, seen)
        if reopen:
            index.close()
            index = EmbeddedEngine(folder, verify=True)
    files = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    index.close()
    tell.send((len(set(seen)), files))


def run_together(folder, seconds):
    """Run a writer and two readers; return how many batches each wrote or saw."""
    index = EmbeddedEngine(new_index(folder))
    add(index, batch(0))
    index.close()
    context = processes_of()
    told, processes = [], []
    for target, *more in ((write,), (read, False), (read, True)):
        ours, theirs = context.Pipe(duplex=False)
        processes.append(context.Process(target=target, args=(folder, seconds, *more, theirs)))
        processes[-1].start()
        theirs.close()
        told.append(ours)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    return [each.recv() for each in told]
